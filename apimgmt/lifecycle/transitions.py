"""The transition table, and the only writer of an API's status, target, lock and served version.

What people are told (`status`) runs behind what gateways obey (`target`), never ahead of it: an opening move
(launch, start, update) is told once it is confirmed, a closing one (stop, delete) is obeyed from its commit on and
told once it is confirmed. `reconciling` and `building` call the second half of each move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, Func
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from apimgmt.actors import Actor
from apimgmt.errors import TransitionRefused
from apimgmt.models import ApiEvent, ApiType, Build, BuildKind, Outcome, PredictionAPI, Receipt, Status, Target
from apimgmt.roles import OPERATE, UNLOCK, VIEW_KEY

Sentence = str | Promise

NOT_DELETED = frozenset(Status) - {Status.DELETED}
NOT_ENDING = NOT_DELETED - {Status.DELETING}


@dataclass(frozen=True, kw_only=True)
class Move:
    """One row of the table.

    `status` is what people are told at once, `settled` what they are told when gateways have confirmed it; both
    None: the status stays. `target` is what gateways obey from the commit on.
    """

    label: Sentence
    permission: str
    sources: frozenset[Status]
    status: Status | None = None
    target: Target | None = None
    settled: Status | None = None
    is_refused_when_locked: bool = False
    elsewhere: Sentence = ""


TRANSITIONS: dict[str, Move] = {
    "launch": Move(
        label=pgettext_lazy("action", "Launch"),
        permission=OPERATE,
        sources=frozenset(),
        status=Status.BUILDING,
        target=Target.BUILDING,
        elsewhere=gettext_lazy("This model already has an API."),
    ),
    "start": Move(
        label=pgettext_lazy("action", "Start"),
        permission=OPERATE,
        sources=frozenset({Status.STOPPED, Status.FAILED}),
        status=Status.BUILDING,
        target=Target.BUILDING,
        elsewhere=gettext_lazy("Only a stopped or failed API can be started."),
    ),
    "update": Move(
        label=pgettext_lazy("action", "Update"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING}),
        status=Status.UPDATING,
        elsewhere=gettext_lazy("Only an operating API can be updated."),
    ),
    "cancel": Move(
        label=pgettext_lazy("action", "Cancel"),
        permission=OPERATE,
        sources=frozenset({Status.BUILDING}),
        target=Target.STOPPED,
        settled=Status.STOPPED,
        elsewhere=gettext_lazy("Nothing is being built."),
    ),
    "stop": Move(
        label=pgettext_lazy("action", "Stop"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING, Status.UPDATING}),
        target=Target.STOPPED,
        settled=Status.STOPPED,
        is_refused_when_locked=True,
        elsewhere=gettext_lazy("Only an operating API can be stopped."),
    ),
    "delete": Move(
        label=pgettext_lazy("action on an API", "Delete"),
        permission=OPERATE,
        sources=frozenset({Status.STOPPED, Status.FAILED}),
        status=Status.DELETING,
        target=Target.DELETING,
        settled=Status.DELETED,
        is_refused_when_locked=True,
        elsewhere=gettext_lazy("Stop the API first."),
    ),
    "lock": Move(
        label=gettext_lazy("Lock API"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING, Status.STOPPED}),
        elsewhere=gettext_lazy("Only an operating or stopped API can be locked."),
    ),
    "unlock": Move(label=gettext_lazy("Unlock API"), permission=UNLOCK, sources=NOT_ENDING),
    "upgrade": Move(
        label=gettext_lazy("Upgrade to official"),
        permission=OPERATE,
        sources=NOT_ENDING,
        elsewhere=gettext_lazy("The API is being deleted."),
    ),
    "whitelist": Move(
        label=gettext_lazy("Configure IP whitelist"),
        permission=OPERATE,
        sources=NOT_ENDING,
        elsewhere=gettext_lazy("The API is being deleted."),
    ),
    "describe": Move(
        label=gettext_lazy("Description settings"),
        permission=OPERATE,
        sources=NOT_ENDING,
        elsewhere=gettext_lazy("The API is being deleted."),
    ),
    "key": Move(
        label=gettext_lazy("Show key"),
        permission=VIEW_KEY,
        sources=NOT_DELETED,
        elsewhere=gettext_lazy("The API was deleted, and its key with it."),
    ),
    "roll-key": Move(
        label=gettext_lazy("Roll key"),
        permission=OPERATE,
        sources=NOT_ENDING,
        elsewhere=gettext_lazy("The API is being deleted."),
    ),
}

# The change that a move asked for and that is not confirmed yet.
PENDING_WORDS = {
    Target.STOPPED: gettext_lazy("Stopping…"),
    Target.DELETING: gettext_lazy("Deleting…"),
}


class ClockTimestamp(Func):
    """The database's clock now, not at the start of the transaction."""

    function = "clock_timestamp"
    template = "%(function)s()"
    output_field = DateTimeField()


