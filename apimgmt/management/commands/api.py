"""`manage.py api ACTION API_ID [ARG]`: every action of the page, for scripts."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from apimgmt.access.whitelist import networks_in
from apimgmt.actors import Actor
from apimgmt.errors import NeedsConfirmation, Refused
from apimgmt.lifecycle import services
from apimgmt.lifecycle.reconciling import latest_build_id
from apimgmt.management.base import ActorCommand, visible_api, wait_until_confirmed
from apimgmt.management.status import status_document, status_lines
from apimgmt.meaning_changes import version_changes
from apimgmt.models import PredictionAPI


@dataclass(frozen=True)
class Result:
    """What an action has to tell beside the API's new state: as JSON fields and as sentences."""

    fields: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CommandAction:
    """One action. `argument` is its name in refusals, "" if it takes none."""

    run: Callable[[PredictionAPI, str, Actor], Result]
    argument: str = ""
    is_argument_optional: bool = False
    run_confirmed: Callable[[PredictionAPI, str, Actor], Result] | None = None
    """With `--confirm`, where the action may ask for it."""

    def check(self, name: str, argument: str, *, is_confirmed: bool) -> None:
        """Raises `Refused` for a missing or superfluous argument or confirmation."""
        if is_confirmed and self.run_confirmed is None:
            raise Refused(f"{name} takes no --confirm.")
        if argument and not self.argument:
            raise Refused(f"{name} takes no argument.")
        if self.argument and not argument and not self.is_argument_optional:
            raise Refused(f"{name} needs an argument: {self.argument}.")


def _status(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    return Result()


def _plain(service: Callable[..., object]) -> CommandAction:
    def run(api: PredictionAPI, argument: str, actor: Actor) -> Result:
        service(api.pk, actor=actor)
        return Result()

    return CommandAction(run)


def _start(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    services.start_api(api.pk, _version(argument) if argument else None, actor=actor)
    return Result()


def _update(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    try:
        services.update_api(api.pk, _version(argument), actor=actor)
    except NeedsConfirmation as error:
        raise Refused(f"{error} Nothing was changed. If callers are ready for it, add --confirm.") from None
    return Result()


def _update_confirmed(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    number = _version(argument)
    version = api.model.versions.filter(number=number).first()
    changes = version_changes(api.version, version) if version is not None else []
    services.update_api(api.pk, number, actor=actor, confirmed=True)
    return Result({"changes": changes}, changes)


def _version(argument: str) -> int:
    if not (argument.isascii() and argument.isdigit() and len(argument) < 9):
        raise Refused(f"{argument} is not the number of a version.")
    return int(argument)


def _allow(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    added = services.add_networks(api.pk, argument, actor=actor)
    lines = [f"Added {network} to the whitelist." for network in added.added]
    lines += [f"{network} was on the whitelist already." for network in added.known]
    return Result({"added": added.added, "known": added.known}, lines)


def _disallow(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    (network, *others) = networks_in(argument)
    entry = api.whitelist.filter(network=network).first()
    if entry is None or others:
        raise Refused(f"{argument} is not on the whitelist.")
    removed = services.remove_network(api.pk, entry.pk, actor=actor, confirmed=True)
    return Result({"removed": removed}, [f"Removed {removed} from the whitelist."])


def _hide_schema(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    changed = services.describe_api(api.pk, hides_schema=_switch(argument), actor=actor)
    line = "Refusals don't name columns." if changed.hides_schema else "Refusals name the columns that are wrong."
    return Result({"hides_schema": changed.hides_schema}, [line])


def _public_description(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    changed = services.describe_api(api.pk, has_public_description=_switch(argument), actor=actor)
    need = "an allowed address" if changed.has_public_description else "an allowed address and the key"
    line = f"Reading the API's description needs {need}."
    return Result({"has_public_description": changed.has_public_description}, [line])


def _csv_charset(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    changed = services.describe_api(api.pk, csv_charset="" if argument == "none" else argument, actor=actor)
    read = f"read as {changed.csv_charset}" if changed.csv_charset else "recognised or refused"
    return Result({"csv_charset": changed.csv_charset}, [f"CSVs that are no UTF-8 and name no charset are {read}."])


def _switch(argument: str) -> bool:
    if argument not in {"on", "off"}:
        raise Refused("Say on or off.")
    return argument == "on"


def _key(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    return _key_result(services.reveal_key(api.pk, actor=actor))


def _roll_key(api: PredictionAPI, argument: str, actor: Actor) -> Result:
    return _key_result(services.roll_key(api.pk, actor=actor, confirmed=True))


def _key_result(key: str) -> Result:
    return Result({"api_key": key}, [f"API key: {key}"])


ACTIONS: dict[str, CommandAction] = {
    "status": CommandAction(_status),
    "stop": _plain(services.stop_api),
    "start": CommandAction(_start, "the number of a version", is_argument_optional=True),
    "cancel": _plain(services.cancel_api),
    "delete": _plain(services.delete_api),
    "lock": _plain(services.lock_api),
    "unlock": _plain(services.unlock_api),
    "upgrade": _plain(services.upgrade_api),
    "update": CommandAction(_update, "the number of a version", run_confirmed=_update_confirmed),
    "allow": CommandAction(_allow, "a network"),
    "disallow": CommandAction(_disallow, "a network"),
    "hide-schema": CommandAction(_hide_schema, "on or off"),
    "public-description": CommandAction(_public_description, "on or off"),
    "csv-charset": CommandAction(_csv_charset, "a charset, or none"),
    "key": CommandAction(_key),
    "roll-key": CommandAction(_roll_key),
}


class Command(ActorCommand):
    help = "Show or change one prediction API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("action", choices=sorted(ACTIONS))
        parser.add_argument("api_id")
        parser.add_argument(
            "argument",
            nargs="?",
            default="",
            help="allow, disallow: a network; update, start: a version; hide-schema, "
            "public-description: on or off; csv-charset: a charset or none",
        )
        parser.add_argument(
            "--confirm", action="store_true", help="update: callers are ready for other classes, targets or answers"
        )
        parser.add_argument("--wait", action="store_true", help="return once confirmed; if it is not, fail and say why")

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        name, argument = options["action"], options["argument"]
        action = ACTIONS[name]
        action.check(name, argument, is_confirmed=options["confirm"])
        api = visible_api(actor, options["api_id"])
        before = latest_build_id(api.pk)
        run = action.run_confirmed if options["confirm"] and action.run_confirmed else action.run
        result = run(api, argument, actor)
        try:
            if options["wait"]:
                wait_until_confirmed(api.pk, after_build_id=before)
        finally:  # also when it is not confirmed: a rolled key would be lost otherwise
            document = {**status_document(api.pk), **result.fields}
            self.print(document, [*result.lines, *status_lines(api.pk)], as_json=options["json"])
