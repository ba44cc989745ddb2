"""Every write that a person can ask for. Page, command line and admin site call these; the rules stand behind them.

Each takes the actor last, checks his right and the transition table, and raises the errors of `apimgmt.errors`.
Work that takes time (building, waiting for gateways) is queued on commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from apimgmt import tasks
from apimgmt.access.keys import decrypted_key, fresh_key
from apimgmt.access.whitelist import MAX_ENTRIES, networks_in
from apimgmt.actors import Actor
from apimgmt.errors import NeedsConfirmation, Refused, TransitionRefused, WhitelistRefused
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.confirmation import OUT_OF_REACH_S
from apimgmt.lifecycle.enqueue import enqueue_on_commit
from apimgmt.lifecycle.options import launch_refusal
from apimgmt.lifecycle.stages import waiting_stages
from apimgmt.models import (
    ApiType,
    Build,
    BuildKind,
    GatewayWorker,
    Model,
    ModelVersion,
    Outcome,
    PredictionAPI,
    Status,
    Target,
    TrialQuota,
    WhitelistEntry,
    Workspace,
)
from apimgmt.roles import DISMISS_WORKER, OPERATE


@dataclass(frozen=True)
class Launched:
    """A new API and its key in full: it is shown once without asking."""

    api: PredictionAPI
    key: str


@dataclass(frozen=True)
class Added:
    """What became of the networks of one text: `added` are new, `known` were on the list already."""

    added: list[str]
    known: list[str]


def launch_api(model: Model, api_type: str, *, networks: list[str], actor: Actor) -> Launched:
    """Create the model's API and queue its build. The latest version is served."""
    actor.require(OPERATE)
    allowed = networks_in("\n".join(networks)) if networks else []
    key, key_fields = fresh_key()
    try:
        with transaction.atomic():
            # The workspace's row is locked, so that two people can't both take the last option.
            workspace = Workspace.objects.select_for_update(no_key=True).get(pk=model.workspace_id)
            reason = launch_refusal(model, workspace, api_type)
            if reason is not None:
                raise TransitionRefused(reason)
            version = model.versions.order_by("-number").first()
            if version is None:
                raise TransitionRefused(_("The model has no version to serve."))
            api = _create_api(model, api_type, version, key_fields, actor)
            _add_entries(api, allowed, note="", actor=actor)
            transitions.record_change(
                api, "launch", actor, before_revision=0, before="", detail={"type": api_type, "networks": allowed[:20]}
            )
            _queue_build(api, BuildKind.LAUNCH, version)
    except IntegrityError as error:
        if "one_api_not_deleted_per_model" not in str(error):
            raise
        raise TransitionRefused(str(transitions.TRANSITIONS["launch"].elsewhere)) from None
    return Launched(api, key)


def _create_api(
    model: Model, api_type: str, version: ModelVersion, key_fields: dict[str, bytes], actor: Actor
) -> PredictionAPI:
    api = PredictionAPI.objects.create(
        model=model,
        type=api_type,
        status=Status.BUILDING,
        target=Target.BUILDING,
        version=version,
        created_by=actor.name,
        **key_fields,
    )
    if api_type == ApiType.TRIAL:
        TrialQuota.objects.create(api_id=api.pk, request_limit=settings.ENVIRONMENT.trial_request_limit)
    return api


def _queue_build(
    api: PredictionAPI, kind: BuildKind, version: ModelVersion, previous: ModelVersion | None = None
) -> None:
    build = Build.objects.create(api=api, kind=kind, version=version, previous=previous, stages=waiting_stages())
    enqueue_on_commit(tasks.run_build, build.pk)


def _end_build(api: PredictionAPI) -> None:
    Build.objects.filter(api=api, finished_at=None).update(finished_at=timezone.now(), outcome=Outcome.CANCELLED)


