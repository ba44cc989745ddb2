"""The Create API tab: the page, what a poll gets, the launch, and the sample call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.http import require_POST, require_safe

from apimgmt.actors import Actor, actor_of
from apimgmt.calling.sample_call import SampleReply, send_sample_row
from apimgmt.errors import Refused
from apimgmt.lifecycle import selectors, services
from apimgmt.lifecycle.options import launch_choices
from apimgmt.models import Model
from apimgmt.roles import HOLDERS, OPERATE
from apimgmt.views.actions import get_or_post
from apimgmt.views.api_page import RANGES, ApiPage, changed_parts, render_parts, tokens
from apimgmt.views.forms import LaunchForm
from apimgmt.views.key_grants import SHOWN_AFTER_LAUNCH_S, grant_key
from apimgmt.views.layout import Crumb, found_model, render_page, see_other, signed_in, wants_fragment
from apimgmt.views.models import model_crumbs
from apimgmt.views.replies import Notice, done, live_reply, range_in, show_window, tab_address
from contract.networks import NetworkError, parse_network

REPLY_KEY = "sample_reply"
LOOPBACK_NETWORKS = ["127.0.0.1/32", "::1/128"]
EVERYBODY = ["0.0.0.0/0"]


@signed_in
@require_safe
def model_api(request: HttpRequest, model_id: int) -> HttpResponse:
    """The tab as a complete page."""
    model = found_model(request, model_id)
    return _tab(request, ApiPage(request, model, days=range_in(request)), reply=_kept_reply(request, model))


def _tab(request: HttpRequest, page: ApiPage, *, status: int = 200, **context: Any) -> HttpResponse:
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


@signed_in
@require_safe
def api_status(request: HttpRequest, model_id: int) -> HttpResponse:
    """What changed since the browser's `have`; 204 when nothing did. It writes nothing, the session neither."""
    model = found_model(request, model_id)
    page = ApiPage(request, model, days=range_in(request))
    parts = render_parts(page)
    changed = changed_parts(parts, request.GET.get("have", ""))
    if not changed:
        return HttpResponse(status=204)
    context = {"page": page, "changed": changed, "tokens": tokens(parts), "is_poll": True}
    return render(request, "apimgmt/partials/_live.html", context)


# ── Launch ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Choice:
    """One radio choice as the window shows it."""

    value: str
    label: str
    text: str
    is_available: bool
    is_chosen: bool
    caution: str = ""


def my_networks(actor: Actor) -> list[str]:
    """The person's own address as whitelist entries; from this machine both loopback addresses."""
    try:
        network = parse_network(actor.address)
    except NetworkError:
        return []
    return LOOPBACK_NETWORKS if network in LOOPBACK_NETWORKS else [network]