def is_stopping(api: PredictionAPI) -> bool:
    """Whether gateways already obey a stop (or cancel) that people are not told of yet."""
    return api.target == Target.STOPPED and api.status not in {Status.STOPPED, Status.DELETED}


def refusal(api: PredictionAPI, verb: str) -> str | None:
    """Why the API's state forbids the move now, or None. Rights and options are asked elsewhere."""
    rule = TRANSITIONS[verb]
    status = Status(api.status)
    if status not in rule.sources:
        return str(rule.elsewhere)
    if (
        is_stopping(api)
        and rule.sources != NOT_DELETED
        and verb not in {"whitelist", "unlock", "upgrade", "describe", "roll-key"}
    ):
        return _("The API is being stopped; gateways have not all confirmed it yet.")
    if rule.is_refused_when_locked and api.is_locked:
        return _("The API is locked. Only an administrator can unlock it (User Portal).")
    if verb == "lock" and api.is_locked:
        return _("The API is locked already.")
    if verb == "unlock" and not api.is_locked:
        return _("The API is not locked.")
    if verb == "upgrade" and api.type == ApiType.OFFICIAL:
        return _("The API is official already.")
    return None


def locked_api(api_id: str) -> PredictionAPI:
    """The API's row, locked until the transaction ends. NO KEY: foreign-key checks of other sessions go on."""
    return PredictionAPI.objects.select_for_update(no_key=True).get(pk=api_id)


def record(
    api: PredictionAPI, verb: str, actor: Actor, *, before: str = "", after: str = "", **detail: Any
) -> ApiEvent:
    """Write the event of one deed."""
    return ApiEvent.objects.create(
        api=api,
        verb=verb,
        actor=actor.name,
        role=actor.role,
        address=actor.address,
        before=before,
        after=after,
        detail=detail,
        revision=api.revision,
    )


def write(
    api: PredictionAPI, verb: str, actor: Actor, *, detail: dict[str, Any] | None = None, **fields: Any
) -> ApiEvent:
    """Set fields of a locked row, record it, and open a receipt if gateways must obey the change."""
    before_status, before_revision = api.status, api.revision
    if "status" in fields and fields["status"] != api.status:
        fields["status_since"] = timezone.now()
    for name, value in fields.items():
        setattr(api, name, value)
    api.save(update_fields=list(fields))
    return record_change(api, verb, actor, before_revision=before_revision, before=before_status, detail=detail)


def record_change(
    api: PredictionAPI,
    verb: str,
    actor: Actor,
    *,
    before_revision: int,
    before: str,
    detail: dict[str, Any] | None = None,
) -> ApiEvent:
    """Record a change already written to the API or its whitelist; triggers have numbered it."""
    api.refresh_from_db(fields=["revision"])
    event = record(api, verb, actor, before=before, after=api.status, **(detail or {}))
    if api.revision != before_revision:
        Receipt.objects.create(api=api, event=event, verb=verb, revision=api.revision, requested_at=ClockTimestamp())
    return event


