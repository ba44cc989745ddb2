"""The panel API request count: numbers in words, as a table, and as the graph's figure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.utils import timezone

from apimgmt.models import PredictionAPI
from apimgmt.stats import charts, counts
from apimgmt.stats.counts import DayTotals, UncountedWorker
from apimgmt.views.input_warnings import WarningLine, warnings_of_today

RANGES = (7, 30, 90)
DEFAULT_RANGE = 30


@dataclass(frozen=True)
class RangeTotals:
    """Requests of the chosen days."""

    ok: int
    client: int
    server: int

    @property
    def errors(self) -> int:
        return self.client + self.server

    @property
    def all(self) -> int:
        return self.ok + self.errors


class RequestsPanel:
    """The last `days` days."""

    def __init__(self, api: PredictionAPI, days: int) -> None:
        self._api = api
        self.days = days

    @cached_property
    def counts(self) -> list[DayTotals]:
        """Oldest first; today is always the last."""
        return counts.daily_counts(self._api, self.days)

    @property
    def newest_first(self) -> list[DayTotals]:
        return self.counts[::-1]

    @property
    def today(self) -> DayTotals:
        return self.counts[-1]

    @cached_property
    def totals(self) -> RangeTotals:
        return RangeTotals(
            ok=sum(day.count_200 for day in self.counts),
            client=sum(day.count_4xx for day in self.counts),
            server=sum(day.count_5xx for day in self.counts),
        )

    @cached_property
    def input_warnings(self) -> list[WarningLine]:
        return warnings_of_today(self._api)

    @cached_property
    def uncounted(self) -> list[UncountedWorker]:
        """Where the numbers lack requests that were answered."""
        return counts.uncounted_workers()

    @property
    def figure(self) -> dict[str, Any]:
        return charts.request_count_figure(self.counts)

    @property
    def time_zone(self) -> str:
        return timezone.get_current_timezone_name()
