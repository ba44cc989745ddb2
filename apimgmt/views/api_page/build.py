"""One build as the page tells it: its stages, and what helps if it failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from apimgmt.lifecycle.builds import is_waiting_for_a_worker
from apimgmt.lifecycle.stages import STAGES
from apimgmt.models import Build, BuildKind, Outcome
from apimgmt.sentences import facts
from apimgmt.views.labels import WHAT_TO_DO


@dataclass(frozen=True)
class StageLine:
    """One build stage as the page lists it."""

    label: str
    state: str
    seconds: float | None
    detail: str


class BuildReport:
    """The latest build of an API."""

    def __init__(self, build: Build) -> None:
        self._build = build

    @property
    def is_update(self) -> bool:
        return self._build.kind == BuildKind.UPDATE

    @property
    def is_running(self) -> bool:
        return self._build.finished_at is None

    @property
    def is_waiting_for_worker(self) -> bool:
        return is_waiting_for_a_worker(self._build)

    @property
    def has_failed(self) -> bool:
        return self._build.outcome == Outcome.FAILED

    @property
    def has_succeeded(self) -> bool:
        return self._build.outcome == Outcome.SUCCEEDED

    @property
    def requested_at(self) -> datetime:
        return self._build.requested_at

    @property
    def seconds(self) -> float | None:
        """From the request to the end; None while it runs."""
        if self._build.finished_at is None:
            return None
        return (self._build.finished_at - self._build.requested_at).total_seconds()

    @property
    def new_version(self) -> int:
        return self._build.version.number

    @property
    def old_version(self) -> int | None:
        """The version that serves while an update is built."""
        return self._build.previous.number if self._build.previous else None

    @property
    def stages(self) -> list[StageLine]:
        return [
            StageLine(_stage_label(stage["name"]), stage["state"], stage["seconds"], facts(stage["detail"]))
            for stage in self._build.stages
        ]

    @property
    def running_stage(self) -> str:
        return next((stage.label for stage in self.stages if stage.state == "running"), "")

    @property
    def failed_stage(self) -> str:
        return _stage_label(self._build.failed_stage)

    @property
    def reason(self) -> str:
        return self._build.failure_text

    @property
    def log_tail(self) -> str:
        return self._build.log_tail

    @property
    def what_to_do(self) -> str:
        if self.is_update and self._build.failed_stage in {"publish", "confirm"}:
            return _("Fix the gateway named above, then serve the version again.")
        return str(WHAT_TO_DO.get(self._build.failed_stage, ""))


def _stage_label(name: str) -> str:
    return str(STAGES.get(name, name))
