"""A circuit breaker: while the database is silent, nobody waits for it but one probe.

It is for silence alone. A database that refuses connections says so at once, and keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

_PAUSE_S: Final = 0.25

_log = structlog.get_logger("gateway.db.breaker")


class CircuitBreaker:
    """Open from a `trip` until `is_silent`, asked again and again in a task of its own, is false."""

    def __init__(self, is_silent: Callable[[], Awaitable[bool]]) -> None:
        self._is_silent = is_silent
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._probing is not None

    def trip(self) -> None:
        """Somebody waited in vain."""
        if self._probing is None:
            _log.warning("database_silent")
            self._probing = asyncio.create_task(self._probe())

    async def reset(self) -> None:
        """As it was at the beginning."""
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.wait({probing})

    async def _probe(self) -> None:
        while await self._is_silent():  # noqa: ASYNC110  (only asking can tell)
            await asyncio.sleep(_PAUSE_S)
        _log.info("database_answers")
        self._probing = None
