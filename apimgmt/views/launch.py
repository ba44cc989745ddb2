"""The dialog Start API creation, and the launch."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from apimgmt.actors import Actor, actor_of
from apimgmt.errors import Refused
from apimgmt.lifecycle import selectors, services
from apimgmt.lifecycle.options import launch_choices
from apimgmt.models import Model
from apimgmt.roles import HOLDERS, OPERATE
from apimgmt.views.dialogs import show_dialog
from apimgmt.views.forms import LaunchForm
from apimgmt.views.key_grants import SHOWN_AFTER_LAUNCH_S, grant_key
from apimgmt.views.layout import found_model, get_or_post, signed_in
from apimgmt.views.my_networks import my_networks
from apimgmt.views.replies import Notice, done

EVERYBODY = ["0.0.0.0/0"]


@dataclass(frozen=True)
class Choice:
    """One radio choice as the dialog shows it."""

    value: str
    label: str
    text: str
    is_available: bool
    is_chosen: bool


@signed_in
@get_or_post
def launch(request: HttpRequest, model_id: int) -> HttpResponse:
    """GET: the dialog. POST: launch what was chosen."""
    model, actor = found_model(request, model_id), actor_of(request)
    form = LaunchForm(request.POST if request.method == "POST" else None)
    if request.method != "POST":
        return _dialog(request, model, form)
    if not actor.may(OPERATE):
        return _dialog(request, model, form, callout=str(HOLDERS[OPERATE]), status=403)
    if not form.is_valid():
        return _dialog(request, model, form, callout=_first_error(form), status=422)
    try:
        launched = services.launch_api(model, form.cleaned_data["type"], networks=_networks(form, actor), actor=actor)
    except Refused as error:
        return _dialog(request, model, form, callout=str(error), status=error.status)
    grant_key(request, launched.api, for_s=SHOWN_AFTER_LAUNCH_S)
    return done(request, model, Notice())


def _networks(form: LaunchForm, actor: Actor) -> list[str]:
    """Who may call at first: the person's own address unless something else was chosen."""
    chosen = form.cleaned_data["callers"]
    if chosen == LaunchForm.EVERYBODY:
        return EVERYBODY
    return [] if chosen == LaunchForm.NOBODY else my_networks(actor)


def _first_error(form: LaunchForm) -> str:
    return next(str(error) for errors in form.errors.values() for error in errors)


def _dialog(
    request: HttpRequest, model: Model, form: LaunchForm, *, callout: str = "", status: int = 200
) -> HttpResponse:
    actor = actor_of(request)
    types = _type_choices(model, form)
    refusal = _refusal(model, actor)
    context = {
        "types": types,
        "callers": _caller_choices(actor, form),
        "callout": callout or refusal,
        "is_available": not refusal and any(choice.is_available for choice in types),
        "url": request.path,
    }
    return show_dialog(request, model, "apimgmt/partials/_launch.html", _("Start API creation"), context, status=status)


def _refusal(model: Model, actor: Actor) -> str:
    if not actor.may(OPERATE):
        return str(HOLDERS[OPERATE])
    return _("This model already has an API.") if selectors.current_api(model) is not None else ""


def _type_choices(model: Model, form: LaunchForm) -> list[Choice]:
    labels = form.labels("type")
    choices = launch_choices(model)
    wanted = form.data.get("type") or next((choice.type for choice in choices if choice.is_available), "")
    return [
        Choice(
            value=choice.type,
            label=labels[choice.type],
            text=choice.consequence if choice.is_available else choice.reason,
            is_available=choice.is_available,
            is_chosen=choice.is_available and choice.type == wanted,
        )
        for choice in choices
    ]


def _caller_choices(actor: Actor, form: LaunchForm) -> list[Choice]:
    mine = my_networks(actor)
    wanted = form.data.get("callers") or (LaunchForm.MINE if mine else LaunchForm.NOBODY)
    labels = form.labels("callers")
    return [
        Choice(
            value=value,
            label=labels[value],
            text=text,
            is_available=value != LaunchForm.MINE or bool(mine),
            is_chosen=value == wanted,
        )
        for value, text in _caller_texts(mine).items()
    ]


def _caller_texts(mine: list[str]) -> dict[str, str]:
    unknown = _("The console can't tell your address.")
    return {
        LaunchForm.MINE: get_text_list(mine, pgettext("between two addresses", "and")) if mine else unknown,
        LaunchForm.EVERYBODY: _("0.0.0.0/0: all addresses. Only the key protects the API."),
        LaunchForm.NOBODY: _("You add addresses later; until then every caller gets 403."),
    }
