"""`manage.py api ACTION API_ID [ARG]`: every deed of the page, for scripts."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from apimgmt.access.whitelist import networks_in
from apimgmt.actors import Actor
from apimgmt.errors import Refused
from apimgmt.lifecycle import services
from apimgmt.lifecycle.reconciling import latest_build_id
from apimgmt.management.base import ActorCommand, status_document, visible_api, wait_until_confirmed
from apimgmt.models import PredictionAPI

Deed = Callable[[PredictionAPI, str, Actor], dict[str, Any]]


def _status(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    return {}


def _verb(service: Callable[..., object]) -> Deed:
    def deed(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
        service(api.pk, actor=actor)
        return {}

    return deed


def _update(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    if not argument.isdigit():
        raise Refused("update takes the number of a version.")
    services.update_api(api.pk, int(argument), actor=actor, confirmed=True)
    return {}


def _allow(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    added = services.add_networks(api.pk, argument, actor=actor)
    return {"added": added.added, "known": added.known}


def _disallow(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    (network, *others) = networks_in(argument)
    entry = api.whitelist.filter(network=network).first()
    if entry is None or others:
        raise Refused(f"{argument} is not on the whitelist.")
    return {"removed": services.remove_network(api.pk, entry.pk, actor=actor, confirmed=True)}


def _hide_schema(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    changed = services.describe_api(api.pk, hides_schema=_switch(argument), actor=actor)
    return {"hides_schema": changed.hides_schema}


def _public_description(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    changed = services.describe_api(api.pk, has_public_description=_switch(argument), actor=actor)
    return {"has_public_description": changed.has_public_description}


def _switch(argument: str) -> bool:
    if argument not in {"on", "off"}:
        raise Refused("Say on or off.")
    return argument == "on"


def _key(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    return {"api_key": services.reveal_key(api.pk, actor=actor)}


def _roll_key(api: PredictionAPI, argument: str, actor: Actor) -> dict[str, Any]:
    return {"api_key": services.roll_key(api.pk, actor=actor, confirmed=True)}


DEEDS: dict[str, Deed] = {
    "status": _status,
    "stop": _verb(services.stop_api),
    "start": _verb(services.start_api),
    "cancel": _verb(services.cancel_api),
    "delete": _verb(services.delete_api),
    "lock": _verb(services.lock_api),
    "unlock": _verb(services.unlock_api),
    "upgrade": _verb(services.upgrade_api),
    "update": _update,
    "allow": _allow,
    "disallow": _disallow,
    "hide-schema": _hide_schema,
    "public-description": _public_description,
    "key": _key,
    "roll-key": _roll_key,
}
WITH_ARGUMENT = {"update", "allow", "disallow", "hide-schema", "public-description"}


class Command(ActorCommand):
    help = "Show or change one prediction API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("action", choices=sorted(DEEDS))
        parser.add_argument("api_id")
        parser.add_argument(
            "argument",
            nargs="?",
            default="",
            help="allow, disallow: a CIDR; update: a version; hide-schema, public-description: on or off",
        )
        parser.add_argument("--wait", action="store_true", help="return once confirmed; fail with the reason if not")

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        action, argument = options["action"], options["argument"]
        if (action in WITH_ARGUMENT) != bool(argument):
            raise Refused(f"{action} takes {'an argument' if action in WITH_ARGUMENT else 'no argument'}.")
        api = visible_api(actor, options["api_id"])
        before = latest_build_id(api.pk)
        told = DEEDS[action](api, argument, actor)
        try:
            if options["wait"]:
                wait_until_confirmed(api.pk, after_build_id=before)
        finally:  # what was done is told also when it is not confirmed: a rolled key would be lost otherwise
            self.print({**status_document(api.pk), **told}, as_json=options["json"])
