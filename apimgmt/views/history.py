"""The history of a model's APIs: who did what, when, from where. Deleted APIs stay readable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.confirmation import DismissedWorker, dismissed_workers
from apimgmt.lifecycle.reports import receipt_sentence
from apimgmt.lifecycle.stages import STAGES
from apimgmt.models import ApiEvent, PredictionAPI, Receipt
from apimgmt.sentences import event_reason
from apimgmt.views.labels import SWITCH_WORDS, event_word
from apimgmt.views.layout import Crumb, found_model, render_page, signed_in
from apimgmt.views.models import head_context, model_crumbs

EVENTS_A_PAGE = 50


@dataclass(frozen=True)
class EventRow:
    """One line of the history."""

    event: ApiEvent
    word: str
    detail: str
    change: str
    receipt: str


@signed_in
@require_safe
def api_history(request: HttpRequest, model_id: int) -> HttpResponse:
    """Events of the current API, or of the one that `api` names."""
    model = found_model(request, model_id)
    apis = list(PredictionAPI.objects.filter(model=model).order_by("-created_at"))
    wanted = request.GET.get("api")
    chosen = next((api for api in apis if api.pk == wanted), apis[0] if apis else None)
    context: dict[str, Any] = {
        "section": "models",
        "model": model,
        "tab": "history",
        "apis": apis,
        "chosen": chosen,
        "crumbs": model_crumbs(model, Crumb(_("History"))),
    }
    if chosen is not None:
        dismissed = dismissed_workers()
        page = Paginator(selectors.events(chosen), EVENTS_A_PAGE).get_page(request.GET.get("page"))
        context |= {"page": page, "rows": [_row(event, dismissed) for event in page]}
    return render_page(request, "apimgmt/history.html", context | head_context(model))


def _row(event: ApiEvent, dismissed: Sequence[DismissedWorker]) -> EventRow:
    receipt: Receipt | None = getattr(event, "receipt", None)
    sentence = ""
    if receipt is not None:
        sentence = receipt_sentence(receipt, dismissed) or _("not confirmed yet")
    labels = dict(PredictionAPI._meta.get_field("status").choices or [])
    after_label = labels.get(event.after, event.after)
    change = ""
    if event.before != event.after and event.after:
        change = f"{labels.get(event.before, event.before)} → {after_label}" if event.before else str(after_label)
    word = event_word(event.verb)
    return EventRow(event, word, _detail(event), "" if str(after_label) == word else change, sentence)


def _detail(event: ApiEvent) -> str:
    """The event's particulars in words."""
    detail = event.detail
    networks = detail.get("added") or detail.get("networks") or []
    if networks:
        count = detail.get("count", len(networks))
        shown = ", ".join(networks[:3])
        more = count - min(3, len(networks))
        return (
            shown
            if not more
            else ngettext("%(shown)s and %(more)d more", "%(shown)s and %(more)d more", more)
            % {
                "shown": shown,
                "more": more,
            }
        )
    if switches := [
        f"{word}: {_('on') if detail[name] else _('off')}" for name, word in SWITCH_WORDS.items() if name in detail
    ]:
        return ", ".join(switches)
    if "removed" in detail:
        return str(detail["removed"])
    if "stage" in detail:
        return f"{STAGES.get(detail['stage'], detail['stage'])}: {event_reason(detail)}"
    if "from" in detail and "to" in detail:
        return f"v{detail['from']} → v{detail['to']}"
    return ""
