"""The Create API tab: the page, and what a poll gets."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import pgettext
from django.views.decorators.http import require_safe

from apimgmt.views.api_page.page import ApiPage
from apimgmt.views.api_page.parts import changed_parts, render_parts, tokens
from apimgmt.views.api_page.requests import DEFAULT_RANGE, RANGES
from apimgmt.views.layout import Crumb, found_model, model_crumbs, render_page, signed_in
from apimgmt.views.sample_reply import kept_reply


@signed_in
@require_safe
def model_api(request: HttpRequest, model_id: int) -> HttpResponse:
    """The tab as a complete page."""
    page = _page(request, model_id)
    return render_tab(request, page, reply=kept_reply(request, page.model))


@signed_in
@require_safe
def api_status(request: HttpRequest, model_id: int) -> HttpResponse:
    """What changed since the browser's `have`; 204 when nothing did. It writes nothing, the session neither."""
    page = _page(request, model_id)
    parts = render_parts(page)
    changed = changed_parts(parts, request.GET.get("have", ""))
    if not changed:
        return HttpResponse(status=204)
    context = {"page": page, "changed": changed, "tokens": tokens(parts), "is_poll": True}
    return render(request, "apimgmt/partials/_changed_parts.html", context)


def render_tab(request: HttpRequest, page: ApiPage, *, status: int = 200, **context: Any) -> HttpResponse:
    """The tab with all its parts, and what else the context brings: a reply, or a refusal."""
    parts = render_parts(page)
    frame = {
        "section": "models",
        "model": page.model,
        "page": page,
        "parts": parts,
        "tokens": tokens(parts),
        "ranges": RANGES,
        "crumbs": model_crumbs(page.model, Crumb(pgettext("tab", "Create API"))),
    }
    return render_page(request, "apimgmt/api.html", {**frame, **context}, status=status)


def _page(request: HttpRequest, model_id: int) -> ApiPage:
    """For the chosen number of days; anything that is no number is the default."""
    text = request.GET.get("days", "")
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else DEFAULT_RANGE
    return ApiPage(request, found_model(request, model_id), days=days)
