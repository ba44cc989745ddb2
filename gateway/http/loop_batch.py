"""What the sockets bring in one turn of the event loop is read together and answered together.

Reading, computing and writing one request after the other makes each of them begin with cold caches, and wakes the
client for each answer alone. docs/decisions/0063-answers-in-turns.md has what that cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from gateway.http.protocol import GatewayProtocol
    from gateway.http.request_cycle import RequestCycle
    from gateway.request.app import Pending

TOGETHER: Final = 32  # reads; the first of them waits for its answer until the last was computed
LARGE_READ_BYTES: Final = 16 * 1024  # isn't kept waiting, so that reading can be paused before more comes in

_log = structlog.get_logger("gateway.http.loop_batch")


class LoopBatch:
    """Reads that wait to be parsed, and requests that wait to be answered. Both are empty between two callbacks."""

    def __init__(self) -> None:
        self._reads: list[tuple[GatewayProtocol, bytes]] = []
        self._begun: list[tuple[GatewayProtocol, RequestCycle, Pending]] = []
        self._is_due = False  # it runs, or will before the loop waits for sockets again

    def read(self, connection: GatewayProtocol, data: bytes, *, is_alone: bool) -> None:
        """To be parsed in this turn; at once if there is no other connection to wait for."""
        self._reads.append((connection, data))
        if is_alone or len(data) > LARGE_READ_BYTES:
            self.run()
        elif not self._is_due:
            self._make_due(connection)

    def begin(self, connection: GatewayProtocol, exchange: RequestCycle, begun: Pending) -> None:
        """To be answered in this turn."""
        self._begun.append((connection, exchange, begun))
        if not self._is_due:
            self._make_due(connection)

    def _make_due(self, connection: GatewayProtocol) -> None:
        self._is_due = True
        connection.loop.call_soon(self.run)

    def run(self) -> None:
        """Everything that waits. To be called before anything else happens to a connection: it may have sent more."""
        self._is_due = True
        while self._reads or self._begun:
            reads = self._reads[:TOGETHER]
            del self._reads[:TOGETHER]
            for connection, data in reads:
                try:
                    connection.parse(data)
                except Exception:  # noqa: BLE001  (whatever it was, the other connections go on)
                    _log.exception("connection_failed")
                    connection.abort()
            for connection, exchange, begun in self._begun:  # an answer may begin the next request of a pipeline
                try:
                    connection.answer(exchange, begun)
                except Exception:  # noqa: BLE001  (as above)
                    _log.exception("answer_failed")
                    connection.abort()
            self._begun.clear()
        self._is_due = False
