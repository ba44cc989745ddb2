"""What the database refused, so that it is tried again ever more rarely and meanwhile holds nothing else up."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.db.connection import StatementRefused

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0

K = TypeVar("K", bound=Hashable)


@dataclass
class _Refusal:
    reason: str
    pause_s: float
    retry_at: float


class Refusals(Generic[K]):
    """Things that were refused, by whatever names them."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._refusals: dict[K, _Refusal] = {}

    def __len__(self) -> int:
        return len(self._refusals)

    def __contains__(self, key: K) -> bool:
        return key in self._refusals

    def raise_first(self) -> None:
        """Raise `StatementRefused` with the reason of what was refused first, if anything is."""
        for refusal in self._refusals.values():
            raise StatementRefused(refusal.reason)

    def is_due(self, key: K) -> bool:
        """Whether to try it (again) now."""
        refusal = self._refusals.get(key)
        return refusal is None or self._now() >= refusal.retry_at

    def add(self, key: K, reason: str) -> None:
        """It was refused, perhaps once more: the pause doubles."""
        before = self._refusals.get(key)
        pause_s = FIRST_PAUSE_S if before is None else min(before.pause_s * 2, LONGEST_PAUSE_S)
        self._refusals[key] = _Refusal(reason, pause_s, self._now() + pause_s)

    def discard(self, key: K) -> None:
        """It was accepted, or is of no interest any more."""
        self._refusals.pop(key, None)

    def retain(self, keys: set[K]) -> None:
        """Discard all but these."""
        self._refusals = {key: refusal for key, refusal in self._refusals.items() if key in keys}
