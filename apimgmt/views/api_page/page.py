"""The tab of one model as one person sees it: which panels there are."""

from __future__ import annotations

from django.http import HttpRequest

from apimgmt.actors import actor_of
from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.confirmation import gateway_summary
from apimgmt.models import Model
from apimgmt.views.api_page.banner import BannerPanel
from apimgmt.views.api_page.before import BeforePanel
from apimgmt.views.api_page.head import HeadPanel
from apimgmt.views.api_page.information import InformationPanel, shown_key
from apimgmt.views.api_page.requests import DEFAULT_RANGE, RANGES, RequestsPanel
from apimgmt.views.api_page.state import ApiState
from apimgmt.views.api_page.status import StatusPanel, announcement

POLL_PASSING_MS = 500
POLL_IDLE_MS = 4000  # a gateway writes its counts out each second: a call is in the graph within 5 s


class ApiPage:
    """The panels by name, in the order of the page."""

    def __init__(self, request: HttpRequest, model: Model, *, days: int = DEFAULT_RANGE) -> None:
        self.model = model
        self.days = days if days in RANGES else DEFAULT_RANGE
        self._request = request
        self._actor = actor_of(request)
        api = selectors.current_api(model)
        self._state = ApiState(model, api, self._actor) if api else None

    @property
    def poll_ms(self) -> int:
        return POLL_PASSING_MS if self._state is not None and self._state.is_passing else POLL_IDLE_MS

    def panels(self) -> dict[str, object | None]:
        """What each part of the page shows; None: the part is empty."""
        state = self._state
        return {
            "head": HeadPanel(self.model.name, state),
            "banner": BannerPanel(state) if state else None,
            "before": None if state else BeforePanel(self.model, self._actor),
            "status": StatusPanel(state) if state else None,
            "information": InformationPanel(state, shown_key(self._request, state)) if state else None,
            "requests": RequestsPanel(state.api, self.days) if state else None,
            "announcement": announcement(state),
            "gateways": gateway_summary(),
        }
