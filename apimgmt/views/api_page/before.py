"""The panel of a model that has no API yet."""

from __future__ import annotations

from functools import cached_property

from django.utils.translation import gettext as _

from apimgmt.actors import Actor
from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.options import OptionUse, launch_choices, option_use
from apimgmt.models import Model
from apimgmt.views.api_page.buttons import Button, operate_button


class BeforePanel:
    """What a launch would serve, and whether it is possible."""

    def __init__(self, model: Model, actor: Actor) -> None:
        self.model = model
        self._actor = actor

    @cached_property
    def newest_version(self) -> int:
        return selectors.newest_version_number(self.model)

    @cached_property
    def option_use(self) -> OptionUse:
        return option_use(self.model.workspace)

    @cached_property
    def launch(self) -> Button:
        permitted = operate_button("api-launch", self.model, self._actor)
        return Button(permitted.url, permitted.reason or self._obstacle())

    def _obstacle(self) -> str:
        if not self.newest_version:
            return _("The model has no version to serve.")
        choices = launch_choices(self.model)
        if any(choice.is_available for choice in choices):
            return ""
        return " ".join(choice.reason for choice in choices)
