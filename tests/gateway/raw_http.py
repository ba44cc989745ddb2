"""A worker's real HTTP server on a socket of its own, and a client that may send whatever it likes.

The bounds are short enough for a test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.http.limits import ConnectionLimits
from gateway.http.protocol import GatewayProtocol
from gateway.http.server import GatewayServer
from gateway.processes.worker import Worker
from tests.gateway.serving import Api, ended, until

QUICK = ConnectionLimits(
    first_byte_s=1.0, head_s=1.0, keep_alive_s=2.0, body_grace_s=1.0, drop_s=1.5, drop_bytes=2_000_000, connections=64
)


@dataclass
class Answered:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def answer(self) -> Answered:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answered(int(first.split()[1]), headers, body)

    async def is_closed(self) -> bool:
        """Whether the server ends the connection, without another byte."""
        async with asyncio.timeout(60):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


@dataclass
class Served:
    """A worker that accepts connections."""

    worker: Worker
    server: GatewayServer
    port: int

    async def client(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        client = await self.client()
        try:
            yield client
        finally:
            client.writer.close()


@asynccontextmanager
async def serving(worker: Worker, bounds: ConnectionLimits) -> AsyncIterator[Served]:
    server = GatewayServer(worker.app, bounds)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(server.make_protocol, "127.0.0.1", 0)
    watching = asyncio.create_task(server.manager.keep_watch())
    try:
        yield Served(worker, server, listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for connection in list(server.manager.connections):
            connection.abort()
        await ended([watching])


@asynccontextmanager
async def both_ends(served: Served) -> AsyncIterator[tuple[Client, GatewayProtocol]]:
    """A client, and the worker's end of its connection."""
    others = set(served.server.manager.connections)
    async with served.connected() as client:
        [connection] = await until(lambda: served.server.manager.connections - others)
        yield client, connection


def head(api: Api, *lines: str, length: int | None = None, version: str = "1.1", path: str = "") -> bytes:
    first = f"POST {path or api.path} HTTP/{version}"
    usual = ["host: gateway", f"x-api-key: {api.key}", "content-type: application/json"]
    size = [f"content-length: {len(api.body) if length is None else length}"] if length != -1 else []
    return "\r\n".join([first, *usual, *size, *lines, "", ""]).encode()
