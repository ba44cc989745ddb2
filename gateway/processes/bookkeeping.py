"""What a worker does once a second beside its requests, and what of it fails.

Each step is independent of the others: what goes wrong in one is logged, told to the console and to the metrics, and
the others go on. A step is tried again each second; what the database refuses of its work it tries more rarely itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.db.connection import DatabaseAway, NoInterface
from gateway.db.statements.workers import Obstacle

PAUSE_S: Final = 1.0

Step = Callable[[], Awaitable[object]]

_log = structlog.get_logger("gateway.processes.bookkeeping")


@dataclass(frozen=True)
class _Failure:
    reason: str
    since: float


class Bookkeeping:
    """`steps`, by the code under which the console knows what is missing when one fails; the gravest first.

    `on_change` is called when there is another obstacle to tell, or none any more.
    """

    def __init__(self, steps: Mapping[str, Step], on_change: Callable[[], None]) -> None:
        self._steps = steps
        self._on_change = on_change
        self._failures: dict[str, _Failure] = {}

    @property
    def is_failing(self) -> dict[str, bool]:
        """Of each step."""
        return {code: code in self._failures for code in self._steps}

    @property
    def obstacle(self) -> Obstacle | None:
        """The gravest one."""
        for code in self._steps:
            if failure := self._failures.get(code):
                return Obstacle(code, failure.reason, time.monotonic() - failure.since)
        return None

    async def run(self) -> None:
        """Run for as long as the worker lives."""
        while True:
            await asyncio.sleep(PAUSE_S)
            await self.run_once()

    async def run_once(self) -> None:
        for code, step in self._steps.items():
            try:
                await step()
            except (DatabaseAway, NoInterface) as error:
                self._note(code, str(error))
            except Exception:  # noqa: BLE001  (the other steps must go on, and this one again, whatever went wrong once)
                _log.exception("bookkeeping_crashed", step=code)
                self._note(code, "an unexpected error, which is in the worker's log")
            else:
                self._note(code, "")

    def _note(self, code: str, reason: str) -> None:
        """Log what is new: a failure, another reason, the end of it."""
        before = self._failures.get(code)
        if reason == (before.reason if before else ""):
            return
        if reason:
            self._failures[code] = _Failure(reason, before.since if before else time.monotonic())
            _log.error("bookkeeping_fails", step=code, reason=reason)
        else:
            del self._failures[code]
            _log.info("bookkeeping_works_again", step=code)
        self._on_change()
