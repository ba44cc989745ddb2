"""A client that keeps calling one API over keep-alive connections, and notes every answer it got and when.

It runs in an event loop: a test's own (`calling`), or one in a thread of its own beside a drill's steps (`load`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit


class Target(Protocol):
    """An API as a caller knows it."""

    @property
    def path(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def body(self) -> bytes: ...


class Answer(NamedTuple):
    """One answer. Times are of `time.time()`: they are compared with the database's. `worker`: whose answer it was."""

    begun: float
    ended: float
    status: int
    worker: str
    body: bytes


@dataclass
class Client:
    """`cut`: requests whose connection ended before the answer was complete; `opened`: connections that were made."""

    url: str
    request: bytes
    pause_s: float = 0.0
    log: list[Answer] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    cut: int = 0
    opened: int = 0
    longest_gap_s: float = 0.0
    _last_answer: float = field(default_factory=time.monotonic)
    _is_stopping: bool = False

    @property
    def answered(self) -> int:
        return self.answers.total()

    @property
    def last_body(self) -> bytes:
        return self.log[-1].body if self.log else b""

    @property
    def refusals(self) -> list[Answer]:
        return [answer for answer in self.log if answer.status != 200]

    def since(self, moment: float) -> list[Answer]:
        """Answers to requests that were begun after that moment."""
        return [answer for answer in self.log if answer.begun > moment]

    async def connection(self) -> None:
        """One keep-alive connection, made again when it ends."""
        host, port = urlsplit(self.url).hostname or "", urlsplit(self.url).port or 0
        while not self._is_stopping:
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            self.opened += 1
            try:
                while not self._is_stopping and await self._call(reader, writer):
                    if self.pause_s:
                        await asyncio.sleep(self.pause_s)
            finally:
                writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; false when the connection is of no more use."""
        begun = time.time()
        try:
            writer.write(self.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(_header(head, b"content-length")))
        except (OSError, asyncio.IncompleteReadError):
            self.cut += 1
            return False
        self._note(Answer(begun, time.time(), int(head[9:12]), _header(head, b"x-request-id")[:12].decode(), body))
        return b"connection: close" not in head

    def _note(self, answer: Answer) -> None:
        now = time.monotonic()
        self.answers[answer.status] += 1
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_answer)
        self._last_answer = now
        self.log.append(answer)

    def stop(self) -> None:
        self._is_stopping = True


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(name + b": ")[2].partition(b"\r\n")[0]


def request_to(api: Target, body: bytes | None = None) -> bytes:
    """The bytes of one prediction request."""
    content = api.body if body is None else body
    head = f"POST {api.path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {api.key}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


@asynccontextmanager
async def calling(
    url: str, api: Target, *, connections: int = 8, body: bytes | None = None, pause_s: float = 0.0
) -> AsyncIterator[Client]:
    """Calls until the block ends, and a little longer: each connection finishes what it began."""
    client = Client(url, request_to(api, body), pause_s)
    tasks = [asyncio.create_task(client.connection()) for _ in range(connections)]
    try:
        yield client
    finally:
        client.stop()
        await asyncio.wait(tasks, timeout=10)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def load(
    url: str, api: Target, *, connections: int = 6, body: bytes | None = None, pause_s: float = 0.005
) -> Iterator[Client]:
    """The same from a thread of its own, at a moderate pace: the drills' machine has other work."""
    client: list[Client] = []
    is_calling, is_over = threading.Event(), threading.Event()

    async def call() -> None:
        async with calling(url, api, connections=connections, body=body, pause_s=pause_s) as made:
            client.append(made)
            is_calling.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(call()), name="load")
    thread.start()
    is_calling.wait()
    try:
        yield client[0]
    finally:
        is_over.set()
        thread.join()
