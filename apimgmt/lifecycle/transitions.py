"""The transition table, and the only writer of an API's status, target, lock and served version.

What people are told (`status`) runs behind what gateways obey (`target`), never ahead of it: an opening transition
(launch, start, update) is told once it is confirmed, a closing one (stop, delete) is obeyed from its commit on and
told once it is confirmed. `builds` and `reconciling` call the second half of each. docs/life-cycle.md shows the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from apimgmt.actors import Actor
from apimgmt.errors import NeedsConfirmation, TransitionRefused
from apimgmt.lifecycle import checks
from apimgmt.lifecycle.checks import Arguments, Check
from apimgmt.lifecycle.events import record_change
from apimgmt.models import ApiEvent, Build, BuildKind, Model, ModelVersion, Outcome, PredictionAPI, Status, Target
from apimgmt.roles import OPERATE, UNLOCK, VIEW_KEY
from apimgmt.sentences import Message

Sentence = str | Promise

NOT_DELETED = frozenset(Status) - {Status.DELETED}
NOT_ENDING = NOT_DELETED - {Status.DELETING}


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One row of the table: one verb.

    `status` is what people are told at once, `confirmed_status` what they are told once gateways have confirmed it,
    `failed_status` if its build fails; None: the status stays. `target` is what gateways obey from the commit on.
    `refusal` is said in any status but the `sources`; `checks` refuse for other reasons. `locked_question` is asked
    once more when the API is locked, because callers would be cut off.
    """

    label: Sentence
    permission: str
    sources: frozenset[Status]
    refusal: Sentence
    status: Status | None = None
    target: Target | None = None
    confirmed_status: Status | None = None
    failed_status: Status | None = None
    is_refused_while_stopping: bool = False
    is_refused_when_locked: bool = False
    locked_question: Sentence = ""
    checks: tuple[Check, ...] = ()


_BEING_DELETED = gettext_lazy("The API is being deleted.")

TRANSITIONS: dict[str, Transition] = {
    "launch": Transition(
        label=pgettext_lazy("action", "Launch"),
        permission=OPERATE,
        sources=frozenset(),  # it makes the API; `options.launch_refusal` asks the model and its workspace
        refusal=gettext_lazy("This model already has an API."),
        status=Status.BUILDING,
        target=Target.BUILDING,
        confirmed_status=Status.OPERATING,
        failed_status=Status.FAILED,
    ),
    "start": Transition(
        label=pgettext_lazy("action", "Start"),
        permission=OPERATE,
        sources=frozenset({Status.STOPPED, Status.FAILED}),
        refusal=gettext_lazy("Only a stopped or failed API can be started."),
        status=Status.BUILDING,
        target=Target.BUILDING,
        confirmed_status=Status.OPERATING,
        failed_status=Status.FAILED,
        is_refused_while_stopping=True,
        checks=(checks.known_version,),
    ),
    "update": Transition(
        label=pgettext_lazy("action", "Update"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING}),
        refusal=gettext_lazy("Only an operating API can be updated."),
        status=Status.UPDATING,
        confirmed_status=Status.OPERATING,
        failed_status=Status.OPERATING,  # the old version goes on serving
        is_refused_while_stopping=True,
        locked_question=gettext_lazy("The API is locked. Serve version %(version)s to its callers all the same?"),
        checks=(checks.another_version,),
    ),
    "cancel": Transition(
        label=pgettext_lazy("action", "Cancel"),
        permission=OPERATE,
        sources=frozenset({Status.BUILDING}),
        refusal=gettext_lazy("Nothing is being built."),
        target=Target.STOPPED,
        confirmed_status=Status.STOPPED,
        is_refused_while_stopping=True,
    ),
    "stop": Transition(
        label=pgettext_lazy("action", "Stop"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING, Status.UPDATING}),
        refusal=gettext_lazy("Only an operating API can be stopped."),
        target=Target.STOPPED,
        confirmed_status=Status.STOPPED,
        is_refused_while_stopping=True,
        is_refused_when_locked=True,
    ),
    "delete": Transition(
        label=pgettext_lazy("action on an API", "Delete"),
        permission=OPERATE,
        sources=frozenset({Status.STOPPED, Status.FAILED}),
        refusal=gettext_lazy("Stop the API first."),
        status=Status.DELETING,
        target=Target.DELETING,
        confirmed_status=Status.DELETED,
        is_refused_while_stopping=True,
        is_refused_when_locked=True,
    ),
    "lock": Transition(
        label=gettext_lazy("Lock API"),
        permission=OPERATE,
        sources=frozenset({Status.OPERATING, Status.STOPPED}),
        refusal=gettext_lazy("Only an operating or stopped API can be locked."),
        is_refused_while_stopping=True,
        checks=(checks.not_locked_yet,),
    ),
    "unlock": Transition(
        label=gettext_lazy("Unlock API"),
        permission=UNLOCK,
        sources=NOT_ENDING,
        refusal=_BEING_DELETED,
        checks=(checks.locked,),
    ),
    "upgrade": Transition(
        label=gettext_lazy("Upgrade to official"),
        permission=OPERATE,
        sources=NOT_ENDING,
        refusal=_BEING_DELETED,
        checks=(checks.still_a_trial, checks.free_option),
    ),
    "whitelist": Transition(
        label=gettext_lazy("Configure IP whitelist"),
        permission=OPERATE,
        sources=NOT_ENDING,
        refusal=_BEING_DELETED,
        # Asked only when the last network is removed.
        locked_question=gettext_lazy("The API is locked, and this is its last network: nobody could call it any more."),
    ),
    "describe": Transition(
        label=gettext_lazy("Description settings"),
        permission=OPERATE,
        sources=NOT_ENDING,
        refusal=_BEING_DELETED,
    ),
    "key": Transition(
        label=gettext_lazy("Show key"),
        permission=VIEW_KEY,
        sources=NOT_DELETED,
        refusal=gettext_lazy("The API was deleted, and its key with it."),
    ),
    "roll-key": Transition(
        label=gettext_lazy("Roll key"),
        permission=OPERATE,
        sources=NOT_ENDING,
        refusal=_BEING_DELETED,
        locked_question=gettext_lazy(
            "The API is locked. Callers with the old key would be refused at once. Roll the key?"
        ),
    ),
}


