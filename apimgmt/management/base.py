"""What the API commands share: `--as`, `--json`, `--wait`, and refusals as one clear line with exit code 1."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apimgmt import selectors
from apimgmt.actors import Actor, shell_actor
from apimgmt.errors import Refused, WhitelistRefused
from apimgmt.lifecycle import reconciling
from apimgmt.lifecycle.confirmation import confirmation
from apimgmt.models import Model, PredictionAPI, Status


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

    def print(self, document: dict[str, Any], *, as_json: bool) -> None:
        """One JSON object, or one `name: value` line each."""
        if as_json:
            self.stdout.write(json.dumps(document))
            return
        for name, value in document.items():
            self.stdout.write(f"{name}: {_words(value)}")


def _words(value: Any) -> str:
    """A value of a JSON document as people write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(_words(inner) for inner in value) or "none"
    return str(value)


def _suggestion(network: str | None) -> str:
    return f" (did you mean {network}?)" if network else ""


def visible_model(actor: Actor, model_id: int) -> Model:
    models = Model.objects.all() if actor.user is None else selectors.models_visible_to(actor.user)
    model = models.filter(pk=model_id).first()
    if model is None:
        raise Refused(f"There is no model {model_id}.")
    return model


def visible_api(actor: Actor, api_id: str) -> PredictionAPI:
    apis = PredictionAPI.objects.all() if actor.user is None else selectors.apis_visible_to(actor.user)
    api = apis.filter(pk=api_id).first()
    if api is None:
        raise Refused(f"There is no API {api_id}.")
    return api


def status_document(api_id: str) -> dict[str, Any]:
    """What `status --json` prints."""
    api = PredictionAPI.objects.select_related("version").get(pk=api_id)
    seen = confirmation(api)
    return {
        "api_id": api.pk,
        "status": api.status,
        "target": api.target,
        "confirmed": seen.is_confirmed,
        "workers": {"confirmed": seen.confirmed, "counted": seen.counted},
        "missing": [{"worker": worker.name, "reason": worker.reason} for worker in seen.missing],
        "locked": api.is_locked,
        "type": api.type,
        "version": api.version.number,
        "quota_remaining": selectors.quota_remaining(api),
        "requests": selectors.totals(api),
        "incidents": [
            {
                "at": incident.at.isoformat(),
                "kind": incident.kind,
                "reason": incident.reason_text,
                "worker": incident.worker_id,
            }
            for incident in selectors.incidents(api)
        ],
    }


def wait_until_confirmed(api_id: str, *, after_build_id: int) -> None:
    """Wait for the build asked for, then for gateways. Raises CommandError with the reason if it did not come true.

    `after_build_id` is the API's latest build before the deed.
    """
    settings_ = settings.ENVIRONMENT
    build_failure = reconciling.wait_for_build(
        api_id, settings_.build_timeout_s + settings_.confirm_timeout_s, after_build_id=after_build_id
    )
    if build_failure:
        raise CommandError(build_failure)
    seen = reconciling.reconcile_api(api_id, settings_.confirm_timeout_s)
    api = PredictionAPI.objects.get(pk=api_id)
    if reconciling.is_unsettled(api) or (api.status == Status.OPERATING and not seen.is_confirmed):
        reasons = "; ".join(f"worker {worker.name}: {worker.reason}" for worker in seen.missing)
        raise CommandError(f"Not confirmed: {reasons or 'no gateway is running'}")
