"""Small middleware of the console: what a page says when the database is away, and what browsers may keep."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse

from console.views import error_page

logger = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]


class DatabaseAwayMiddleware:
    """Turns "the database can't be reached" into one plain page (503) instead of a traceback."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        except (OperationalError, InterfaceError) as error:
            return self._away(error)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, OperationalError | InterfaceError):
            return self._away(exception)
        return None

    def _away(self, error: Exception) -> HttpResponse:
        logger.error("database_away error=%s", error)
        response = error_page("503.html", 503)
        response["Retry-After"] = "5"
        return response


class NoStoreMiddleware:
    """Pages of a signed-in person (keys, addresses) are kept by no browser and no proxy."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if getattr(request, "user", None) is not None and request.user.is_authenticated:
            response.setdefault("Cache-Control", "no-store")
        return response
