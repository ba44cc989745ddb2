"""What the sockets bring in one turn of the event loop is read together and answered together.

Reading, computing and writing one request after the other makes each of them begin with cold caches, and wakes the
client for each response alone. docs/decisions/0063-answers-in-turns.md has what that cost. Requests that one call of a
model answers together come last (docs/decisions/0140-requests-joined.md): the others need not wait for it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from gateway.http.application import Pending
from gateway.http.request_cycle import RequestCycle

TOGETHER: Final = 32  # reads; the first of them waits for its response until the last was started
LARGE_READ_BYTES: Final = 16 * 1024  # isn't kept waiting, so that reading can be paused before more comes in

_log = structlog.get_logger("gateway.http.loop_batch")


class BatchedConnection(Protocol):
    """A connection, as far as the batch needs it."""

    loop: asyncio.AbstractEventLoop

    def parse(self, data: bytes) -> None:
        """Read requests from what came in, and start them."""

    def complete(self, cycle: RequestCycle, pending: Pending) -> None:
        """Answer a request that waits for nothing."""

    def abort(self) -> None:
        """Close without a word."""


class LoopBatch:
    """Reads that wait to be parsed, and requests that wait to be completed. Both are empty between two callbacks."""

    def __init__(self) -> None:
        self._reads: list[tuple[BatchedConnection, bytes]] = []
        self._started: list[tuple[BatchedConnection, RequestCycle, Pending]] = []
        self._joined: list[tuple[BatchedConnection, RequestCycle, Pending]] = []  # completed after all others
        self._is_due = False  # it runs, or will before the loop waits for sockets again

    def add_read(self, connection: BatchedConnection, data: bytes, *, is_alone: bool) -> None:
        """To be parsed in this turn; at once if there is no other connection to wait for."""
        self._reads.append((connection, data))
        if is_alone or len(data) > LARGE_READ_BYTES:
            self.run()
        elif not self._is_due:
            self._make_due(connection)

    def add_started(self, connection: BatchedConnection, cycle: RequestCycle, pending: Pending) -> None:
        """To be completed in this turn."""
        (self._joined if pending.is_joined else self._started).append((connection, cycle, pending))
        if not self._is_due:
            self._make_due(connection)

    def _make_due(self, connection: BatchedConnection) -> None:
        self._is_due = True
        connection.loop.call_soon(self.run)

    def run(self) -> None:
        """Everything that waits. To be called before anything else happens to a connection: it may have sent more."""
        self._is_due = True
        while self._reads or self._started or self._joined:
            self._parse_reads()
            self._complete(self._started)
            self._complete(self._joined)
        self._is_due = False

    def _parse_reads(self) -> None:
        reads = self._reads[:TOGETHER]
        del self._reads[:TOGETHER]
        for connection, data in reads:
            try:
                connection.parse(data)
            except Exception:  # noqa: BLE001  (whatever it was, the other connections go on)
                _log.exception("connection_failed")
                connection.abort()

    def _complete(self, started: list[tuple[BatchedConnection, RequestCycle, Pending]]) -> None:
        for connection, cycle, pending in started:  # a response may start the next request of a pipeline
            try:
                connection.complete(cycle, pending)
            except Exception:  # noqa: BLE001  (as above)
                _log.exception("response_failed")
                connection.abort()
        started.clear()
