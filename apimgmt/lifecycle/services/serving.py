"""Starting, stopping, updating, locking and deleting a launched API."""

from __future__ import annotations

from django.db import transaction

from apimgmt.actors import Actor
from apimgmt.errors import NeedsConfirmation
from apimgmt.lifecycle.checks import Arguments
from apimgmt.lifecycle.enqueue import RECONCILE, enqueue_on_commit
from apimgmt.lifecycle.services.building import end_build, queue_build
from apimgmt.lifecycle.transitions import locked_api, transition
from apimgmt.meaning_changes import version_changes
from apimgmt.models import ApiType, BuildKind, PredictionAPI, Workspace
from apimgmt.roles import OPERATE


@transaction.atomic
def start_api(api_id: str, version_number: int | None = None, *, actor: Actor) -> PredictionAPI:
    """Build a stopped or failed API again: same ID, URL, key, whitelist and counts. No version: the same."""
    api = transition(api_id, "start", actor=actor, arguments=Arguments(version_number))
    number = version_number or api.version.number
    queue_build(api, BuildKind.START, api.model.versions.get(number=number))
    return api


@transaction.atomic
def cancel_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """End a build that runs; the API is Stopped once no gateway serves it."""
    api = transition(api_id, "cancel", actor=actor)
    end_build(api)
    enqueue_on_commit(RECONCILE, api_id)
    return api


@transaction.atomic
def stop_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Gateways refuse from the commit on; Stopped is told once all have confirmed. An update under way ends."""
    api = transition(api_id, "stop", actor=actor, candidate=None)
    end_build(api)
    enqueue_on_commit(RECONCILE, api_id)
    return api


@transaction.atomic
def delete_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Delete a stopped or failed API: its key is erased and its option freed once gateways have confirmed."""
    api = transition(api_id, "delete", actor=actor)
    enqueue_on_commit(RECONCILE, api_id)
    return api


def lock_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Forbid stopping and deleting until an administrator unlocks."""
    return transition(api_id, "lock", actor=actor, is_locked=True)


def unlock_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Allow stopping and deleting again; administrators only."""
    return transition(api_id, "unlock", actor=actor, is_locked=False)


@transaction.atomic
def update_api(api_id: str, version_number: int, *, actor: Actor, confirmed: bool = False) -> PredictionAPI:
    """Serve another version of the same model; the present one serves until the new one is confirmed.

    Raises NeedsConfirmation if callers would get other classes, targets or kinds of answer.
    """
    previous = locked_api(api_id).version
    api = transition(
        api_id,
        "update",
        actor=actor,
        arguments=Arguments(version_number),
        confirmed=confirmed,
        detail={"from": previous.number, "to": version_number},
    )
    version = api.model.versions.get(number=version_number)
    if not confirmed and (changes := version_changes(previous, version)):
        raise NeedsConfirmation(" ".join(changes))
    queue_build(api, BuildKind.UPDATE, version, previous)
    return api


@transaction.atomic
def upgrade_api(api_id: str, *, actor: Actor) -> PredictionAPI:
    """Make a trial official: it takes an option; URL, key, whitelist and counts stay."""
    actor.require(OPERATE)
    # The workspace's row is locked, so that two people can't both take the last option.
    workspace_id = PredictionAPI.objects.values_list("model__workspace_id", flat=True).get(pk=api_id)
    Workspace.objects.select_for_update(no_key=True).get(pk=workspace_id)
    api = transition(api_id, "upgrade", actor=actor, type=ApiType.OFFICIAL)
    enqueue_on_commit(RECONCILE, api_id)
    return api
