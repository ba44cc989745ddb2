"""Counted requests and what is left of a trial's quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from apimgmt.models import ApiType, GatewayWorker, PredictionAPI, RequestStat, TrialQuota


@dataclass(frozen=True)
class DayTotals:
    """Prediction requests of one API on one day of the installation's time zone."""

    day: date
    count_200: int
    count_4xx: int
    count_5xx: int

    @property
    def count_errors(self) -> int:
        return self.count_4xx + self.count_5xx


def daily_counts(api: PredictionAPI, days: int = 30) -> list[DayTotals]:
    """The last `days` days up to today, oldest first; days without calls are zero."""
    today = timezone.localdate()
    first = today - timedelta(days=days - 1)
    rows = (
        RequestStat.objects.filter(api_id=api.pk, day__gte=first, day__lte=today)
        .values("day")
        .annotate(ok=Sum("count_200"), client=Sum("count_4xx"), server=Sum("count_5xx"))
    )
    found = {row["day"]: DayTotals(row["day"], int(row["ok"]), int(row["client"]), int(row["server"])) for row in rows}
    return [
        found.get(day, DayTotals(day, 0, 0, 0)) for day in (first + timedelta(days=offset) for offset in range(days))
    ]


@dataclass(frozen=True)
class UncountedWorker:
    """A gateway worker that answers, and whose counts can't be written into the database. `since`: None if untold."""

    name: str
    is_of_another: bool
    since: datetime | None


def uncounted_workers() -> list[UncountedWorker]:
    """Whose requests, or those of a worker that ended before it, the numbers still lack; the longest first."""
    hindered = {GatewayWorker.Obstacle.COUNTS, GatewayWorker.Obstacle.RECOVERY}
    found = GatewayWorker.objects.filter(gone_at=None, obstacle__in=hindered).order_by("obstacle_since", "id")
    return [
        UncountedWorker(
            name=f"{worker.host}:{worker.port}/{worker.slot}",
            is_of_another=worker.obstacle == GatewayWorker.Obstacle.RECOVERY,
            since=worker.obstacle_since,
        )
        for worker in found
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
