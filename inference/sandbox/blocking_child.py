"""A confined child for code that waits: the console's, in its web and Celery processes."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from inference.sandbox.child import Work
from inference.sandbox.child_process import (
    END_S,
    POLL_S,
    ChildProcess,
    ProcessEnded,
    ProcessNotStarted,
    ending,
    framed,
    reap,
    result_of,
    send_head,
    unusable,
)
from inference.sandbox.confinement import Confinement
from inference.sandbox.protocol import (
    LENGTH,
    PART_BYTES,
    Request,
    Response,
    message_length,
    ready_decoder,
    response_decoder,
)

LOG_BYTES = 4000

R = TypeVar("R", bound=Response)


class BlockingChild(ChildProcess):
    """For one thread, which must outlive it. What its libraries print is kept: `log_tail`."""

    def __init__(self, work: Work, confinement: Confinement) -> None:
        """Raises `ProcessNotStarted`."""
        self._log = bytearray()
        self._log_pipe, theirs = os.pipe()
        os.set_blocking(self._log_pipe, False)
        try:
            super().__init__(work, confinement, log_fd=theirs)
        except ProcessNotStarted:
            os.close(self._log_pipe)
            raise
        finally:
            os.close(theirs)
        self._is_closed = False

    @property
    def log_tail(self) -> str:
        """The last that it printed."""
        return bytes(self._log[-LOG_BYTES:]).decode("utf-8", "replace")

    def request(self, request: Request[R], *, timeout_s: float, files: Sequence[int] = ()) -> R:
        """Raises `Problem`, `WorkFailed`, `ProcessEnded`, `ProcessNotStarted`, TimeoutError.

        But for the first two the process is gone then.
        """
        try:
            if not self.is_ready:
                self._become_ready(time.monotonic() + timeout_s)
            deadline = time.monotonic() + timeout_s
            self._send(request, files, deadline)
            response = self._receive(response_decoder(type(request)), deadline)
        except BaseException:
            self.close()
            raise
        result: R = result_of(response)
        return result

    def close(self) -> None:
        """End it and wait for its end. Safe to call again."""
        self.kill()
        self._process.wait()
        reap()
        if not self._is_closed:
            self._drain_log()
            os.close(self._log_pipe)
            self._is_closed = True

    def _become_ready(self, deadline: float) -> None:
        try:
            self._note_ready(self._receive(ready_decoder, deadline))
        except ProcessEnded as end:
            raise ProcessNotStarted(f"it ended at its start ({end})") from None
        except TimeoutError:
            raise ProcessNotStarted("it took too long to start") from None

    def _send(self, request: Request[R], files: Sequence[int], deadline: float) -> None:
        head, payload = framed(request)
        self._socket.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            send_head(self._socket, head, files)
            self._socket.sendall(payload)
        except TimeoutError:
            raise
        except OSError:
            raise self._end() from None

    def _receive(self, decoder: msgspec.msgpack.Decoder[Any], deadline: float) -> Any:
        try:
            return decoder.decode(self._exactly(message_length(self._exactly(LENGTH.size, deadline)), deadline))
        except msgspec.DecodeError as error:
            raise unusable(error) from None

    def _exactly(self, size: int, deadline: float) -> bytes:
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            selector.register(self._log_pipe, selectors.EVENT_READ)
            while len(received) < size:
                ready = {key.fd for key, _events in selector.select(max(0.0, deadline - time.monotonic()))}
                if not ready:
                    raise TimeoutError
                if self._log_pipe in ready and not self._drain_log():
                    selector.unregister(self._log_pipe)
                if self._socket.fileno() in ready:
                    received += self._part(size - len(received))
        return bytes(received)

    def _part(self, size: int) -> bytes:
        try:
            part = self._socket.recv(min(size, PART_BYTES))
        except OSError:
            part = b""
        if not part:
            raise self._end()
        return part

    def _drain_log(self) -> bool:
        """Whether more may come."""
        try:
            while part := os.read(self._log_pipe, 65536):
                self._log += part
                del self._log[:-LOG_BYTES]
        except BlockingIOError:
            return True
        return False

    def _end(self) -> ProcessEnded:
        deadline = time.monotonic() + END_S
        while (code := self.exit_code()) is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return ending(code)
