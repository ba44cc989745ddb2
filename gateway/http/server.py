"""uvicorn as this gateway runs it: its settings, and how it stops."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.config import Config

from gateway.http.connections import ConnectionLimits, ConnectionManager
from gateway.http.protocol import GatewayProtocol
from gateway.request.app import Gateway

# Requests in progress get this long; a connection without one is closed after the first part of it, because a client
# that is about to reuse it then reads "Connection: close" on its answer instead of meeting a closed door.
DRAIN_S: Final = 8.0
IDLE_DRAIN_S: Final = 1.0

_LOOK_S: Final = 0.02
_OTHER_FILES: Final = 512  # descriptors that are no clients': ledgers, database, models' processes, spooled bodies


def make_config(app: Gateway, door: ConnectionManager) -> Config:
    """One process's settings. `proxy_headers` is off: uvicorn would believe any local peer's X-Forwarded-For."""
    return Config(
        app,
        interface="asgi3",
        http=partial(GatewayProtocol, door),  # type: ignore[arg-type]  # uvicorn only calls it
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_S),
    )


class GatewayServer(uvicorn.Server):
    """Serves until `should_exit` is set, then drains. Signals are the worker's business."""

    def __init__(self, app: Gateway, bounds: ConnectionLimits) -> None:
        self.door = ConnectionManager(bounds, app.refusal)
        super().__init__(make_config(app, self.door))
        self._app = app
        self.is_accepting = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._watching = asyncio.create_task(self.door.keep_watch())
        await super().startup(sockets)
        self.is_accepting.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what was begun, close the rest, cancel what is left after `DRAIN_S`."""
        for server in self.servers:
            server.close()
        self._app.is_draining = True
        loop = asyncio.get_running_loop()
        begun = loop.time()
        connections: set[Any] = self.server_state.connections
        while connections and loop.time() - begun < DRAIN_S:
            if loop.time() - begun > IDLE_DRAIN_S:
                self.door.turn.run()  # whoever has sent something is not idle
                _close_idle(connections)
            await asyncio.sleep(_LOOK_S)
        for task in self.server_state.tasks:
            task.cancel()
        self._watching.cancel()


def _close_idle(connections: set[Any]) -> None:
    for connection in list(connections):
        connection.shutdown()  # closes it, or lets the answer in progress close it


def connection_limits(max_body_bytes: int) -> ConnectionLimits:
    """The bounds for this process: no more connections than it may have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ConnectionLimits.connections + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft - _OTHER_FILES, soft // 2)
    return ConnectionLimits(drop_bytes=max_body_bytes, connections=min(ConnectionLimits.connections, room))
