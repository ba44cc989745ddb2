"""The IP whitelist dialog: a box for many lines, and the table of entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.errors import NeedsConfirmation, Refused, WhitelistRefused
from apimgmt.lifecycle import services
from apimgmt.lifecycle.services import Added
from apimgmt.models import PredictionAPI
from apimgmt.views.action_view import Subject, on_api
from apimgmt.views.api_page.page import ApiPage
from apimgmt.views.api_page.parts import render_parts, tokens
from apimgmt.views.dialogs import show_dialog
from apimgmt.views.forms import WhitelistForm
from apimgmt.views.layout import get_or_post, see_other, signed_in, wants_fragment
from apimgmt.views.my_networks import my_networks
from apimgmt.views.replies import Notice, confirmed_or_pending_notice, is_on_tab, keep_notice

SHOWN_ENTRIES = 20
MAX_LISTED_ENTRIES = 500


@dataclass(frozen=True)
class Outcome:
    """What the dialog tells of the change that was asked for; nothing where none was."""

    status: int = 200
    notice: Notice | None = None
    error: WhitelistRefused | None = None
    question: str = ""


@signed_in
@get_or_post
@on_api
def whitelist(subject: Subject) -> HttpResponse:
    """GET: the dialog. POST: `add` the box's lines, add `mine`, or `remove` one entry."""
    if not subject.is_post:
        return _dialog(subject, WhitelistForm(), Outcome())
    form = WhitelistForm(subject.request.POST)
    if not form.is_valid():
        return _dialog(subject, form, Outcome(422))
    try:
        notice = _change(subject, form)
    except WhitelistRefused as error:
        return _dialog(subject, form, Outcome(error.status, error=error))
    except NeedsConfirmation as question:
        return _dialog(subject, WhitelistForm(), Outcome(question.status, question=str(question)))
    except Refused as error:
        return _dialog(subject, form, Outcome(error.status, notice=Notice(str(error), "error")))
    return _changed(subject, notice)


def _changed(subject: Subject, notice: Notice) -> HttpResponse:
    if wants_fragment(subject.request):
        return _dialog(subject, WhitelistForm(), Outcome(notice=notice))
    keep_notice(subject.request, notice)
    return see_other(subject.request.path)


def _change(subject: Subject, form: WhitelistForm) -> Notice:
    """Do what was asked; say what changed and whether gateways have confirmed it. Raises `Refused`."""
    post, api_id, actor = subject.request.POST, subject.api.pk, subject.actor
    entry = post.get("remove", "")
    if entry.isascii() and entry.isdigit():
        network = services.remove_network(api_id, int(entry), actor=actor, confirmed=subject.is_confirmed)
        return confirmed_or_pending_notice(api_id, _("Removed %(network)s") % {"network": network})
    text = "\n".join(my_networks(actor)) if post.get("add") == "mine" else form.cleaned_data["text"]
    added = services.add_networks(api_id, text, note=form.cleaned_data["note"], actor=actor)
    if not added.added:
        return Notice(_known_sentence(added), "info")
    return confirmed_or_pending_notice(api_id, _added_words(added))


def _known_sentence(added: Added) -> str:
    return ngettext(
        "%(network)s is on the list already; nothing was changed.",
        "All %(count)d networks are on the list already; nothing was changed.",
        len(added.known),
    ) % {"network": added.known[0], "count": len(added.known)}


def _added_words(added: Added) -> str:
    words = {"network": added.added[0], "count": f"{len(added.added):,}", "known": len(added.known)}
    if not added.known:
        return ngettext("Added %(network)s", "Added %(count)s networks", len(added.added)) % words
    return (
        ngettext(
            "Added %(network)s (%(known)d already on the list)",
            "Added %(count)s networks (%(known)d already on the list)",
            len(added.added),
        )
        % words
    )


def _dialog(subject: Subject, form: WhitelistForm, outcome: Outcome) -> HttpResponse:
    request = subject.request
    context = _context(subject, form, outcome)
    if not (wants_fragment(request) and subject.is_post):
        title = _("IP whitelist")
        return show_dialog(
            request, subject.model, "apimgmt/partials/_whitelist.html", title, context, status=outcome.status
        )
    context |= {"model": subject.model, "is_dialog": True}
    if is_on_tab(request, subject.model):
        context |= _parts_behind(subject)
    return render(request, "apimgmt/partials/_whitelist_reply.html", context, status=outcome.status)


def _context(subject: Subject, form: WhitelistForm, outcome: Outcome) -> dict[str, Any]:
    request = subject.request
    search = (request.POST if subject.is_post else request.GET).get("q", "").strip()[:100]
    return {
        "form": form,
        "outcome": outcome,
        "question_entry": request.POST.get("remove", ""),
        "url": request.path,
        "refusal": subject.refusal("whitelist"),
        "mine": my_networks(subject.actor),
        **_entries(subject.api, search),
    }


def _parts_behind(subject: Subject) -> dict[str, Any]:
    """The tab that the dialog stands before."""
    page = ApiPage(subject.request, subject.model)
    parts = render_parts(page)
    return {"page": page, "changed": list(parts.values()), "tokens": tokens(parts)}


def _entries(api: PredictionAPI, search: str) -> dict[str, Any]:
    """The newest entries first: some shown, more folded, and a search once there are many."""
    found = api.whitelist.order_by("-id")
    total = found.count()
    if search:
        found = found.filter(Q(network__icontains=search) | Q(note__icontains=search))
    listed = list(found[: MAX_LISTED_ENTRIES + 1])
    return {
        "search": search,
        "total": total,
        "entries": listed[:SHOWN_ENTRIES],
        "folded": listed[SHOWN_ENTRIES:MAX_LISTED_ENTRIES],
        "is_cut": len(listed) > MAX_LISTED_ENTRIES,
        "max_listed": MAX_LISTED_ENTRIES,
        "has_many": total > SHOWN_ENTRIES,
    }