@transaction.atomic
def move(api_id: str, verb: str, *, actor: Actor, detail: dict[str, Any] | None = None, **fields: Any) -> PredictionAPI:
    """Carry out one verb of the table. Raises NotAllowed or MoveRefused; then nothing was changed."""
    rule = TRANSITIONS[verb]
    actor.require(rule.permission)
    api = locked_api(api_id)
    reason = refusal(api, verb)
    if reason is not None:
        raise TransitionRefused(reason)
    if rule.status is not None:
        fields["status"] = rule.status
    if rule.target is not None:
        fields["target"] = rule.target
    write(api, verb, actor, detail=detail, **fields)
    return api


# The second halves: what the build task and the settling task write. None of them asks for a right; the move did.


def _wanted_build(build_id: int) -> Build | None:
    """The build with its API's row locked, or None if it was cancelled or ended meanwhile."""
    api = locked_api(Build.objects.values_list("api_id", flat=True).get(pk=build_id))
    build = Build.objects.select_related("version", "previous").filter(pk=build_id, finished_at=None).first()
    if build is not None:
        build.api = api
    return build


def _finish(build: Build, outcome: Outcome, **fields: Any) -> None:
    Build.objects.filter(pk=build.pk).update(finished_at=timezone.now(), outcome=outcome, **fields)


@transaction.atomic
def publish(build_id: int, actor: Actor) -> PredictionAPI | None:
    """Let gateways see the built version: served for a launch or start, beside the served one for an update."""
    build = _wanted_build(build_id)
    if build is None:
        return None
    if build.kind == BuildKind.UPDATE:
        write(build.api, "publish", actor, candidate=build.version)
    else:
        write(build.api, "publish", actor, version=build.version, candidate=None, target=Target.OPERATING)
    return build.api


@transaction.atomic
def take_over(build_id: int, actor: Actor) -> PredictionAPI | None:
    """An update's version is loaded everywhere: from this commit on it is the one that serves."""
    build = _wanted_build(build_id)
    if build is None:
        return None
    write(
        build.api,
        "take over",
        actor,
        version=build.version,
        candidate=None,
        detail={"from": build.previous.number if build.previous else None, "to": build.version.number},
    )
    return build.api


@transaction.atomic
def complete(build_id: int, actor: Actor) -> bool:
    """Gateways have confirmed the build: tell people that the API operates. False if it is no longer wanted."""
    build = _wanted_build(build_id)
    if build is None:
        return False
    write(build.api, "operating", actor, status=Status.OPERATING)
    _finish(build, Outcome.SUCCEEDED)
    return True


@transaction.atomic
def fail(build_id: int, actor: Actor, *, stage: str, reason: str, log_tail: str = "") -> bool:
    """End a build that can't succeed. A launch or start is withdrawn; an update falls back to what was served."""
    build = _wanted_build(build_id)
    if build is None:
        return False
    detail = {"stage": stage, "reason": reason, "version": build.version.number}
    if build.kind == BuildKind.UPDATE:
        previous = build.previous or build.api.version
        write(
            build.api, "update failed", actor, detail=detail, status=Status.OPERATING, version=previous, candidate=None
        )
    else:
        write(build.api, "build failed", actor, detail=detail, status=Status.FAILED, target=Target.FAILED)
    _finish(build, Outcome.FAILED, failed_stage=stage, reason=reason, log_tail=log_tail)
    return True


@transaction.atomic
def settle(api_id: str, actor: Actor) -> PredictionAPI:
    """Tell people of a closing move that every gateway has confirmed: Stopped, or deleted with its key erased."""
    api = locked_api(api_id)
    if is_stopping(api):
        write(api, "stopped", actor, status=Status.STOPPED)
    elif api.target == Target.DELETING:
        write(
            api,
            "deleted",
            actor,
            status=Status.DELETED,
            target=Target.DELETED,
            deleted_at=timezone.now(),
            key_digest=None,
            key_encrypted=None,
            is_locked=False,
        )
    return api