@transaction.atomic
def start_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Build a stopped or failed API again: same ID, URL, key, whitelist and counts, and the version it had."""
    api = transitions.move(api_id, "start", actor=actor)
    _queue_build(api, BuildKind.START, api.version)
    return api


@transaction.atomic
def cancel_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """End a build that runs; the API is Stopped once no gateway serves it."""
    api = transitions.move(api_id, "cancel", actor=actor)
    _end_build(api)
    enqueue_on_commit(tasks.settle, api_id)
    return api


@transaction.atomic
def stop_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Gateways refuse from the commit on; Stopped is told once all have confirmed. An update under way ends."""
    api = transitions.move(api_id, "stop", actor=actor, candidate=None)
    _end_build(api)
    enqueue_on_commit(tasks.settle, api_id)
    return api


@transaction.atomic
def delete_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Delete a stopped or failed API: its key is erased and its option freed once gateways have confirmed."""
    api = transitions.move(api_id, "delete", actor=actor)
    enqueue_on_commit(tasks.settle, api_id)
    return api


def lock_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Forbid stopping and deleting until an administrator unlocks."""
    return transitions.move(api_id, "lock", actor=actor, is_locked=True)


def unlock_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Allow stopping and deleting again; administrators only."""
    return transitions.move(api_id, "unlock", actor=actor, is_locked=False)


@transaction.atomic
def update_api(api_id: str, version_number: int, *, actor: Actor, confirmed: bool = False) -> PredictionAPI:
    """Serve another version of the same model; the present one serves until the new one is confirmed."""
    api = _changeable(api_id, "update", actor)
    version = ModelVersion.objects.filter(model_id=api.model_id, number=version_number).first()
    if version is None:
        raise TransitionRefused(_("The model has no version %d.") % version_number)
    if version.pk == api.version_id:
        raise TransitionRefused(_("Version %d is served already.") % version_number)
    _ask_if_locked(
        api, confirmed, _("The API is locked. Serve version %d to its callers all the same?") % version_number
    )
    previous = api.version
    detail = {"from": previous.number, "to": version.number}
    api = transitions.move(api_id, "update", actor=actor, detail=detail)
    _queue_build(api, BuildKind.UPDATE, version, previous)
    return api


@transaction.atomic
def upgrade_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Make a trial official: it takes an option; URL, key, whitelist and counts stay."""
    actor.require(OPERATE)
    workspace_id = PredictionAPI.objects.values_list("model__workspace_id", flat=True).get(pk=api_id)
    workspace = Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
    api = transitions.locked_api(api_id)
    if transitions.refusal(api, "upgrade") is None:
        reason = launch_refusal(api.model, workspace, ApiType.OFFICIAL, is_upgrade=True)
        if reason is not None:
            raise TransitionRefused(reason)
    api = transitions.move(api_id, "upgrade", actor=actor, type=ApiType.OFFICIAL)
    enqueue_on_commit(tasks.settle, api_id)
    return api


@transaction.atomic
def add_networks(api_id: str, text: str, *, note: str = "", actor: Actor) -> Added:
    """Add every network of a text to the whitelist, or none. Raises WhitelistRefused with each bad line."""
    actor.require(OPERATE)
    networks = networks_in(text)
    api = _changeable(api_id, "whitelist", actor)
    before = api.revision
    added = _add_entries(api, networks, note=note.strip()[:200], actor=actor)
    if api.whitelist.count() > MAX_ENTRIES:
        raise WhitelistRefused(_("Nothing was added: a whitelist holds up to %d networks.") % MAX_ENTRIES, text)
    if added:
        detail = {"added": added[:20], "count": len(added)}
        transitions.record_change(api, "allow", actor, before_revision=before, before=api.status, detail=detail)
        enqueue_on_commit(tasks.settle, api_id)
    return Added(added, [network for network in networks if network not in set(added)])


def _add_entries(api: PredictionAPI, networks: list[str], *, note: str, actor: Actor) -> list[str]:
    known = set(api.whitelist.values_list("network", flat=True))
    fresh = [network for network in networks if network not in known]
    WhitelistEntry.objects.bulk_create(
        [WhitelistEntry(api=api, network=network, note=note, created_by=actor.name) for network in fresh]
    )
    return fresh


