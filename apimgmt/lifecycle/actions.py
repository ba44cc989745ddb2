"""What one person may do with one API now, made from the transition table."""

from __future__ import annotations

from dataclasses import dataclass

from apimgmt.actors import Actor
from apimgmt.lifecycle.transitions import TRANSITIONS, refusal
from apimgmt.models import PredictionAPI
from apimgmt.roles import HOLDERS


@dataclass(frozen=True)
class Action:
    """One action on one API for one person: possible now, or why not."""

    verb: str
    is_available: bool
    reason: str


def actions_for(api: PredictionAPI, actor: Actor) -> dict[str, Action]:
    """What this person may do with the API now, for every verb of the transition table but launch."""
    return {verb: _action(api, verb, actor) for verb in TRANSITIONS if verb != "launch"}


def _action(api: PredictionAPI, verb: str, actor: Actor) -> Action:
    permission = TRANSITIONS[verb].permission
    reason = refusal(api, verb)
    if reason is None and not actor.may(permission):
        reason = str(HOLDERS[permission])
    return Action(verb=verb, is_available=reason is None, reason=reason or "")
