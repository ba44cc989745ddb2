"""The console's own error pages, and its icon. They need neither the database nor a session."""

from __future__ import annotations

import logging
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import loader
from django.templatetags.static import static

logger = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError)


def error_page(template: str, status: int) -> HttpResponse:
    return HttpResponse(loader.get_template(template).render({}), status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page("404.html", 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(loader.get_template("403.html").render({"reason": str(exception)}), status=403)


def database_away(error: BaseException) -> HttpResponse:
    logger.error("database_away error=%s", str(error).strip())
    response = error_page("503.html", 503)
    response["Retry-After"] = "5"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls it while the exception is being handled, also for one that a middleware met."""
    error = sys.exc_info()[1]
    return database_away(error) if isinstance(error, DATABASE_AWAY) else error_page("500.html", 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_page("403_csrf.html", 403)


def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look for an icon on pages that name none: the User Portal's."""
    return HttpResponseRedirect(static("favicon.svg"))
