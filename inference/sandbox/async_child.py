"""A confined child for an event loop: the gateway's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
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
    result_of,
    send_head,
    unusable,
)
from inference.sandbox.confinement import Confinement
from inference.sandbox.protocol import (
    LENGTH,
    PART_BYTES,
    Decision,
    Request,
    Response,
    RowCount,
    message_length,
    ready_decoder,
    response_decoder,
)

Approve = Callable[[int], Awaitable[None]]
"""Told how many rows a request has; raises `Problem` if they can't be had."""

R = TypeVar("R", bound=Response)


class AsyncChild(ChildProcess):
    """Its requests are made one after the other."""

    def __init__(self, work: Work, confinement: Confinement) -> None:
        """Raises `ProcessNotStarted`."""
        super().__init__(work, confinement)
        self._socket.setblocking(False)
        self._is_in_request = False

    def _close_socket(self) -> None:
        if (
            not self._is_in_request
        ):  # else an event loop would wait for ever for a socket that it does not have any more
            super()._close_socket()

    async def request(self, request: Request[R], *, files: Sequence[int] = (), approve: Approve | None = None) -> R:
        """Raises `Problem`, `WorkFailed`, `ProcessEnded`, `ProcessNotStarted`, and what `approve` raises.

        A caller that gives up in the middle, by a time-out too, ends the process: it can't be told to stop.
        """
        decoder = response_decoder(type(request))
        self._is_in_request = True
        try:
            response = await self._response(request, files, approve, decoder)
        finally:
            self._is_in_request = False
            if not self.is_running:
                self.kill()
        result: R = result_of(response)
        return result

    async def _response(
        self, request: Request[R], files: Sequence[int], approve: Approve | None, decoder: msgspec.msgpack.Decoder[Any]
    ) -> Any:
        try:
            if not self.is_ready:
                await self._become_ready()
            await self._send(request, files)
            response = await self._receive(decoder)
        except BaseException:
            self.kill()
            raise
        if not isinstance(response, RowCount):
            return response
        return await self._after_rows(response.n_rows, approve, decoder)

    async def _become_ready(self) -> None:
        try:
            self._note_ready(await self._receive(ready_decoder))
        except ProcessEnded as end:
            raise ProcessNotStarted(f"it ended at its start ({end})") from None

    async def _after_rows(self, n_rows: int, approve: Approve | None, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
        try:
            if approve is not None:
                await approve(n_rows)
        except BaseException:
            with suppress(ProcessEnded):  # then there is nobody to call off
                await self._send(Decision(is_allowed=False))
            raise
        try:
            await self._send(Decision(is_allowed=True))
            response = await self._receive(decoder)
            if isinstance(response, RowCount):
                raise ProcessEnded("it answered out of turn")
            return response
        except BaseException:
            self.kill()
            raise

    async def _send(self, message: Request[R] | Decision, files: Sequence[int] = ()) -> None:
        head, payload = framed(message)
        try:
            send_head(self._socket, head, files)
            await asyncio.get_running_loop().sock_sendall(self._socket, payload)
        except OSError:
            raise await self._end() from None

    async def _receive(self, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
        try:
            return decoder.decode(await self._exactly(message_length(await self._exactly(LENGTH.size))))
        except msgspec.DecodeError as error:
            raise unusable(error) from None

    async def _exactly(self, size: int) -> bytes:
        loop, received = asyncio.get_running_loop(), bytearray()
        while len(received) < size:
            try:
                part = await loop.sock_recv(self._socket, min(size - len(received), PART_BYTES))
            except OSError:
                part = b""
            if not part:
                raise await self._end()
            received += part
        return bytes(received)

    async def _end(self) -> ProcessEnded:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_S
        while (code := self.exit_code()) is None and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        return ending(code)
