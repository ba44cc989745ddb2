"""A TCP proxy in front of the test's database that can stop passing bytes on: to its clients the database is frozen.

Connections are still accepted, as the kernel does for a process that was stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class PausingProxy:
    """`url` leads to the database through the proxy."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user, _, _ = self._target.netloc.rpartition("@")
        self.url = self._target._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}").geturl()

    def pause(self) -> None:
        self._passing.clear()

    def resume(self) -> None:
        self._passing.set()

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            await self._passing.wait()
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
            writers.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for each in writers:
                each.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while part := await source.read(65536):
                await self._passing.wait()
                sink.write(part)
                await sink.drain()
        sink.close()


@asynccontextmanager
async def pausing_proxy(url: str) -> AsyncIterator[PausingProxy]:
    proxy = PausingProxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
