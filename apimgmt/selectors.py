"""Reads that join, filter by what a person may see, or aggregate. A stranger's object is not found, never forbidden."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Max, Prefetch, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from apimgmt.actors import Actor
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.confirmation import counting_workers
from apimgmt.lifecycle.options import launch_refusal
from apimgmt.models import (
    ApiEvent,
    ApiType,
    Build,
    GatewayIncident,
    Installation,
    Model,
    PredictionAPI,
    Receipt,
    RequestStat,
    TrialQuota,
    Workspace,
)
from apimgmt.roles import HOLDERS

Person = User | AnonymousUser


@dataclass(frozen=True)
class Action:
    """One deed on one API for one person: possible now, or why not."""

    verb: str
    is_available: bool
    reason: str


@dataclass(frozen=True)
class DayCount:
    """Prediction requests of one API on one day of the installation's time zone."""

    day: date
    count_200: int
    count_4xx: int
    count_5xx: int

    @property
    def count_errors(self) -> int:
        return self.count_4xx + self.count_5xx


@dataclass(frozen=True)
class GatewaySummary:
    """How many gateway workers obey everything that was asked so far, of how many that count."""

    in_step: int
    counted: int


def workspaces_visible_to(user: Person) -> QuerySet[Workspace]:
    """A person's workspaces; all for the installer, none for somebody not signed in."""
    if not isinstance(user, User):
        return Workspace.objects.none()
    return Workspace.objects.all() if user.is_superuser else Workspace.objects.filter(members=user)


def models_visible_to(user: Person) -> QuerySet[Model]:
    """The models of a person's workspaces, with `current_apis` (at most one) and `latest_version` (its number)."""
    return (
        Model.objects.filter(workspace__in=workspaces_visible_to(user))
        .select_related("workspace")
        .annotate(latest_version=Max("versions__number"))
        .prefetch_related(
            Prefetch(
                "apis",
                queryset=PredictionAPI.objects.filter(deleted_at=None).select_related("version"),
                to_attr="current_apis",
            )
        )
    )


def apis_visible_to(user: Person) -> QuerySet[PredictionAPI]:
    """Every API, deleted ones too, of a person's workspaces."""
    return PredictionAPI.objects.filter(model__workspace__in=workspaces_visible_to(user)).select_related(
        "model__workspace", "version", "candidate"
    )


def current_api(model: Model) -> PredictionAPI | None:
    """The model's API that is not deleted."""
    return (
        PredictionAPI.objects.filter(model=model, deleted_at=None)
        .select_related("model__workspace", "version", "candidate")
        .first()
    )


def actions(api: PredictionAPI, actor: Actor) -> dict[str, Action]:
    """What this person may do with the API now, for every verb of the transition table but launch."""
    return {verb: _action(api, verb, actor) for verb in transitions.TRANSITIONS if verb != "launch"}


def _action(api: PredictionAPI, verb: str, actor: Actor) -> Action:
    permission = transitions.TRANSITIONS[verb].permission
    reason = None if actor.may(permission) else str(HOLDERS[permission])
    reason = transitions.refusal(api, verb) or reason
    if reason is None and verb == "update" and newest_version_number(api.model) == api.version.number:
        reason = _("The newest version is served already.")
    if reason is None and verb == "upgrade":
        reason = launch_refusal(api.model, api.model.workspace, ApiType.OFFICIAL, is_upgrade=True)
    return Action(verb=verb, is_available=reason is None, reason=reason or "")


def newest_version_number(model: Model) -> int:
    """0 for a model without a version."""
    number: int | None = model.versions.aggregate(newest=Max("number"))["newest"]
    return number or 0


def latest_build(api: PredictionAPI) -> Build | None:
    return Build.objects.filter(api=api).select_related("version", "previous").order_by("-id").first()


def latest_receipt(api: PredictionAPI) -> Receipt | None:
    return Receipt.objects.filter(api=api).select_related("event").order_by("-id").first()


def incidents(api: PredictionAPI, days: int = 7) -> list[GatewayIncident]:
    """What the model did to the gateway lately, newest first, at most ten. What is still in force however old it is."""
    since = timezone.now() - timedelta(days=days)
    lasting = Q(kind=GatewayIncident.Kind.WORKER_CRASHED, version_id=api.version_id)
    found = GatewayIncident.objects.filter(Q(at__gte=since) | lasting, api_id=api.pk)
    first = found.annotate(is_lasting=lasting).order_by("-is_lasting", "-id")[:10]  # later ones don't hide it
    return sorted(first, key=lambda incident: -incident.pk)


def events(api: PredictionAPI) -> QuerySet[ApiEvent]:
    """The API's history, newest first, each with its receipt if gateways had to obey it."""
    return ApiEvent.objects.filter(api=api).select_related("receipt").order_by("-id")


def daily_counts(api: PredictionAPI, days: int = 30) -> list[DayCount]:
    """The last `days` days up to today, oldest first; days without calls are zero."""
    today = timezone.localdate()
    first = today - timedelta(days=days - 1)
    rows = (
        RequestStat.objects.filter(api_id=api.pk, day__gte=first, day__lte=today)
        .values("day")
        .annotate(ok=Sum("count_200"), client=Sum("count_4xx"), server=Sum("count_5xx"))
    )
    found = {row["day"]: DayCount(row["day"], int(row["ok"]), int(row["client"]), int(row["server"])) for row in rows}
    return [
        found.get(day, DayCount(day, 0, 0, 0)) for day in (first + timedelta(days=offset) for offset in range(days))
    ]


def totals(api: PredictionAPI) -> dict[str, int]:
    """Requests of all days by status class."""
    sums = RequestStat.objects.filter(api_id=api.pk).aggregate(
        ok=Sum("count_200"), client=Sum("count_4xx"), server=Sum("count_5xx")
    )
    return {"200": int(sums["ok"] or 0), "4xx": int(sums["client"] or 0), "5xx": int(sums["server"] or 0)}


def quota_remaining(api: PredictionAPI) -> int | None:
    """What is left of a trial's quota, reservations in flight taken off; None for an official API."""
    if api.type != ApiType.TRIAL:
        return None
    quota = TrialQuota.objects.filter(api_id=api.pk).first()
    return quota.request_limit - quota.used if quota else None


def quota_limit(api: PredictionAPI) -> int:
    quota = TrialQuota.objects.filter(api_id=api.pk).first()
    return quota.request_limit if quota else settings.ENVIRONMENT.trial_request_limit


def gateway_summary() -> GatewaySummary:
    """For the footer: workers that count, and those that have applied the newest revision and are in reach."""
    revision = Installation.objects.values_list("revision", flat=True).get(pk=Installation.SINGLETON_ID)
    workers = counting_workers(revision)
    in_step = sum(worker.has_applied and not worker.is_out_of_reach for worker in workers)
    return GatewaySummary(in_step=in_step, counted=len(workers))
