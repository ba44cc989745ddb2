"""The panel API status: the word, since when, whether it is true everywhere, the build, the incidents."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

from django.utils.translation import gettext as _

from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.confirmation import MissingWorker
from apimgmt.lifecycle.reports import dismissed_sentence, receipt_sentence, unconfirmed_sentence
from apimgmt.models import GatewayIncident
from apimgmt.roles import DISMISS_WORKER, HOLDERS, UNLOCK
from apimgmt.views.api_page.build import BuildReport
from apimgmt.views.api_page.buttons import Button
from apimgmt.views.api_page.state import ApiState
from apimgmt.views.labels import CALLERS_GET, change_word


class StatusPanel:
    """What the API does now, and how far that is confirmed."""

    def __init__(self, state: ApiState) -> None:
        self.state = state

    @property
    def since(self) -> datetime:
        return self.state.api.status_since

    @property
    def cancel(self) -> Button:
        return self.state.buttons["cancel"]

    @property
    def running_build(self) -> BuildReport | None:
        return self.state.build if self.state.is_being_built else None

    @property
    def failed_build(self) -> BuildReport | None:
        return self.state.failed_build

    @property
    def succeeded_build(self) -> BuildReport | None:
        build = self.state.build
        return build if build and build.has_succeeded and build.seconds is not None else None

    @property
    def callers_get(self) -> str:
        if self.state.is_stopping:
            return _("Workers that have confirmed answer 503 api_stopped.")
        return str(CALLERS_GET.get(self.state.api.status, ""))

    @property
    def unconfirmed_sentence(self) -> str:
        """What is still missing, where no progress is told above; else ""."""
        if not self.state.is_unconfirmed or self.state.closing:
            return ""
        return unconfirmed_sentence(self.state.confirmation)

    @property
    def missing_workers(self) -> tuple[MissingWorker, ...]:
        return self.state.confirmation.missing if self.state.is_unconfirmed else ()

    @property
    def may_dismiss(self) -> bool:
        return self.state.actor.may(DISMISS_WORKER)

    @property
    def confirmed_change(self) -> str:
        """The last change, if every worker has confirmed it; else ""."""
        receipt = self.state.receipt
        if self.state.is_unconfirmed or self.state.is_being_built or receipt is None or receipt.confirmed_at is None:
            return ""
        return change_word(receipt.verb)

    @property
    def confirmed_sentence(self) -> str:
        if self.state.receipt is None:
            return ""
        return receipt_sentence(self.state.receipt, self.state.confirmation.dismissed)

    @property
    def dismissed(self) -> list[str]:
        """What is to be said of workers that were dismissed and may still answer."""
        return [dismissed_sentence(worker) for worker in self.state.confirmation.dismissed]

    @cached_property
    def incidents(self) -> list[GatewayIncident]:
        return selectors.incidents(self.state.api)

    @property
    def version(self) -> int:
        return self.state.api.version.number

    @cached_property
    def newer_version(self) -> int | None:
        newest = selectors.newest_version_number(self.state.model)
        return newest if newest > self.version else None

    @property
    def update(self) -> Button:
        return self.state.buttons["update"]

    @property
    def upgrade(self) -> Button:
        return self.state.buttons["upgrade"]

    @property
    def unlock_hint(self) -> str:
        return "" if self.state.actor.may(UNLOCK) else str(HOLDERS[UNLOCK])


def announcement(state: ApiState | None) -> str:
    """One short sentence that changes with the stage, for those who listen."""
    if state is None:
        return _("No API.")
    if state.closing:
        return _("Stopping.") if state.is_stopping else _("Deleting.")
    if state.is_being_built and state.build and state.build.running_stage:
        return _("%(status)s: %(stage)s") % {"status": state.status_label, "stage": state.build.running_stage}
    if state.failed_build and not state.is_being_built:
        return _("Failed at stage %(stage)s.") % {"stage": state.failed_build.failed_stage}
    return state.status_label
