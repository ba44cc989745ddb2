"""The head of the tab: name, status, and the buttons for the whole API."""

from __future__ import annotations

from apimgmt.models import Status
from apimgmt.views.api_page.buttons import Button
from apimgmt.views.api_page.state import ApiState

_STARTABLE = {Status.STOPPED, Status.FAILED, Status.DELETING}


class HeadPanel:
    """`state` is None before a launch."""

    def __init__(self, model_name: str, state: ApiState | None) -> None:
        self.model_name = model_name
        self.state = state
        self.actions = HeadActions(state) if state else None


class HeadActions:
    """Lock, Stop or Start, Delete."""

    def __init__(self, state: ApiState) -> None:
        self._state = state

    @property
    def is_locked(self) -> bool:
        return self._state.api.is_locked

    @property
    def lock(self) -> Button:
        """One toggle: it unlocks what is locked."""
        return self._state.buttons["unlock" if self.is_locked else "lock"]

    @property
    def shows_start(self) -> bool:
        """Whether the place of Stop is taken by Start."""
        return self._state.api.status in _STARTABLE

    @property
    def start(self) -> Button:
        return self._state.buttons["start"]

    @property
    def stop(self) -> Button:
        return self._state.buttons["stop"]

    @property
    def delete(self) -> Button:
        return self._state.buttons["delete"]
