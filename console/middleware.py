"""Small middleware of the console: bodies too large, a database that is away, and what browsers may keep."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from console.views import DATABASE_AWAY, database_away, error_page

Handler = Callable[[HttpRequest], HttpResponse]


class BodyLimitMiddleware:
    """Refuses a body larger than any upload may be, before a single byte of it is spooled to the disk."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > settings.MAX_UPLOAD_BYTES:
            return error_page("413.html", 413)
        return self.get_response(request)


class DatabaseAwayMiddleware:
    """A view that can't reach the database answers with one plain page (503) instead of a traceback.

    What fails outside a view ends in `console.views.server_error`, which makes the same distinction.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return database_away(exception) if isinstance(exception, DATABASE_AWAY) else None


class NoStoreMiddleware:
    """No browser and no proxy keeps a page: signed-in ones hold keys and addresses.

    It asks nobody who is signed in: that would be a query, and a page without a database must get out too.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Cache-Control", "no-store")
        return response
