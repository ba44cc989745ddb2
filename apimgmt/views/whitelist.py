"""The IP whitelist window: a box for many lines, and the table of entries."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.actors import Actor, actor_of
from apimgmt.errors import NeedsConfirmation, Refused, TransitionRefused, WhitelistRefused
from apimgmt.lifecycle import selectors, services
from apimgmt.lifecycle.actions import actions_for
from apimgmt.models import Model, PredictionAPI
from apimgmt.views.actions import get_or_post
from apimgmt.views.api import my_networks
from apimgmt.views.api_page import ApiPage, render_parts, tokens
from apimgmt.views.forms import WhitelistForm
from apimgmt.views.layout import found_model, see_other, signed_in, wants_fragment
from apimgmt.views.replies import Dialog, Notice, is_on_tab, keep_notice, refused, settled_or_open_notice, show_window

SHOWN_ENTRIES = 20
MAX_LISTED_ENTRIES = 500
BIG_TEXT_LENGTH = 200


@signed_in
@get_or_post
def whitelist(request: HttpRequest, model_id: int) -> HttpResponse:
    """GET: the window. POST: `add` the box's lines, add `mine`, or `remove` one entry."""
    model = found_model(request, model_id)
    api = selectors.current_api(model)
    if api is None:
        error = TransitionRefused(_("This model has no API."))
        window = Dialog(title=model.name, paragraphs=[], button="", url="", callout=str(error), is_available=False)
        return refused(request, model, error, window)
    if request.method != "POST":
        return _window(request, model, api, WhitelistForm())
    return _change(request, model, api)


def _change(request: HttpRequest, model: Model, api: PredictionAPI) -> HttpResponse:
    actor = actor_of(request)
    form = WhitelistForm(request.POST)
    if not form.is_valid():
        return _window(request, model, api, form, status=422)
    try:
        notice = _carry(request, api, form, actor)
    except WhitelistRefused as error:
        return _window(request, model, api, form, error=error, status=error.status)
    except NeedsConfirmation as question:
        return _window(request, model, api, WhitelistForm(), question=str(question), status=question.status)
    except Refused as error:
        return _window(request, model, api, form, notice=Notice(str(error), "error"), status=error.status)
    if not wants_fragment(request):
        keep_notice(request, notice)
        return see_other(request.path)
    return _window(request, model, api, WhitelistForm(), notice=notice)


def _carry(request: HttpRequest, api: PredictionAPI, form: WhitelistForm, actor: Actor) -> Notice:
    """Do what was asked; say what changed and whether gateways have confirmed it."""
    entry = request.POST.get("remove", "")
    if entry.isascii() and entry.isdigit():
        network = services.remove_network(api.pk, int(entry), actor=actor, confirmed="sure" in request.POST)
        return settled_or_open_notice(api.pk, _("Removed %(network)s") % {"network": network})
    text = form.cleaned_data["text"]
    if request.POST.get("add") == "mine":
        text = "\n".join(my_networks(actor))
    added = services.add_networks(api.pk, text, note=form.cleaned_data["note"], actor=actor)
    if not added.added:
        known = ngettext("%(network)s is", "All %(count)d networks are", len(added.known))
        words = known % {"network": added.known[0], "count": len(added.known)}
        return Notice(_("%(networks)s on the list already; nothing was changed.") % {"networks": words}, "info")
    if len(added.added) == 1:
        deed = _("Added %(network)s") % {"network": added.added[0]}
    else:
        deed = _("Added %(count)s networks") % {"count": f"{len(added.added):,}"}
    if added.known:
        known = ngettext("%(count)d was there already", "%(count)d were there already", len(added.known))
        deed = f"{deed} ({known % {'count': len(added.known)}})"
    return settled_or_open_notice(api.pk, deed)


def _window(
    request: HttpRequest,
    model: Model,
    api: PredictionAPI,
    form: WhitelistForm,
    *,
    error: WhitelistRefused | None = None,
    notice: Notice | None = None,
    question: str = "",
    status: int = 200,
) -> HttpResponse:
    actor = actor_of(request)
    search = (request.POST if request.method == "POST" else request.GET).get("q", "").strip()[:100]
    context: dict[str, Any] = {
        "api": api,
        "form": form,
        "error": error,
        "notice": notice,
        "question": question,
        "question_entry": request.POST.get("remove", ""),
        "url": request.path,
        "action": actions_for(api, actor)["whitelist"],
        "mine": my_networks(actor),
        **_entries(api, search),
    }
    title = _("IP whitelist")
    if not (wants_fragment(request) and request.method == "POST"):
        return show_window(request, model, "apimgmt/partials/_whitelist.html", title, context, status=status)
    context |= {"model": model, "is_dialog": True}
    if is_on_tab(request, model):
        page = ApiPage(request, model)
        parts = render_parts(page)
        context |= {"page": page, "changed": list(parts.values()), "tokens": tokens(parts)}
    return render(request, "apimgmt/partials/_whitelist_reply.html", context, status=status)


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
