"""A client that keeps calling over keep-alive connections and notes every answer it got."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.gateway.serving import Api


@dataclass
class Hammer:
    """`answers` by status; `cut` requests whose connection ended before the answer was complete."""

    url: str
    request: bytes
    answers: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    longest_gap_s: float = 0.0
    bodies: list[tuple[float, int, bytes]] = field(default_factory=list)
    _last_answer: float = field(default_factory=time.monotonic)
    _is_stopping: bool = False

    @property
    def answered(self) -> int:
        return self.answers.total()

    async def connection(self) -> None:
        """One keep-alive connection, made again when it ends."""
        host, port = urlsplit(self.url).hostname or "", urlsplit(self.url).port or 0
        while not self._is_stopping:
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            try:
                while not self._is_stopping and await self._call(reader, writer):
                    pass
            finally:
                writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; false when the connection is of no more use."""
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.cut += 1
            return False
        now = time.monotonic()
        status = int(head[9:12])
        self.answers[status] += 1
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_answer)
        self._last_answer = now
        if status != 200:
            self.bodies.append((now, status, body))
        return b"connection: close" not in head

    def stop(self) -> None:
        self._is_stopping = True


@asynccontextmanager
async def hammering(url: str, api: Api, *, connections: int = 8, body: bytes | None = None) -> AsyncIterator[Hammer]:
    """Calls until the block ends, and a little longer: each connection finishes what it began."""
    content = api.body if body is None else body
    head = f"POST {api.path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {api.key}\r\ncontent-type: application/json\r\n"
    hammer = Hammer(url, f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
    tasks = [asyncio.create_task(hammer.connection()) for _ in range(connections)]
    try:
        yield hammer
    finally:
        hammer.stop()
        await asyncio.wait(tasks, timeout=5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
