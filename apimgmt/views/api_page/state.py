"""What several panels tell of one API, read when it is asked for and at most once."""

from __future__ import annotations

from functools import cached_property

from apimgmt.actors import Actor
from apimgmt.lifecycle import selectors, transitions
from apimgmt.lifecycle.confirmation import Confirmation, confirmation
from apimgmt.models import Model, PredictionAPI, Receipt, Status
from apimgmt.stats import counts
from apimgmt.views.api_page.build import BuildReport
from apimgmt.views.api_page.buttons import Button, api_buttons
from apimgmt.views.labels import STATUS_TONES, deleting_sentence, stopping_sentence

SERVING = {Status.OPERATING, Status.UPDATING}
BEING_BUILT = {Status.BUILDING, Status.UPDATING}


class ApiState:
    """An API that is not deleted, as one person sees it."""

    def __init__(self, model: Model, api: PredictionAPI, actor: Actor) -> None:
        self.model = model
        self.api = api
        self.actor = actor

    @cached_property
    def buttons(self) -> dict[str, Button]:
        return api_buttons(self.api, self.actor)

    @cached_property
    def confirmation(self) -> Confirmation:
        return confirmation(self.api)

    @cached_property
    def build(self) -> BuildReport | None:
        build = selectors.latest_build(self.api)
        return BuildReport(build) if build else None

    @cached_property
    def receipt(self) -> Receipt | None:
        return selectors.latest_receipt(self.api)

    @cached_property
    def quota_remaining(self) -> int | None:
        """None for an official API."""
        return counts.quota_remaining(self.api)

    @cached_property
    def quota_limit(self) -> int:
        return counts.quota_limit(self.api)

    @property
    def is_trial(self) -> bool:
        return self.quota_remaining is not None

    @cached_property
    def n_networks(self) -> int:
        return self.api.whitelist.count()

    @property
    def status_label(self) -> str:
        return self.api.get_status_display()

    @property
    def status_tone(self) -> str:
        return STATUS_TONES[self.api.status]

    @property
    def is_stopping(self) -> bool:
        return transitions.is_stopping(self.api)

    @property
    def is_serving(self) -> bool:
        return self.api.status in SERVING and not self.is_stopping

    @property
    def is_being_built(self) -> bool:
        """Also while the API, which was read first, has the word of a build that has ended since."""
        if self.build is None or self.is_stopping:
            return False
        return self.build.is_running or self.api.status in BEING_BUILT

    @property
    def running_update(self) -> BuildReport | None:
        return self.build if self.build and self.build.is_update and self.is_being_built else None

    @property
    def failed_build(self) -> BuildReport | None:
        """The last build, if it failed and nothing was changed since that would make it old news."""
        if self.build is None or not self.build.has_failed:
            return None
        return self.build if self.build.is_update or self.api.status == Status.FAILED else None

    @property
    def is_unconfirmed(self) -> bool:
        """Whether gateways have still to confirm something; while a build runs its own stages tell that."""
        return not self.is_being_built and not self.confirmation.is_confirmed

    @property
    def closing(self) -> str:
        """The stop or deletion that is under way, with its progress: "Stopping… 3 of 4 workers"; else ""."""
        if self.is_stopping:
            return stopping_sentence(self.confirmation)
        if self.api.status == Status.DELETING:
            return deleting_sentence(self.confirmation)
        return ""

    @property
    def is_passing(self) -> bool:
        """Whether what the page shows passes by itself soon."""
        return self.is_being_built or bool(self.closing) or self.is_unconfirmed
