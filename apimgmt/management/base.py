"""What the API commands share: `--as`, `--json`, `--wait`, and refusals as one clear line with exit code 1."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apimgmt.actors import Actor, shell_actor
from apimgmt.errors import Refused, WhitelistRefused
from apimgmt.lifecycle import reconciling
from apimgmt.lifecycle.confirmation import Confirmation
from apimgmt.lifecycle.reports import no_gateway_sentence
from apimgmt.models import Model, PredictionAPI, Status
from apimgmt.visibility import apis_visible_to, models_visible_to


class ActorCommand(BaseCommand):
    """A command done by an actor. Subclasses implement `run`; a Refused becomes the command's error line."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as", dest="username", metavar="USER", help="have this user's rights")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.run(shell_actor(options["username"]), options)
        except WhitelistRefused as error:
            lines = [f"{line.text}: {line.message}" + _suggestion(line.suggestion) for line in error.lines]
            raise CommandError("\n".join([str(error), *lines])) from None
        except Refused as error:
            raise CommandError(str(error)) from None

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        raise NotImplementedError

    def print(self, document: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
        """One JSON object for scripts, or the sentences for people."""
        self.stdout.write(json.dumps(document) if as_json else "\n".join(lines))


def _suggestion(network: str | None) -> str:
    return f" (did you mean {network}?)" if network else ""


def visible_model(actor: Actor, model_id: int) -> Model:
    models = Model.objects.all() if actor.user is None else models_visible_to(actor.user)
    model = models.filter(pk=model_id).first()
    if model is None:
        raise Refused(f"There is no model {model_id}.")
    return model


def visible_api(actor: Actor, api_id: str) -> PredictionAPI:
    apis = PredictionAPI.objects.all() if actor.user is None else apis_visible_to(actor.user)
    api = apis.filter(pk=api_id).first()
    if api is None:
        raise Refused(f"There is no API {api_id}.")
    return api


def wait_until_confirmed(api_id: str, *, after_build_id: int) -> None:
    """Wait for the build asked for, then for gateways. Raises CommandError with the reason if one of them fails.

    `after_build_id` is the API's latest build before the action.
    """
    environment = settings.ENVIRONMENT
    build_failure = reconciling.wait_for_build(
        api_id, environment.build_timeout_s + environment.confirm_timeout_s, after_build_id=after_build_id
    )
    if build_failure:
        raise CommandError(build_failure)
    seen = reconciling.reconcile_api(api_id, environment.confirm_timeout_s)
    api = PredictionAPI.objects.get(pk=api_id)
    if reconciling.is_unconfirmed(api) or (api.status == Status.OPERATING and not seen.is_confirmed):
        raise CommandError(f"Not confirmed. {_obstacles(seen)}")


def _obstacles(seen: Confirmation) -> str:
    """Which worker has not confirmed and why, one sentence each."""
    if seen.missing:
        return " ".join(worker.reason for worker in seen.missing)
    return no_gateway_sentence(seen.dismissed)