@signed_in
@get_or_post
def launch(request: HttpRequest, model_id: int) -> HttpResponse:
    """The window Start API creation, and the launch."""
    model = found_model(request, model_id)
    actor = actor_of(request)
    form = LaunchForm(request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return _launch_window(request, model, actor, form)
    if not actor.may(OPERATE):
        return _launch_window(request, model, actor, form, callout=str(HOLDERS[OPERATE]), status=403)
    if not form.is_valid():
        return _launch_window(request, model, actor, form, callout=_first_error(form), status=422)
    networks = {LaunchForm.EVERYBODY: EVERYBODY, LaunchForm.NOBODY: []}.get(
        form.cleaned_data["callers"] or LaunchForm.MINE, my_networks(actor)
    )
    try:
        launched = services.launch_api(model, form.cleaned_data["type"], networks=networks, actor=actor)
    except Refused as error:
        return _launch_window(request, model, actor, form, callout=str(error), status=error.status)
    grant_key(request, launched.api, for_s=SHOWN_AFTER_LAUNCH_S)
    return done(request, model, Notice())


def _first_error(form: LaunchForm) -> str:
    return next(str(error) for errors in form.errors.values() for error in errors)


def _launch_window(
    request: HttpRequest, model: Model, actor: Actor, form: LaunchForm, *, callout: str = "", status: int = 200
) -> HttpResponse:
    types = _type_choices(model, form)
    refusal = "" if actor.may(OPERATE) else str(HOLDERS[OPERATE])
    if not refusal and selectors.current_api(model) is not None:
        refusal = _("This model already has an API.")
    context = {
        "types": types,
        "callers": _caller_choices(actor, form),
        "callout": callout or refusal,
        "is_available": not refusal and any(choice.is_available for choice in types),
        "url": request.path,
    }
    return show_window(request, model, "apimgmt/partials/_launch.html", _("Start API creation"), context, status=status)


def _type_choices(model: Model, form: LaunchForm) -> list[Choice]:
    labels = dict(form.fields["type"].choices)  # type: ignore[attr-defined]  # a ChoiceField
    choices = launch_choices(model)
    wanted = form.data.get("type") or next((choice.type for choice in choices if choice.is_available), "")
    return [
        Choice(
            value=choice.type,
            label=str(labels[choice.type]),
            text=choice.consequence if choice.is_available else choice.reason,
            is_available=choice.is_available,
            is_chosen=choice.is_available and choice.type == wanted,
        )
        for choice in choices
    ]


def _caller_choices(actor: Actor, form: LaunchForm) -> list[Choice]:
    mine = my_networks(actor)
    wanted = form.data.get("callers") or (LaunchForm.MINE if mine else LaunchForm.NOBODY)
    texts = {
        LaunchForm.MINE: _(" and ").join(mine) if mine else _("Your address can't be made out from here."),
        LaunchForm.EVERYBODY: _("0.0.0.0/0: all addresses. The key alone protects the API."),
        LaunchForm.NOBODY: _("You add addresses later; until then every caller gets 403."),
    }
    labels = dict(form.fields["callers"].choices)  # type: ignore[attr-defined]  # a ChoiceField
    return [
        Choice(
            value=value,
            label=str(labels[value]),
            text=text,
            is_available=value != LaunchForm.MINE or bool(mine),
            is_chosen=value == wanted,
        )
        for value, text in texts.items()
    ]


# ── Send this row now ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ShownReply:
    """A gateway's answer as the page shows it."""

    status: int
    seconds: float
    pretty: str


@signed_in
@require_POST
def send_row(request: HttpRequest, model_id: int) -> HttpResponse:
    """Call the API with its sample row and show the answer."""
    model = found_model(request, model_id)
    api = selectors.current_api(model)
    try:
        if api is None:
            raise Refused(_("This model has no API."))
        reply = _shown(send_sample_row(api, actor=actor_of(request)))
    except Refused as error:
        return _no_reply(request, model, error)
    if wants_fragment(request):
        return render(request, "apimgmt/partials/_reply.html", {"reply": reply})
    request.session[REPLY_KEY] = [model.pk, reply.status, reply.seconds, reply.pretty]
    return see_other(f"{tab_address(model)}#send-reply")


def _no_reply(request: HttpRequest, model: Model, error: Refused) -> HttpResponse:
    notice = Notice(str(error), "error")
    if wants_fragment(request):
        return live_reply(request, ApiPage(request, model), notice=notice, status=error.status)
    return _tab(request, ApiPage(request, model), refusal=notice, status=error.status)


def _shown(reply: SampleReply) -> ShownReply:
    try:
        pretty = json.dumps(json.loads(reply.body), indent=2, ensure_ascii=False)
    except ValueError:
        pretty = reply.body
    return ShownReply(reply.status, reply.seconds, pretty)


def _kept_reply(request: HttpRequest, model: Model) -> ShownReply | None:
    """The answer of a call made without scripts, once."""
    kept = request.session.get(REPLY_KEY)
    if kept is None:
        return None
    del request.session[REPLY_KEY]
    return ShownReply(*kept[1:]) if kept[0] == model.pk else None
