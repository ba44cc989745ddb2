"""Launching: the model's API comes into being, and its first build is queued."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from apimgmt.access.keys import fresh_key
from apimgmt.access.whitelist import add_entries, networks_in
from apimgmt.actors import Actor
from apimgmt.errors import TransitionRefused
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.events import record_change
from apimgmt.lifecycle.options import launch_refusal
from apimgmt.lifecycle.services.building import queue_build
from apimgmt.models import ApiType, BuildKind, Model, ModelVersion, PredictionAPI, TrialQuota, Workspace
from apimgmt.roles import OPERATE


@dataclass(frozen=True)
class Launched:
    """A new API and its key in full: it is shown once without asking."""

    api: PredictionAPI
    key: str


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
            add_entries(api, allowed, note="", actor=actor)
            record_change(
                api, "launch", actor, before_revision=0, before="", detail={"type": api_type, "networks": allowed[:20]}
            )
            queue_build(api, BuildKind.LAUNCH, version)
    except IntegrityError as error:
        if "one_api_not_deleted_per_model" not in str(error):
            raise
        raise TransitionRefused(str(transitions.TRANSITIONS["launch"].refusal)) from None
    return Launched(api, key)


def _create_api(
    model: Model, api_type: str, version: ModelVersion, key_fields: dict[str, bytes], actor: Actor
) -> PredictionAPI:
    api = transitions.create_api(model, api_type, version, actor=actor, **key_fields)
    if api_type == ApiType.TRIAL:
        TrialQuota.objects.create(api_id=api.pk, request_limit=settings.ENVIRONMENT.trial_request_limit)
    return api
