"""How an action is answered: with scripts the changed parts of the tab and a notice, else a redirect or a page."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect, reswap, retarget, trigger_client_event

from apimgmt.errors import Refused
from apimgmt.lifecycle.confirmation import Confirmation
from apimgmt.lifecycle.reconciling import reconcile_api
from apimgmt.lifecycle.reports import receipt_sentence, unconfirmed_sentence
from apimgmt.models import Model, Receipt
from apimgmt.views.api_page.page import ApiPage
from apimgmt.views.api_page.parts import render_parts, tokens
from apimgmt.views.dialogs import DIALOG_BODY, Dialog, ask
from apimgmt.views.layout import htmx_of, see_other, wants_fragment

# How long a reply waits for gateways, so that it mostly shows the change as confirmed already.
CONFIRM_WAIT_S = 0.4


@dataclass(frozen=True)
class Notice:
    """A sentence above the panels. Tones: success, info, warning, error (as of Django's messages).

    No text: the panels say it all already.
    """

    text: str = ""
    tone: str = "success"


def confirmed_notice(api_id: str, change: str) -> Notice:
    """Wait a moment for gateways, then say what was done if all have confirmed it; else the status panel tells it."""
    return _confirmed(api_id, change)[0] or Notice()


def confirmed_or_pending_notice(api_id: str, change: str) -> Notice:
    """The same where nothing else on the screen says what is still open."""
    notice, seen = _confirmed(api_id, change)
    if notice is not None:
        return notice
    pending = {"change": change, "pending": unconfirmed_sentence(seen)}
    return Notice(_("%(change)s; %(pending)s.") % pending, "warning")


def _confirmed(api_id: str, change: str) -> tuple[Notice | None, Confirmation]:
    seen = reconcile_api(api_id, CONFIRM_WAIT_S)
    receipt = Receipt.objects.filter(api_id=api_id).order_by("-id").first()
    if receipt is None or receipt.confirmed_at is None:
        return None, seen
    words = {"change": change, "receipt": receipt_sentence(receipt, seen.dismissed)}
    return Notice(_("%(change)s: %(receipt)s.") % words), seen


def tab_address(model: Model) -> str:
    return reverse("model-api", args=[model.pk])


def is_on_tab(request: HttpRequest, model: Model) -> bool:
    """Whether the page that asked is the Create API tab, so that its parts can be renewed in place."""
    here = (htmx_of(request).current_url_abs_path or "").partition("?")[0]
    return bool(here == tab_address(model))


def keep_notice(request: HttpRequest, notice: Notice) -> None:
    """For the page that the browser is sent to."""
    if notice.text:
        messages.add_message(request, messages.constants.DEFAULT_LEVELS[notice.tone.upper()], notice.text)


def parts_reply(request: HttpRequest, page: ApiPage, notice: Notice, *, status: int = 200) -> HttpResponse:
    """The tab's parts out of band, a fresh poller, and a notice as the content."""
    parts = render_parts(page)
    context = {"page": page, "changed": list(parts.values()), "tokens": tokens(parts), "notice": notice}
    return render(request, "apimgmt/partials/_changed_parts.html", context, status=status)


def done(request: HttpRequest, model: Model, notice: Notice) -> HttpResponse:
    """It is done: back to the tab, which shows its new state."""
    if not wants_fragment(request):
        keep_notice(request, notice)
        return see_other(tab_address(model))
    if not is_on_tab(request, model):
        keep_notice(request, notice)
        return HttpResponseClientRedirect(tab_address(model))
    response = parts_reply(request, ApiPage(request, model), notice)
    return trigger_client_event(reswap(retarget(response, "#notices"), "innerHTML"), "dialog-close", after="swap")


def refused(request: HttpRequest, model: Model, error: Refused, dialog: Dialog) -> HttpResponse:
    """It was refused: the reason where the person is looking, and the tab's true state behind it."""
    if wants_fragment(request) and htmx_of(request).target != DIALOG_BODY and is_on_tab(request, model):
        response = parts_reply(request, ApiPage(request, model), Notice(str(error), "error"), status=error.status)
        return reswap(retarget(response, "#notices"), "innerHTML")
    return ask(request, model, dialog, status=error.status)
