"""How a deed is answered: with scripts the changed parts of the tab and a notice, without them a redirect or a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget, trigger_client_event

from apimgmt.errors import Refused
from apimgmt.lifecycle.confirmation import Confirmation
from apimgmt.lifecycle.reconciling import reconcile_api
from apimgmt.lifecycle.reports import receipt_sentence, unconfirmed_sentence
from apimgmt.models import Model, Receipt
from apimgmt.views.api_page import DEFAULT_RANGE, ApiPage, render_parts, tokens
from apimgmt.views.layout import Crumb, htmx_of, render_page, see_other, wants_fragment
from apimgmt.views.models import model_crumbs

# How long a reply waits for gateways, so that it mostly shows the change as confirmed already.
SETTLE_S = 0.4
DIALOG = "dialog-body"


@dataclass(frozen=True)
class Notice:
    """A sentence above the panels. Tones: success, info, warning, error (as of Django's messages).

    No text: the panels say it all already.
    """

    text: str = ""
    tone: str = "success"


@dataclass(frozen=True)
class Dialog:
    """A question with one button, as a dialog or as a page of its own.

    `callout` is a warning or refusal above the text; `fields` are hidden values sent with the answer.
    """

    title: str
    paragraphs: list[str]
    button: str
    url: str
    tone: str = "primary"
    callout: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    form: Any = None
    is_available: bool = True


def range_in(request: HttpRequest) -> int:
    """The chosen number of days; anything else is the default."""
    text = request.GET.get("days", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else DEFAULT_RANGE


def live_reply(
    request: HttpRequest,
    page: ApiPage,
    *,
    notice: Notice | None = None,
    status: int = 200,
) -> HttpResponse:
    """The tab's parts out of band, a fresh poller, and a notice as the content."""
    rendered = render_parts(page)
    context = {
        "page": page,
        "changed": list(rendered.values()),
        "tokens": tokens(rendered),
        "notice": notice,
    }
    return render(request, "apimgmt/partials/_live.html", context, status=status)


def done(request: HttpRequest, model: Model, notice: Notice) -> HttpResponse:
    """A deed was done: back to the tab, which shows its new state."""
    if not wants_fragment(request):
        keep_notice(request, notice)
        return see_other(tab_address(model))
    if not is_on_tab(request, model):
        keep_notice(request, notice)
        return HttpResponseClientRedirect(tab_address(model))
    response = live_reply(request, ApiPage(request, model), notice=notice)
    return trigger_client_event(reswap(retarget(response, "#notices"), "innerHTML"), "dialog-close", after="swap")


def keep_notice(request: HttpRequest, notice: Notice) -> None:
    """For the page that the browser is sent to."""
    if notice.text:
        messages.add_message(request, messages.constants.DEFAULT_LEVELS[notice.tone.upper()], notice.text)


def tab_address(model: Model) -> str:
    return reverse("model-api", args=[model.pk])


def is_on_tab(request: HttpRequest, model: Model) -> bool:
    """Whether the page that asked is the Create API tab, so that its parts can be renewed in place."""
    here = (htmx_of(request).current_url_abs_path or "").partition("?")[0]
    return bool(here == tab_address(model))


def settled_notice(api_id: str, deed: str) -> Notice:
    """Wait a moment for gateways, then say what was done if all have confirmed it; else the status panel tells it."""
    return _settled(api_id, deed)[0] or Notice()


def settled_or_open_notice(api_id: str, deed: str) -> Notice:
    """The same where nothing else on the screen says what is still open."""
    notice, seen = _settled(api_id, deed)
    return notice or Notice(f"{deed}; {unconfirmed_sentence(seen)}.", "warning")


def _settled(api_id: str, deed: str) -> tuple[Notice | None, Confirmation]:
    seen = reconcile_api(api_id, SETTLE_S)
    receipt = Receipt.objects.filter(api_id=api_id).order_by("-id").first()
    if receipt is None or receipt.confirmed_at is None:
        return None, seen
    return Notice(f"{deed}: {receipt_sentence(receipt, seen.dismissed)}."), seen


def ask(request: HttpRequest, model: Model, window: Dialog, *, status: int = 200) -> HttpResponse:
    """Show a window: into the dialog, or as a page."""
    return show_window(request, model, "apimgmt/partials/_window.html", window.title, {"window": window}, status=status)


def show_window(
    request: HttpRequest, model: Model, partial: str, title: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """Any window's partial: alone for the dialog, framed as a page otherwise."""
    content = {**context, "model": model, "is_dialog": wants_fragment(request)}
    if wants_fragment(request):
        response = render(request, partial, content, status=status)
        return reswap(retarget(response, f"#{DIALOG}"), "innerHTML")
    crumbs = model_crumbs(model, Crumb(title))
    return render_page(
        request,
        "apimgmt/window_page.html",
        {**content, "partial": partial, "title": title, "crumbs": crumbs, "section": "models"},
        status=status,
    )


def refused(request: HttpRequest, model: Model, error: Refused, window: Dialog) -> HttpResponse:
    """A deed was refused: the reason where the person is looking, and the tab's true state behind it."""
    if wants_fragment(request) and htmx_of(request).target != DIALOG and is_on_tab(request, model):
        notice = Notice(str(error), "error")
        response = live_reply(request, ApiPage(request, model), notice=notice, status=error.status)
        return reswap(retarget(response, "#notices"), "innerHTML")
    return ask(request, model, window, status=error.status)
