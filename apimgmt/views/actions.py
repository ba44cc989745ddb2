"""The actions on one API: for each its dialog, the one call of a service, and the notice."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from apimgmt import roles
from apimgmt.actors import actor_of
from apimgmt.errors import Refused
from apimgmt.lifecycle import selectors, services
from apimgmt.meaning_changes import version_changes
from apimgmt.models import ApiType, PredictionAPI
from apimgmt.stats import counts
from apimgmt.views.action_view import Action, Subject, action_view
from apimgmt.views.dialogs import Dialog, ask
from apimgmt.views.forms import DeleteForm, DescriptionForm, OtherMeaningForm
from apimgmt.views.key_grants import grant_key, withdraw_key
from apimgmt.views.layout import found_model, get_or_post, signed_in
from apimgmt.views.replies import Notice, confirmed_notice, confirmed_or_pending_notice, done, refused


@action_view
def stop(subject: Subject) -> Action:
    api = subject.api
    return Action(
        "stop",
        Dialog(
            title=_("Stop %(name)s?") % {"name": subject.model.name},
            paragraphs=[
                _sentences(_("Callers will get 503 api_stopped at once."), _today_sentence(api)),
                _("URL, key, whitelist and counts stay; you can start it again."),
            ],
            button=pgettext("action", "Stop"),
            tone="danger",
        ),
        perform=partial(services.stop_api, api.pk, actor=subject.actor),
        notice=partial(confirmed_notice, api.pk, _("Stopped")),
    )


@action_view
def start(subject: Subject) -> Action:
    return Action(
        "start",
        Dialog(
            title=_("Start %(name)s?") % {"name": subject.model.name},
            paragraphs=[_("It is built again and then serves at the same URL, with the same key and whitelist.")],
            button=pgettext("action", "Start"),
        ),
        perform=partial(services.start_api, subject.api.pk, actor=subject.actor),
    )


@action_view
def cancel(subject: Subject) -> Action:
    api = subject.api
    return Action(
        "cancel",
        Dialog(
            title=_("Cancel building %(name)s?") % {"name": subject.model.name},
            paragraphs=[
                _("Nothing is being served yet. The API becomes Stopped and keeps its URL, its key and its option.")
            ],
            button=_("Cancel the build"),
        ),
        perform=partial(services.cancel_api, api.pk, actor=subject.actor),
        notice=partial(confirmed_notice, api.pk, _("Build cancelled")),
    )


@action_view
def delete(subject: Subject) -> Action:
    api, name = subject.api, subject.model.name
    is_official = api.type == ApiType.OFFICIAL
    return Action(
        "delete",
        Dialog(
            title=_("Delete the API of %(name)s?") % {"name": name},
            paragraphs=[
                _sentences(_("Its URL answers 404 from then on, and its key is erased."), _today_sentence(api)),
                _("The option becomes free for another model.") if is_official else _("A trial takes no API option."),
                _("The model, the counts and the history stay."),
            ],
            button=pgettext("action on an API", "Delete"),
            tone="danger",
            form=DeleteForm(subject.request.POST if subject.is_post else None, model_name=name),
        ),
        perform=partial(services.delete_api, api.pk, actor=subject.actor),
        notice=partial(confirmed_notice, api.pk, _("API deleted")),
    )


@action_view
def lock(subject: Subject) -> Action:
    """One toggle: `locked` says what is wanted; without it the opposite of what is."""
    is_locked = subject.api.is_locked
    wants_lock = {"true": True, "false": False}.get(subject.request.POST.get("locked", ""), not is_locked)
    change = services.lock_api if wants_lock else services.unlock_api
    return Action(
        "lock" if wants_lock else "unlock",
        _unlock_dialog(subject.model.name) if is_locked else _lock_dialog(subject.model.name),
        perform=partial(change, subject.api.pk, actor=subject.actor),
        notice=partial(
            Notice,
            _("Locked: it can't be stopped or deleted until an administrator unlocks it.")
            if wants_lock
            else _("Unlocked."),
        ),
    )


def _lock_dialog(name: str) -> Dialog:
    return Dialog(
        title=_("Lock %(name)s?") % {"name": name},
        paragraphs=[_("Nobody can stop or delete it until an administrator unlocks it.")],
        button=_("Lock API"),
        fields={"locked": "true"},
    )


def _unlock_dialog(name: str) -> Dialog:
    return Dialog(
        title=_("Unlock %(name)s?") % {"name": name},
        paragraphs=[_("It can then be stopped and deleted again.")],
        button=_("Unlock API"),
        fields={"locked": "false"},
    )


@action_view
def update(subject: Subject) -> Action:
    """Serve another version: `version` names it, the newest without."""
    number = _wanted_version(subject)
    words = {"name": subject.model.name, "old": subject.api.version.number, "new": number}
    changes = _changes_of(subject, number)
    return Action(
        "update",
        Dialog(
            title=_("Serve version %(new)d of %(name)s?") % words,
            paragraphs=[
                _("Version %(old)d serves until every gateway worker has loaded version %(new)d; no request fails.")
                % words,
                _("If version %(new)d can't be served, version %(old)d stays.") % words,
                *changes,
            ],
            button=_("Serve version %(new)d") % words,
            fields={"version": str(number)},
            form=OtherMeaningForm(subject.request.POST if subject.is_post else None) if changes else None,
        ),
        perform=partial(
            services.update_api, subject.api.pk, number, actor=subject.actor, confirmed=subject.is_confirmed
        ),
    )


def _changes_of(subject: Subject, number: int) -> list[str]:
    """What callers would notice of this version, and what one confirms of a locked API by the same tick."""
    version = subject.model.versions.filter(number=number).first()
    changes = version_changes(subject.api.version, version) if version is not None else []
    if changes and subject.api.is_locked:
        changes.append(_("The API is locked, because others rely on it."))
    return changes


def _wanted_version(subject: Subject) -> int:
    asked = subject.request.POST if subject.is_post else subject.request.GET
    text = asked.get("version", "")
    if text.isascii() and text.isdigit() and len(text) < 9:
        return int(text)
    return selectors.newest_version_number(subject.model)


@action_view
def upgrade(subject: Subject) -> Action:
    api = subject.api
    return Action(
        "upgrade",
        Dialog(
            title=_("Upgrade %(name)s to an official API?") % {"name": subject.model.name},
            paragraphs=[
                _("It takes one API option and then has no limit of requests. URL, key, whitelist and counts stay.")
            ],
            button=_("Upgrade to official"),
        ),
        perform=partial(services.upgrade_api, api.pk, actor=subject.actor),
        notice=partial(confirmed_notice, api.pk, _("Upgraded to an official API")),
    )


@action_view
def description(subject: Subject) -> Action:
    """Columns in refusals, who may read the description, and the charset of CSVs.

    The form sends all of them, so the settings it was opened with come along: one that is out of date changes nothing.
    """
    api, post = subject.api, subject.request.POST
    switches = {"hides_schema": api.hides_schema, "has_public_description": api.has_public_description}
    present: dict[str, bool | str] = {**switches, "csv_charset": api.csv_charset}
    seen: dict[str, bool | str] = {
        **{name: name in post.get("seen_on", "").split() for name in switches},
        "csv_charset": post.get("seen_charset", ""),
    }
    wanted = _chosen(post, present)
    return Action(
        "describe",
        Dialog(
            title=_("Description and CSVs of %(name)s") % {"name": subject.model.name},
            paragraphs=[],
            button=_("Save"),
            fields={
                "seen_on": " ".join(name for name, is_on in switches.items() if is_on),
                "seen_charset": api.csv_charset,
            },
            form=DescriptionForm(post if subject.is_post and seen == present else None, initial=present),
        ),
        perform=partial(services.describe_api, api.pk, actor=subject.actor, seen=seen, **wanted),
        notice=partial(Notice, _("The description settings are as they were."), "info")
        if wanted == present
        else partial(confirmed_or_pending_notice, api.pk, _("Description settings saved")),
    )


def _chosen(post: QueryDict, present: Mapping[str, bool | str]) -> dict[str, Any]:
    """What the form says; as it is where that is no answer, which the dialog then tells."""
    form = DescriptionForm(post)
    form.is_valid()
    return {name: form.cleaned_data.get(name, value) for name, value in present.items()}


@action_view
def key(subject: Subject) -> Action:
    """Show the key (an event), or hide it again with `action=hide`."""
    hides = subject.request.POST.get("action") == "hide"
    return Action(
        "key",
        Dialog(
            title=_("Show the key of %(name)s?") % {"name": subject.model.name},
            paragraphs=[_("The history records who looked, when and from what address.")],
            button=_("Show key"),
            fields={"action": "show"},
        ),
        perform=partial(withdraw_key, subject.request, subject.api) if hides else partial(_show_key, subject),
    )


def _show_key(subject: Subject) -> None:
    services.reveal_key(subject.api.pk, actor=subject.actor)
    grant_key(subject.request, subject.api)


@action_view
def roll(subject: Subject) -> Action:
    """Replace the key; the page shows the new one."""
    api = subject.api
    return Action(
        "roll-key",
        Dialog(
            title=_("Roll the key of %(name)s?") % {"name": subject.model.name},
            paragraphs=[
                _sentences(_("The API gets a new key. Callers with the old one get 401 at once."), _today_sentence(api))
            ],
            button=_("Roll key"),
            tone="danger",
        ),
        perform=partial(_roll_key, subject),
        notice=partial(confirmed_notice, api.pk, _("The old key is refused")),
    )


def _roll_key(subject: Subject) -> None:
    services.roll_key(subject.api.pk, actor=subject.actor, confirmed=subject.is_confirmed)
    subject.api.refresh_from_db()
    grant_key(subject.request, subject.api)


@signed_in
@get_or_post
def dismiss(request: HttpRequest, model_id: int, worker_id: str) -> HttpResponse:
    """Stop counting a worker that is out of reach. It is about no API, and for administrators only."""
    model, actor = found_model(request, model_id), actor_of(request)
    dialog = Dialog(
        title=_("Dismiss gateway worker %(worker)s?") % {"worker": worker_id},
        paragraphs=[
            _("It no longer counts for confirmations. Do this only when you know that its process is gone."),
            _("If it still runs, it may answer callers by the old rule until it reaches the database again."),
        ],
        button=_("Dismiss worker"),
        tone="danger",
    )
    try:
        actor.require(roles.DISMISS_WORKER)
        if request.method != "POST":
            return ask(request, model, dialog)
        services.dismiss_worker(worker_id, actor=actor)
    except Refused as error:
        return refused(request, model, error, dialog.refusing(str(error)))
    return done(request, model, Notice(_("The worker no longer counts.")))


def _today_sentence(api: PredictionAPI) -> str:
    today = counts.daily_counts(api, days=1)[0]
    count = today.count_200 + today.count_errors
    if not count:
        return _("No request came today.")
    return ngettext("%(count)s request came today.", "%(count)s requests came today.", count) % {"count": f"{count:,}"}


def _sentences(*sentences: str) -> str:
    """Whole sentences, one after the other."""
    return " ".join(sentences)
