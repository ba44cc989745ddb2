"""The deeds on one API. GET asks, POST does; each is one call of a service, and a refusal is told in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext
from django.views.decorators.http import require_http_methods

from apimgmt import roles
from apimgmt.actors import Actor, actor_of
from apimgmt.errors import NeedsConfirmation, Refused, TransitionRefused
from apimgmt.lifecycle import selectors, services
from apimgmt.lifecycle.actions import actions_for
from apimgmt.models import ApiType, Model, PredictionAPI
from apimgmt.stats import counts
from apimgmt.views.forms import DeleteForm, DescriptionForm
from apimgmt.views.key_grants import grant_key, withdraw_key
from apimgmt.views.layout import found_model, signed_in
from apimgmt.views.replies import Dialog, Notice, ask, done, refused, settled_notice, settled_or_open_notice

get_or_post = require_http_methods(["GET", "HEAD", "POST"])

Carry = Callable[[Actor], Notice]


@dataclass(frozen=True)
class Subject:
    """The model a deed is about, and its API."""

    model: Model
    api: PredictionAPI


def _subject(request: HttpRequest, model_id: int) -> tuple[Model, PredictionAPI | None]:
    model = found_model(request, model_id)
    return model, selectors.current_api(model)


def _gone(request: HttpRequest, model: Model) -> HttpResponse:
    """The deed's API is not there: never launched, or deleted by somebody else meanwhile."""
    error = TransitionRefused(_("This model has no API."))
    window = Dialog(title=model.name, paragraphs=[], button="", url="", callout=str(error), is_available=False)
    return refused(request, model, error, window)


def _action(request: HttpRequest, subject: Subject, verb: str, window: Dialog, carry: Carry) -> HttpResponse:
    """GET: the window, with the reason if the deed is not possible. POST: carry it out."""
    actor = actor_of(request)
    if request.method != "POST":
        action = actions_for(subject.api, actor)[verb]
        if not action.is_available:
            window = replace(window, callout=action.reason, is_available=False)
        return ask(request, subject.model, window)
    try:
        notice = carry(actor)
    except NeedsConfirmation as question:
        confirmed = replace(window, callout=str(question), fields={**window.fields, "sure": "1"}, tone="danger")
        return ask(request, subject.model, confirmed, status=question.status)
    except Refused as error:
        is_final = error.status == 403 or not actions_for(subject.api, actor)[verb].is_available
        return refused(request, subject.model, error, replace(window, callout=str(error), is_available=not is_final))
    return done(request, subject.model, notice)


def _today_sentence(api: PredictionAPI) -> str:
    today = counts.daily_counts(api, days=1)[0]
    count = today.count_200 + today.count_errors
    if not count:
        return _("No request came today.")
    return ngettext("%(count)s request came today.", "%(count)s requests came today.", count) % {"count": f"{count:,}"}


@signed_in
@get_or_post
def stop(request: HttpRequest, model_id: int) -> HttpResponse:
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Stop %(name)s?") % {"name": model.name},
        paragraphs=[
            _("Callers will get 503 api_stopped at once. %(today)s") % {"today": _today_sentence(api)},
            _("URL, key, whitelist and counts stay; you can start it again."),
        ],
        button=pgettext("action", "Stop"),
        url=request.path,
        tone="danger",
    )

    def carry(actor: Actor) -> Notice:
        services.stop_api(api.pk, actor=actor)
        return settled_notice(api.pk, _("Stopped"))

    return _action(request, Subject(model, api), "stop", window, carry)


@signed_in
@get_or_post
def start(request: HttpRequest, model_id: int) -> HttpResponse:
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Start %(name)s?") % {"name": model.name},
        paragraphs=[_("It is built again and then serves at the same URL, with the same key and whitelist.")],
        button=pgettext("action", "Start"),
        url=request.path,
    )

    def carry(actor: Actor) -> Notice:
        services.start_api(api.pk, actor=actor)
        return Notice()

    return _action(request, Subject(model, api), "start", window, carry)