@transaction.atomic
def remove_network(api_id: str, entry_id: int, *, actor: Actor, confirmed: bool = False) -> str:
    """Take one entry off the whitelist; its callers are refused from the commit on. Returns the network."""
    api = _changeable(api_id, "whitelist", actor)
    before = api.revision
    entry = api.whitelist.filter(pk=entry_id).first()
    if entry is None:
        raise Refused(_("That entry is not on the whitelist any more."))
    if api.whitelist.count() == 1:
        _ask_if_locked(
            api, confirmed, _("The API is locked, and this is its last network: nobody could call it any more.")
        )
    entry.delete()
    detail = {"removed": entry.network}
    transitions.record_change(api, "disallow", actor, before_revision=before, before=api.status, detail=detail)
    enqueue_on_commit(tasks.settle, api_id)
    return entry.network


@transaction.atomic
def describe_api(
    api_id: str,
    *,
    hides_schema: bool | None = None,
    has_public_description: bool | None = None,
    seen: Mapping[str, bool] | None = None,
    actor: Actor,
) -> PredictionAPI:
    """Change who learns of the columns: callers from refusals, everybody from the description. None: as it is.

    `seen`: the settings that somebody saw who decided so. Raises `Refused` where they are others by now.
    """
    api = _changeable(api_id, "describe", actor)
    if any(value != getattr(api, name) for name, value in (seen or {}).items()):
        raise Refused(_("These settings were changed after this window was opened. Nothing was saved."))
    wanted = {"hides_schema": hides_schema, "has_public_description": has_public_description}
    changes = {name: value for name, value in wanted.items() if value is not None and value != getattr(api, name)}
    if changes:
        transitions.write(api, "describe", actor, detail=dict(changes), **changes)
        enqueue_on_commit(tasks.settle, api_id)
    return api


@transaction.atomic
def reveal_key(api_id: str, *, actor: Actor) -> str:
    """The key in full. Who looked is an event."""
    api = _changeable(api_id, "key", actor)
    key = decrypted_key(api)
    transitions.record(api, "show key", actor)
    return key


@transaction.atomic
def roll_key(api_id: str, *, actor: Actor, confirmed: bool = False) -> str:
    """Replace the key; the old one is refused from the commit on. Returns the new one in full."""
    api = _changeable(api_id, "roll-key", actor)
    _ask_if_locked(
        api, confirmed, _("The API is locked. Callers with the old key would be refused at once. Roll the key?")
    )
    key, key_fields = fresh_key()
    transitions.write(
        api,
        "roll key",
        actor,
        key_digest=key_fields["key_digest"],
        key_encrypted=key_fields["key_encrypted"],
    )
    enqueue_on_commit(tasks.settle, api_id)
    return key


@transaction.atomic
def dismiss_worker(worker_id: str, *, actor: Actor) -> None:
    """Stop counting a worker that is out of reach. It may still answer by old rules until it reads the database."""
    actor.require(DISMISS_WORKER)
    silent_since = transitions.ClockTimestamp() - timedelta(seconds=OUT_OF_REACH_S)
    dismissed = GatewayWorker.objects.filter(pk=worker_id, gone_at=None, heartbeat_at__lt=silent_since).update(
        gone_at=transitions.ClockTimestamp(),
        gone_reason=GatewayWorker.GoneReason.DISMISSED,
        dismissed_by=actor.name,
    )
    if not dismissed:
        raise Refused(_("That worker is in reach, or does not count any more. Only one out of reach can be dismissed."))
    enqueue_on_commit(tasks.sweep)


def _changeable(api_id: str, verb: str, actor: Actor) -> PredictionAPI:
    """The locked row, if the actor may and the state allows the verb."""
    actor.require(transitions.TRANSITIONS[verb].permission)
    api = transitions.locked_api(api_id)
    reason = transitions.refusal(api, verb)
    if reason is not None:
        raise TransitionRefused(reason)
    return api


def _ask_if_locked(api: PredictionAPI, confirmed: bool, question: str) -> None:
    if api.is_locked and not confirmed:
        raise NeedsConfirmation(question)
