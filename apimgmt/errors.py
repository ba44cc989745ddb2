"""What a person can be refused, and why. `str(error)` is the sentence to show; doors turn `status` into HTTP."""

from __future__ import annotations

from dataclasses import dataclass


class Refused(Exception):
    """An action that was refused. Nothing was changed."""

    status = 409


class TransitionRefused(Refused):
    """The API's status, its lock or the number of options forbids the action."""


class NeedsConfirmation(Refused):
    """The action would cut callers off from a locked API: ask once more, then call again with `confirmed=True`."""


class NotAllowed(Refused):
    """The actor lacks the right. The sentence says who has it."""

    status = 403


@dataclass(frozen=True)
class BadLine:
    """One line of a whitelist text that is no network. `number` counts from 1."""

    number: int
    text: str
    message: str
    suggestion: str | None = None


class WhitelistRefused(Refused):
    """A whitelist text with faults: none of its lines was taken. `text` is what was typed."""

    status = 422

    def __init__(self, message: str, text: str, lines: list[BadLine] | None = None) -> None:
        super().__init__(message)
        self.text = text
        self.lines = lines or []