@signed_in
@get_or_post
def cancel(request: HttpRequest, model_id: int) -> HttpResponse:
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Cancel building %(name)s?") % {"name": model.name},
        paragraphs=[_("Nothing is being served yet. The API is Stopped then, and keeps its URL, key and option.")],
        button=_("Cancel the build"),
        url=request.path,
    )

    def carry(actor: Actor) -> Notice:
        services.cancel_api(api.pk, actor=actor)
        return settled_notice(api.pk, _("Build cancelled"))

    return _action(request, Subject(model, api), "cancel", window, carry)


@signed_in
@get_or_post
def delete(request: HttpRequest, model_id: int) -> HttpResponse:
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    form = DeleteForm(request.POST if request.method == "POST" else None, model_name=model.name)
    window = Dialog(
        title=_("Delete the API of %(name)s?") % {"name": model.name},
        paragraphs=[
            _("Its URL answers 404 from then on, and its key is erased. %(today)s") % {"today": _today_sentence(api)},
            _("The option becomes free for another model.")
            if api.type == ApiType.OFFICIAL
            else _("A trial takes no API option."),
            _("The model, the counts and the history stay."),
        ],
        button=pgettext("action on an API", "Delete"),
        url=request.path,
        tone="danger",
        form=form,
    )
    if request.method == "POST" and not form.is_valid():
        action = actions_for(api, actor_of(request))["delete"]
        if action.is_available:
            return ask(request, model, window, status=422)

    def carry(actor: Actor) -> Notice:
        services.delete_api(api.pk, actor=actor)
        return settled_notice(api.pk, _("API deleted"))

    return _action(request, Subject(model, api), "delete", window, carry)


@signed_in
@get_or_post
def lock(request: HttpRequest, model_id: int) -> HttpResponse:
    """One toggle: `locked` says what is wanted; without it the opposite of what is."""
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    wanted = {"true": True, "false": False}.get(request.POST.get("locked", ""), not api.is_locked)
    window = Dialog(
        title=_("Unlock %(name)s?") % {"name": model.name}
        if api.is_locked
        else _("Lock %(name)s?") % {"name": model.name},
        paragraphs=[
            _("It can be stopped and deleted again then.")
            if api.is_locked
            else _("Nobody can stop or delete it until an administrator unlocks it.")
        ],
        button=_("Unlock API") if api.is_locked else _("Lock API"),
        url=request.path,
        fields={"locked": "false" if api.is_locked else "true"},
    )

    def carry(actor: Actor) -> Notice:
        if wanted:
            services.lock_api(api.pk, actor=actor)
            return Notice(_("Locked: it can't be stopped or deleted until an administrator unlocks it."))
        services.unlock_api(api.pk, actor=actor)
        return Notice(_("Unlocked."))

    return _action(request, Subject(model, api), "unlock" if not wanted else "lock", window, carry)


@signed_in
@get_or_post
def update(request: HttpRequest, model_id: int) -> HttpResponse:
    """Serve another version: `version` names it, the newest without."""
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    text = (request.POST if request.method == "POST" else request.GET).get("version", "")
    newest = selectors.newest_version_number(model)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else newest
    window = Dialog(
        title=_("Serve version %(number)d of %(name)s?") % {"number": number, "name": model.name},
        paragraphs=[
            _("Version %(old)d serves until every gateway worker has loaded version %(new)d; no request fails.")
            % {"old": api.version.number, "new": number},
            _("If version %(new)d can't be served, version %(old)d stays.")
            % {"old": api.version.number, "new": number},
        ],
        button=_("Serve version %(number)d") % {"number": number},
        url=request.path,
        fields={"version": str(number)},
    )

    def carry(actor: Actor) -> Notice:
        services.update_api(api.pk, number, actor=actor, confirmed="sure" in request.POST)
        return Notice()

    return _action(request, Subject(model, api), "update", window, carry)


@signed_in
@get_or_post
def upgrade(request: HttpRequest, model_id: int) -> HttpResponse:
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Upgrade %(name)s to an official API?") % {"name": model.name},
        paragraphs=[
            _("It takes one API option and has no limit of requests then. URL, key, whitelist and counts stay.")
        ],
        button=_("Upgrade to official"),
        url=request.path,
    )

    def carry(actor: Actor) -> Notice:
        services.upgrade_api(api.pk, actor=actor)
        return settled_notice(api.pk, _("Upgraded to an official API"))

    return _action(request, Subject(model, api), "upgrade", window, carry)


