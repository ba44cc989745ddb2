"""Counted requests and what is left of a trial's quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from apimgmt.models import ApiType, PredictionAPI, RequestStat, TrialQuota


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
