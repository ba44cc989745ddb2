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
from apimgmt.models import ApiEvent, PredictionAPI, Receipt, Status
from apimgmt.sentences import event_reason
from apimgmt.views.labels import CSV_CHARSET_WORD, SWITCH_WORDS, event_word
from apimgmt.views.layout import Crumb, found_model, model_crumbs, render_page, signed_in
from apimgmt.views.models import head_context

EVENTS_A_PAGE = 50
SHOWN_NETWORKS = 3


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
    word = event_word(event.verb)
    return EventRow(event, word, _detail(event), _change(event, word), _receipt(event, dismissed))


def _change(event: ApiEvent, word: str) -> str:
    """From one status to another; "" where none changed, or the event's own word says it already."""
    if event.before == event.after or not event.after:
        return ""
    labels = dict(Status.choices)
    after = str(labels.get(event.after, event.after))
    if after == word:
        return ""
    return f"{labels.get(event.before, event.before)} → {after}" if event.before else after


def _receipt(event: ApiEvent, dismissed: Sequence[DismissedWorker]) -> str:
    receipt: Receipt | None = getattr(event, "receipt", None)
    if receipt is None:
        return ""
    return receipt_sentence(receipt, dismissed) or _("not confirmed yet")


def _detail(event: ApiEvent) -> str:
    """The event's particulars in words."""
    detail = event.detail
    if networks := detail.get("added") or detail.get("networks"):
        return _networks(networks, detail.get("count", len(networks)))
    if "csv_charset" in detail or any(name in detail for name in SWITCH_WORDS):
        return _switches(detail)
    if "removed" in detail:
        return str(detail["removed"])
    if "stage" in detail:
        return f"{STAGES.get(detail['stage'], detail['stage'])}: {event_reason(detail)}"
    if "from" in detail and "to" in detail:
        return f"v{detail['from']} → v{detail['to']}"
    return ""


def _networks(networks: list[str], count: int) -> str:
    shown = ", ".join(networks[:SHOWN_NETWORKS])
    more = count - min(SHOWN_NETWORKS, len(networks))
    if not more:
        return shown
    return ngettext("%(shown)s and %(more)d more", "%(shown)s and %(more)d more", more) % {"shown": shown, "more": more}


def _switches(detail: dict[str, Any]) -> str:
    words = [
        f"{word}: {_('on') if detail[name] else _('off')}" for name, word in SWITCH_WORDS.items() if name in detail
    ]
    if "csv_charset" in detail:
        words.append(f"{CSV_CHARSET_WORD}: {detail['csv_charset'] or _('recognised')}")
    return ", ".join(words)