@signed_in
@get_or_post
def description(request: HttpRequest, model_id: int) -> HttpResponse:
    """The two switches: columns in refusals, and who may read the description.

    The form sends both, so the settings it was opened with come along: one that is out of date changes nothing.
    """
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    present = {"hides_schema": api.hides_schema, "has_public_description": api.has_public_description}
    seen_on = request.POST.get("seen_on", "").split()
    seen = {name: name in seen_on for name in present}
    form = DescriptionForm(request.POST if request.method == "POST" and seen == present else None, initial=present)
    window = Dialog(
        title=_("Who learns of the columns of %(name)s?") % {"name": model.name},
        paragraphs=[],
        button=_("Save"),
        url=request.path,
        fields={"seen_on": " ".join(name for name, is_on in present.items() if is_on)},
        form=form,
    )

    def carry(actor: Actor) -> Notice:
        answer = DescriptionForm(request.POST)
        answer.is_valid()  # a box is ticked or not: there is no third
        wanted = answer.cleaned_data
        services.describe_api(api.pk, actor=actor, seen=seen, **wanted)
        if wanted == present:
            return Notice(_("The description settings are as they were."), "info")
        return settled_or_open_notice(api.pk, _("Description settings saved"))

    return _action(request, Subject(model, api), "describe", window, carry)


@signed_in
@get_or_post
def key(request: HttpRequest, model_id: int) -> HttpResponse:
    """Show the key (an event), or hide it again with `action=hide`."""
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Show the key of %(name)s?") % {"name": model.name},
        paragraphs=[_("The history records who looked, when and from what address.")],
        button=_("Show key"),
        url=request.path,
        fields={"action": "show"},
    )

    def carry(actor: Actor) -> Notice:
        if request.POST.get("action") == "hide":
            withdraw_key(request, api)
            return Notice()
        services.reveal_key(api.pk, actor=actor)
        grant_key(request, api)
        return Notice()

    return _action(request, Subject(model, api), "key", window, carry)


@signed_in
@get_or_post
def roll(request: HttpRequest, model_id: int) -> HttpResponse:
    """Replace the key; the page shows the new one."""
    model, api = _subject(request, model_id)
    if api is None:
        return _gone(request, model)
    window = Dialog(
        title=_("Roll the key of %(name)s?") % {"name": model.name},
        paragraphs=[
            _("There is a new key then, and callers with the old one get 401 at once. %(today)s")
            % {"today": _today_sentence(api)}
        ],
        button=_("Roll key"),
        url=request.path,
        tone="danger",
    )

    def carry(actor: Actor) -> Notice:
        services.roll_key(api.pk, actor=actor, confirmed="sure" in request.POST)
        api.refresh_from_db()
        grant_key(request, api)
        return settled_notice(api.pk, _("The old key is refused"))

    return _action(request, Subject(model, api), "roll-key", window, carry)


@signed_in
@get_or_post
def dismiss(request: HttpRequest, model_id: int, worker_id: str) -> HttpResponse:
    """Stop counting a worker that is out of reach; administrators only."""
    model = found_model(request, model_id)
    actor = actor_of(request)
    window = Dialog(
        title=_("Dismiss gateway worker %(worker)s?") % {"worker": worker_id},
        paragraphs=[
            _("It does not count for confirmations any more. Do this only when its process is known to be gone."),
            _("If it still runs it may answer callers by the old rule until it reaches the database again."),
        ],
        button=_("Dismiss worker"),
        url=request.path,
        tone="danger",
    )
    try:
        actor.require(roles.DISMISS_WORKER)
        if request.method != "POST":
            return ask(request, model, window)
        services.dismiss_worker(worker_id, actor=actor)
    except Refused as error:
        return refused(request, model, error, replace(window, callout=str(error), is_available=False))
    return done(request, model, Notice(_("The worker does not count any more.")))
