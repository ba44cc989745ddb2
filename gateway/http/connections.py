"""All connections of one worker: how many there may be, and the clock that looks over them."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from operator import itemgetter
from typing import Any, Final, Protocol

import structlog

from gateway.http.application import Application
from gateway.http.limits import ConnectionLimits
from gateway.http.loop_batch import BatchedConnection, LoopBatch

TICK_S: Final = 0.5

_log = structlog.get_logger("gateway.http.connections")


class ManagedConnection(BatchedConnection, Protocol):
    """A connection, as far as its manager needs it. `since`: when its present phase began, by the manager's clock."""

    since: float

    @property
    def rank(self) -> tuple[int, float] | None:
        """Who makes room first for a new connection. None: this one waits for the gateway, not for its client."""

    def check_timeouts(self, now: float) -> None:
        """Close it if its client takes too long."""

    def shutdown(self) -> None:
        """Close it, or let the response in progress close it."""


class ConnectionManager:
    """All connections of one worker. `now` is the loop's time at the last tick: exact enough for every limit."""

    def __init__(self, application: Application, limits: ConnectionLimits) -> None:
        self.application = application
        self.limits = limits
        self.batch = LoopBatch()
        self.connections: set[ManagedConnection] = set()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.now = 0.0
        self._full_until = 0.0
        self._set_date()

    async def keep_watch(self) -> None:
        """Run for as long as there may be connections."""
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        while True:
            late = loop.time() - self.now - TICK_S
            self.now = loop.time()
            self._set_date()
            self.batch.run()
            for connection in list(self.connections):
                if late > TICK_S:  # this worker was held up, or asleep: that is no fault of its clients
                    connection.since += late
                self._check(connection)
            await asyncio.sleep(TICK_S)

    def _set_date(self) -> None:
        self.date_line = b"date: %b\r\n" % formatdate(time.time(), usegmt=True).encode()

    def _check(self, connection: ManagedConnection) -> None:
        try:
            connection.check_timeouts(self.now)
        except Exception:  # noqa: BLE001  (whatever it was: there is no other clock for the other connections)
            _log.exception("connection_not_watched")
            self.connections.discard(connection)
            connection.abort()

    def has_room(self) -> bool:
        """Whether one more may come in. At the limit, those that nobody works for make room, the longest first."""
        if len(self.connections) < self.limits.connections:
            return True
        if self.now < self._full_until:
            return False
        self.batch.run()
        ranked = [(rank, one) for one in self.connections if (rank := one.rank) is not None]
        ranked.sort(key=itemgetter(0))
        for _, one in ranked[: max(1, self.limits.connections // 16)]:
            one.abort()
        if not ranked:  # looking through thousands is not for each of a flood of connections
            self._full_until = self.now + TICK_S
        return bool(ranked)

    def shutdown_connections(self) -> None:
        """Close the idle ones, and the others after the response in progress."""
        self.batch.run()  # whoever has sent something is not idle
        for connection in list(self.connections):
            connection.shutdown()
