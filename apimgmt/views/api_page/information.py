"""The panel API information: the manual's labels, a call to copy, and the API's own description."""

from __future__ import annotations

from functools import cached_property

from django.http import HttpRequest

from apimgmt.calling import examples
from apimgmt.calling.addresses import api_url, docs_url, openapi_url
from apimgmt.models import PredictionAPI
from apimgmt.roles import VIEW_KEY
from apimgmt.views.api_page.buttons import Button, operate_button
from apimgmt.views.api_page.state import ApiState
from apimgmt.views.key_grants import granted_key

SHOWN_NETWORKS = 6
MASKED_KEY = "pak_" + "•" * 20


class InformationPanel:
    """`key` is the key in full while this browser may show it, else None."""

    def __init__(self, state: ApiState, key: str | None) -> None:
        self._state = state
        self.key = key
        self.masked_key = MASKED_KEY

    @property
    def api(self) -> PredictionAPI:
        return self._state.api

    @property
    def buttons(self) -> dict[str, Button]:
        return self._state.buttons

    @property
    def api_url(self) -> str:
        return api_url(self.api)

    @property
    def docs_url(self) -> str:
        return docs_url(self.api) if self._state.is_serving else ""

    @property
    def openapi_url(self) -> str:
        return openapi_url(self.api)

    @cached_property
    def shown_networks(self) -> list[str]:
        """The first few: a whitelist may have ten thousand, and the page is read twice a second."""
        return list(self.api.whitelist.values_list("network", flat=True)[:SHOWN_NETWORKS])

    @property
    def n_more_networks(self) -> int:
        return self._state.n_networks - len(self.shown_networks)

    @cached_property
    def allows_everybody(self) -> bool:
        return self.api.whitelist.filter(network="0.0.0.0/0").exists()

    @cached_property
    def curl(self) -> str:
        return examples.curl_json(self.api_url, self.api.version.described(), self.key)

    @cached_property
    def send_row(self) -> Button:
        return operate_button("api-send-row", self._state.model, self._state.actor)


def shown_key(request: HttpRequest, state: ApiState) -> str | None:
    """The key in full, if this person may see it and this browser was granted it a moment ago."""
    return granted_key(request, state.api) if state.actor.may(VIEW_KEY) else None
