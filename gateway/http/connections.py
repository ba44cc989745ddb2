"""All connections of one worker: what one of them may take, and the clock that looks over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import structlog

from gateway.http.loop_batch import LoopBatch
from gateway.http.responses import header_lines

if TYPE_CHECKING:
    from gateway.http.protocol import GatewayProtocol

TICK_S: Final = 0.5

_log = structlog.get_logger("gateway.http.connections")

Refuse = Callable[[str, str], bytes]
"""Makes a whole HTTP response from a code and a detail; it says that the connection is closed."""


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What one connection may take, and how many there may be."""

    head_bytes: int = 32 * 1024
    header_fields: int = 128
    url_bytes: int = 4096
    first_byte_s: float = 5.0
    head_s: float = 10.0
    prompt_s: float = 1.0  # what an honest client needs for its headers
    keep_alive_s: float = 65.0
    body_grace_s: float = 10.0
    body_bytes_per_s: int = 1024
    drop_s: float = 5.0
    drop_bytes: int = 50_000_000
    read_grace_s: float = 30.0
    read_bytes_per_s: int = 64 * 1024
    pipelined: int = 32
    connections: int = 4096


@dataclass
class ConnectionManager:
    """All connections of one worker. `now` is the loop's time at the last tick: exact enough for every bound."""

    bounds: ConnectionLimits
    refuse: Refuse
    connections: set[GatewayProtocol] = field(default_factory=set)
    turn: LoopBatch = field(default_factory=LoopBatch)
    now: float = 0.0
    _full_until: float = 0.0
    _headers: list[tuple[bytes, bytes]] | None = None
    _date_line: bytes = b""

    def date_line(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """What uvicorn says in every answer; it makes the list anew each second."""
        if headers is not self._headers:
            self._headers, self._date_line = headers, header_lines(headers)
        return self._date_line

    async def keep_watch(self) -> None:
        """Run for as long as there may be connections."""
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        while True:
            late = loop.time() - self.now - TICK_S
            self.now = loop.time()
            self.turn.run()
            for connection in list(self.connections):
                if late > TICK_S:  # this worker was held up, or asleep: that is no fault of its clients
                    connection.since += late
                self._look_at(connection)
            await asyncio.sleep(TICK_S)

    def _look_at(self, connection: GatewayProtocol) -> None:
        try:
            connection.look(self.now)
        except Exception:  # noqa: BLE001  (whatever it was: there is no other clock for the other connections)
            _log.exception("connection_not_watched")
            self.connections.discard(connection)
            connection.abort()

    def has_room(self) -> bool:
        """Whether one more may come in. At the limit, those that nobody works for make room, the longest first."""
        if len(self.connections) < self.bounds.connections:
            return True
        if self.now < self._full_until:
            return False
        self.turn.run()
        ranked = [(rank, one) for one in self.connections if (rank := one.rank) is not None]
        ranked.sort(key=itemgetter(0))
        for _, one in ranked[: max(1, self.bounds.connections // 16)]:
            one.abort()
        if not ranked:  # looking through thousands is not for each of a flood of connections
            self._full_until = self.now + TICK_S
        return bool(ranked)
