"""The buttons of the tab: where each leads, and whether it can be used now."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from apimgmt.actors import Actor
from apimgmt.lifecycle.actions import actions_for
from apimgmt.models import Model, PredictionAPI
from apimgmt.roles import HOLDERS, OPERATE

_URL_NAMES = {
    "lock": "api-lock",
    "unlock": "api-lock",
    "start": "api-start",
    "stop": "api-stop",
    "delete": "api-delete",
    "cancel": "api-cancel",
    "update": "api-update",
    "upgrade": "api-upgrade",
    "whitelist": "api-whitelist",
    "describe": "api-description",
    "key": "api-key",
    "roll-key": "api-roll",
}


@dataclass(frozen=True)
class Button:
    """`reason` says why the button can't be used now; "" if it can."""

    url: str
    reason: str = ""

    @property
    def is_available(self) -> bool:
        return not self.reason


def api_buttons(api: PredictionAPI, actor: Actor) -> dict[str, Button]:
    """One for each verb that a person may ask for; templates name them with `_` for `-`."""
    actions = actions_for(api, actor)
    return {
        verb.replace("-", "_"): Button(reverse(url_name, args=[api.model_id]), actions[verb].reason)
        for verb, url_name in _URL_NAMES.items()
    }


def operate_button(url_name: str, model: Model, actor: Actor) -> Button:
    """A button that only the right to operate can forbid."""
    return Button(reverse(url_name, args=[model.pk]), "" if actor.may(OPERATE) else str(HOLDERS[OPERATE]))
