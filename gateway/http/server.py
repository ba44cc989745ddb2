"""The server: accepts connections on a socket that the master made, and drains them when it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from gateway.http.application import Application
from gateway.http.connections import ConnectionManager
from gateway.http.limits import ConnectionLimits
from gateway.http.protocol import GatewayProtocol

# Requests in progress get this long; a connection without one is closed after the first part of it, because a client
# that is about to reuse it then reads "Connection: close" on its response instead of meeting a closed connection.
DRAIN_S: Final = 8.0
IDLE_DRAIN_S: Final = 1.0

_BACKLOG: Final = 2048
_LOOK_S: Final = 0.02


class GatewayServer:
    """Serves until it is told to stop, then drains. Signals are the worker's business.

    Nothing a client says of its address is believed here: that is decided by the application (TRUSTED_PROXIES).
    """

    def __init__(self, application: Application, limits: ConnectionLimits) -> None:
        self.manager = ConnectionManager(application, limits)
        self.is_accepting = asyncio.Event()
        self._application = application
        self._stopping = asyncio.Event()

    async def serve(self, listener: socket.socket) -> None:
        """Returns when all connections are closed, at the latest `DRAIN_S` after `stop`."""
        loop = asyncio.get_running_loop()
        watching = loop.create_task(self.manager.keep_watch())
        server = await loop.create_server(self.make_protocol, sock=listener, backlog=_BACKLOG)
        self.is_accepting.set()
        try:
            await self._stopping.wait()
            server.close()
            await self._drain()
        finally:
            watching.cancel()

    def make_protocol(self) -> GatewayProtocol:
        """For a connection that was accepted."""
        return GatewayProtocol(self.manager, asyncio.get_running_loop())

    def stop(self) -> None:
        self._stopping.set()

    async def _drain(self) -> None:
        """Answer what was started, close the rest, cancel what is left after `DRAIN_S`."""
        self._application.is_draining = True
        loop = asyncio.get_running_loop()
        began = loop.time()
        while self.manager.connections and loop.time() - began < DRAIN_S:
            if loop.time() - began > IDLE_DRAIN_S:
                self.manager.shutdown_connections()
            await asyncio.sleep(_LOOK_S)
        for task in self.manager.tasks:
            task.cancel()
