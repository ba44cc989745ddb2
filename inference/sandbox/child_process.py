"""A work process as its gateway worker sees it: asked one question at a time, killed when something goes wrong.

Spawned, not forked: a fork would inherit the ledgers' locks and sockets. The child has one descriptor of ours, its end
of the socket pair.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from contract.problems import Problem
from contract.settings import PROJECT_DIR
from inference.sandbox.prediction_messages import (
    LENGTH,
    Answer,
    Failed,
    Go,
    Loaded,
    Question,
    Refused,
    Replied,
    Rows,
    decode_answer,
)
from inference.sandbox.prediction_messages import encode as encoded

Approve = Callable[[int], Awaitable[None]]
"""Told how many rows a request has; raises `Problem` if they can't be had."""

# The libraries take 150 MB of address space; a graph is held up to four times while it is loaded.
BASE_MEMORY_BYTES: Final = 1 << 30
MEMORY_PER_FILE_BYTE: Final = 6

_END_S: Final = 1.0


class ProcessEnded(Exception):
    """The process ended, or was ended, before it answered. `str()` says how."""


class ChildProcess:
    """One child. It starts with the first question; after it has ended it can't be used again."""

    def __init__(self, *, readable: Path, memory_bytes: int, file_bytes: int = 0, niceness: int) -> None:
        """Raises `Problem("not_ready")` when no process can be started."""
        try:
            self._channel, theirs = socket.socketpair()
        except OSError as error:
            raise _not_started(error) from None
        self._channel.setblocking(False)
        options = {
            "--socket": theirs.fileno(),
            "--parent": os.getpid(),
            "--memory": memory_bytes,
            "--file-size": file_bytes,
            "--nice": niceness,
            "--readable": readable,
        }
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-E", "-s", "-B", "-m", "inference.sandbox.prediction_child"]
                    + [str(word) for option in options.items() for word in option],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    cwd=PROJECT_DIR,
                    # No variable of the installation reaches the child; its libraries start no threads of their own.
                    env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                )
        except OSError as error:
            self._channel.close()
            raise _not_started(error) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process not in _dying and self._process.poll() is None

    async def ask(
        self, question: Question, *, files: Sequence[int] = (), approve: Approve | None = None
    ) -> Loaded | Replied | Refused | Failed:
        """Raises `ProcessEnded`, and what `approve` raises.

        A caller that gives up in the middle, by a time-out too, ends the process: it can't be told to stop.
        """
        try:
            await self._send(question, files)
            answer = await self._receive()
        except BaseException:
            self.kill()
            raise
        if not isinstance(answer, Rows):
            return answer
        return await self._after_rows(answer, approve)

    async def _after_rows(self, rows: Rows, approve: Approve | None) -> Loaded | Replied | Refused | Failed:
        try:
            if approve is not None:
                await approve(rows.n_rows)
        except BaseException:
            await self._send(Go(is_allowed=False))
            raise
        try:
            await self._send(Go(is_allowed=True))
            answer = await self._receive()
            if isinstance(answer, Rows):
                raise ProcessEnded("it answered out of turn")
            return answer
        except BaseException:
            self.kill()
            raise

    async def _send(self, question: Question, files: Sequence[int] = ()) -> None:
        payload = encoded(question)
        head = LENGTH.pack(len(payload))
        try:
            # The socket is empty between questions, so these few bytes fit without waiting.
            socket.send_fds(self._channel, [head], list(files)) if files else self._channel.sendall(head)
            await asyncio.get_running_loop().sock_sendall(self._channel, payload)
        except OSError:
            raise await self._end() from None

    async def _receive(self) -> Answer:
        (size,) = LENGTH.unpack(await self._exactly(LENGTH.size))
        try:
            return decode_answer(await self._exactly(size))
        except msgspec.DecodeError as error:
            raise ProcessEnded(f"it gave no usable answer ({error})") from None

    async def _exactly(self, size: int) -> bytes:
        loop, received = asyncio.get_running_loop(), bytearray()
        while len(received) < size:
            try:
                part = await loop.sock_recv(self._channel, min(size - len(received), 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise await self._end()
            received += part
        return bytes(received)

    async def _end(self) -> ProcessEnded:
        """How it ended, in words."""
        deadline = asyncio.get_running_loop().time() + _END_S
        while (code := self._process.poll()) is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        if code is None:
            return ProcessEnded("it closed its socket")
        self.kill()  # closes the socket
        return ProcessEnded(signal.Signals(-code).name if code < 0 else f"exit code {code}")

    def kill(self) -> None:
        """Safe to call again. Does not wait: a large process takes a while to leave its memory."""
        self._process.kill()
        self._channel.close()
        _dying.add(self._process)
        reap()


def _not_started(error: OSError) -> Problem:
    return Problem("not_ready", f"This gateway can't start a process now: {error.strerror}.")


_dying: set[subprocess.Popen[bytes]] = set()


def reap() -> None:
    """Take note of the ends of killed processes, so that none stays a zombie. To be called now and then."""
    for process in list(_dying):
        if process.poll() is not None:
            _dying.discard(process)