def is_stopping(api: PredictionAPI) -> bool:
    """Whether gateways already obey a stop (or cancel) that people are not told of yet."""
    return api.target == Target.STOPPED and api.status not in {Status.STOPPED, Status.DELETED}


def refusal(api: PredictionAPI, verb: str, arguments: Arguments | None = None) -> str | None:
    """Why the verb is refused now, or None. Rights are asked elsewhere."""
    rule = TRANSITIONS[verb]
    if Status(api.status) not in rule.sources:
        return str(rule.refusal)
    if rule.is_refused_while_stopping and is_stopping(api):
        return _("The API is being stopped. Not all gateway workers have confirmed it yet.")
    if rule.is_refused_when_locked and api.is_locked:
        return _("The API is locked. Only an administrator can unlock it (User Portal).")
    reasons = (check(api, arguments or Arguments()) for check in rule.checks)
    return next((reason for reason in reasons if reason is not None), None)


def locked_api(api_id: str) -> PredictionAPI:
    """The API's row, locked until the transaction ends. NO KEY: foreign-key checks of other sessions go on."""
    return PredictionAPI.objects.select_for_update(no_key=True).get(pk=api_id)


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


def allowed_api(api_id: str, verb: str, *, actor: Actor, arguments: Arguments | None = None) -> PredictionAPI:
    """The API's row, locked, if the actor may and nothing refuses the verb. Raises NotAllowed or TransitionRefused."""
    actor.require(TRANSITIONS[verb].permission)
    api = locked_api(api_id)
    reason = refusal(api, verb, arguments)
    if reason is not None:
        raise TransitionRefused(reason)
    return api


def ask_if_locked(api: PredictionAPI, verb: str, *, confirmed: bool, arguments: Arguments | None = None) -> None:
    """Raises NeedsConfirmation with the verb's question when the API is locked and nobody confirmed."""
    question = TRANSITIONS[verb].locked_question
    if question and api.is_locked and not confirmed:
        raise NeedsConfirmation(question % {"version": (arguments or Arguments()).version})


@transaction.atomic
def transition(
    api_id: str,
    verb: str,
    *,
    actor: Actor,
    arguments: Arguments | None = None,
    confirmed: bool = False,
    detail: dict[str, Any] | None = None,
    **fields: Any,
) -> PredictionAPI:
    """Carry out one verb. Raises NotAllowed, TransitionRefused or NeedsConfirmation, and changes nothing then."""
    rule = TRANSITIONS[verb]
    api = allowed_api(api_id, verb, actor=actor, arguments=arguments)
    ask_if_locked(api, verb, confirmed=confirmed, arguments=arguments)
    if rule.status is not None:
        fields["status"] = rule.status
    if rule.target is not None:
        fields["target"] = rule.target
    write(api, verb, actor, detail=detail, **fields)
    return api


def create_api(model: Model, api_type: str, version: ModelVersion, *, actor: Actor, **fields: Any) -> PredictionAPI:
    """The row of a launched API. The caller asks `options.launch_refusal` first and records the launch."""
    rule = TRANSITIONS["launch"]
    fields |= {"status": rule.status, "target": rule.target}
    return PredictionAPI.objects.create(model=model, type=api_type, version=version, created_by=actor.name, **fields)


# The second halves: what builds and reconciling write. None of them asks for a right; the transition did.


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
    write(build.api, "operating", actor, status=TRANSITIONS[build.kind].confirmed_status)
    _finish(build, Outcome.SUCCEEDED)
    return True


@transaction.atomic
def fail(build_id: int, actor: Actor, *, stage: str, reasons: list[Message], log_tail: str = "") -> bool:
    """End a build that can't succeed. A launch or start is withdrawn; an update falls back to what was served."""
    build = _wanted_build(build_id)
    if build is None:
        return False
    detail = {"stage": stage, "reasons": reasons, "version": build.version.number}
    status = TRANSITIONS[build.kind].failed_status
    if build.kind == BuildKind.UPDATE:
        previous = build.previous or build.api.version
        write(build.api, "update failed", actor, detail=detail, status=status, version=previous, candidate=None)
    else:
        write(build.api, "build failed", actor, detail=detail, status=status, target=Target.FAILED)
    _finish(build, Outcome.FAILED, failed_stage=stage, reasons=reasons, log_tail=log_tail)
    return True


@transaction.atomic
def confirm_closing(api_id: str, actor: Actor) -> PredictionAPI:
    """Tell people of a closing transition that every gateway has confirmed: Stopped, or deleted with its key erased."""
    api = locked_api(api_id)
    if is_stopping(api):
        write(api, "stopped", actor, status=TRANSITIONS["stop"].confirmed_status)
    elif api.target == Target.DELETING:
        write(
            api,
            "deleted",
            actor,
            status=TRANSITIONS["delete"].confirmed_status,
            target=Target.DELETED,
            deleted_at=timezone.now(),
            key_digest=None,
            key_encrypted=None,
            is_locked=False,
        )
    return api
