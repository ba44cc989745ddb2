"""Rows for tests, made straight in the tables; what a test is about it does through services."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from django.contrib.auth.models import Group, User
from django.utils import timezone

from apimgmt.access.keys import fresh_key
from apimgmt.actors import Actor, role_of
from apimgmt.models import (
    ApiType,
    Edition,
    GatewayWorker,
    Installation,
    Model,
    ModelLoad,
    ModelVersion,
    PredictionAPI,
    Status,
    Target,
    TrialQuota,
    Workspace,
)
from contract.meaning import meaning_to_json
from contract.model_spec import Column, ModelSpec, spec_to_json

_numbers = itertools.count(1)

SPEC = ModelSpec(
    task="binary",
    target="outcome",
    classes=("no", "yes"),
    columns=(Column(name="age", type="float", baseline=40.0), Column(name="city", type="string", baseline="Oslo")),
    input="columns",
    sample={"age": 41.5, "city": "Oslo"},
)


def make_workspace(
    *, edition: str = Edition.STANDARD, api_options: int = 3, members: list[User] | None = None
) -> Workspace:
    workspace = Workspace.objects.create(name=f"Workspace {next(_numbers)}", edition=edition, api_options=api_options)
    workspace.members.set(members or [])
    return workspace


def make_user(role: str, *workspaces: Workspace, **fields: Any) -> User:
    user = User.objects.create_user(f"{role}-{next(_numbers)}", password="pass-word-1", **fields)
    user.groups.set([Group.objects.get(name=role)])
    user.workspaces.set(workspaces)
    return user


def actor_for(user: User, address: str = "127.0.0.1") -> Actor:
    return Actor(name=user.username, role=role_of(user), address=address, user=user)


def make_model(workspace: Workspace | None = None, *, versions: int = 1) -> Model:
    model = Model.objects.create(
        workspace=workspace or make_workspace(), name=f"Model {next(_numbers)}", created_by="tests"
    )
    for _ in range(versions):
        make_version(model)
    return model


def make_version(model: Model, spec: ModelSpec = SPEC, *, sha256: str | None = None) -> ModelVersion:
    return ModelVersion.objects.create(
        model=model,
        number=model.versions.count() + 1,
        sha256=sha256 or f"{next(_numbers):064x}",
        size_bytes=1000,
        task=spec.task,
        spec=spec_to_json(spec),
        meaning=meaning_to_json(spec.meaning) if spec.meaning is not None else None,
        created_by="tests",
    )


_TARGETS = {
    Status.BUILDING: Target.BUILDING,
    Status.UPDATING: Target.OPERATING,
    Status.OPERATING: Target.OPERATING,
    Status.STOPPED: Target.STOPPED,
    Status.DELETING: Target.DELETING,
    Status.FAILED: Target.FAILED,
    Status.DELETED: Target.DELETED,
}


def make_api(
    model: Model | None = None, *, status: Status = Status.OPERATING, type: str = ApiType.OFFICIAL, **fields: Any
) -> PredictionAPI:
    """An API as it stands once its last change was confirmed."""
    model = model or make_model()
    if status == Status.DELETED:
        fields.setdefault("deleted_at", timezone.now())
    else:
        fields = {**fresh_key()[1], **fields}
    defaults = {
        "target": _TARGETS[status],
        "version": model.versions.order_by("-number").first(),
        "created_by": "tests",
    }
    api = PredictionAPI.objects.create(model=model, type=type, status=status, **(defaults | fields))
    if type == ApiType.TRIAL:
        TrialQuota.objects.create(api_id=api.pk, request_limit=100)
    api.refresh_from_db()
    return api


def make_worker(*, applied_revision: int | None = None, **fields: Any) -> GatewayWorker:
    """A live gateway worker's row; without a revision it has applied everything asked so far."""
    installation = Installation.objects.get()
    now = timezone.now()
    defaults = {
        "id": uuid.uuid4().hex,
        "host": "test",
        "pid": 1,
        "slot": next(_numbers),
        "port": 8080,
        "state": GatewayWorker.State.SERVING,
        "epoch": installation.epoch,
        "applied_revision": installation.revision if applied_revision is None else applied_revision,
        "started_at": now,
        "heartbeat_at": now,
    }
    return GatewayWorker.objects.create(**(defaults | fields))


def catch_up(worker: GatewayWorker) -> None:
    """The worker applies everything asked so far."""
    revision = Installation.objects.get().revision
    GatewayWorker.objects.filter(pk=worker.pk).update(applied_revision=revision, heartbeat_at=timezone.now())


def load(worker: GatewayWorker, api: PredictionAPI, version: ModelVersion, *, error: str = "") -> None:
    """The worker acknowledges that it loaded a version, or why it could not."""
    ModelLoad.objects.update_or_create(
        worker=worker,
        api_id=api.pk,
        version_id=version.pk,
        defaults={"is_loaded": not error, "error": error, "loaded_at": timezone.now()},
    )
