"""The console's own error pages, and its icon. They need neither the database nor a session."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template import loader
from django.templatetags.static import static


def error_page(template: str, status: int) -> HttpResponse:
    return HttpResponse(loader.get_template(template).render({}), status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return error_page("404.html", 404)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse(loader.get_template("403.html").render({"reason": str(exception)}), status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    return error_page("500.html", 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_page("403_csrf.html", 403)


def favicon(request: HttpRequest) -> HttpResponse:
    """Where browsers look for an icon on pages that name none: the User Portal's."""
    return HttpResponseRedirect(static("favicon.svg"))
