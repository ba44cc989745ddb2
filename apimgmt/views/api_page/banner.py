"""What a person must know before anything else: each is a callout above the panels, or not there."""

from __future__ import annotations

from apimgmt.models import Status
from apimgmt.views.api_page.build import BuildReport
from apimgmt.views.api_page.buttons import Button
from apimgmt.views.api_page.state import ApiState


class BannerPanel:
    """The callouts in the order of the page."""

    def __init__(self, state: ApiState) -> None:
        self._state = state

    @property
    def failed_update(self) -> BuildReport | None:
        build = self._state.failed_build
        return build if build and build.is_update else None

    @property
    def served_version(self) -> int:
        return self._state.api.version.number

    @property
    def n_out_of_reach(self) -> int:
        """How many of the workers that have not confirmed are silent."""
        if not self._state.is_unconfirmed:
            return 0
        return sum(worker.is_out_of_reach for worker in self._state.confirmation.missing)

    @property
    def is_trial_used_up(self) -> bool:
        return self._state.quota_remaining == 0 and self._state.is_serving

    @property
    def quota_limit(self) -> int:
        return self._state.quota_limit

    @property
    def upgrade(self) -> Button:
        return self._state.buttons["upgrade"]

    @property
    def allows_nobody(self) -> bool:
        return not self._state.n_networks and self._state.api.status != Status.DELETING

    @property
    def whitelist(self) -> Button:
        return self._state.buttons["whitelist"]
