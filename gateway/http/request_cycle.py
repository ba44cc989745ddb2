"""One request and its response on a connection."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.http.application import (
    Application,
    ClientLeft,
    HeaderLine,
    Message,
    Pending,
    Request,
    Response,
)
from gateway.http.transport import LingeringTransport
from gateway.http.wire import CONTINUE, header_lines

HIGH_WATER_BYTES = 64 * 1024  # of a body that nobody has taken yet; more is left in the kernel


class ResponseWriter(Protocol):
    """A request's connection, as far as its response needs it."""

    transport: LingeringTransport

    def write_response(self, cycle: RequestCycle, response: Response) -> bool:
        """False if the client must read earlier ones first."""

    def write_head(self, cycle: RequestCycle, status: int, lines: bytes) -> None:
        """The first part of a response that is sent in parts."""

    def end_response(self, cycle: RequestCycle) -> None:
        """The last part was written."""

    def fail(self, cycle: RequestCycle, error: Exception) -> None:
        """The fault is ours."""

    def abort(self) -> None:
        """Close without a word."""


class RequestCycle(Request):
    """What most requests have in common stands in the class: each assignment costs a request."""

    is_disconnected = False
    is_waiting_for_continue = False
    more_body = True
    response_started = False
    response_complete = False
    unsent = 0
    """Bytes of a response that is sent in parts which the application has still to give."""
    buffered: bytes | bytearray = b""
    """What came of the body and was not taken yet."""
    _news: asyncio.Event | None = None

    def __init__(
        self,
        connection: ResponseWriter,
        method: str,
        path: str,
        lines: list[HeaderLine],
        headers: dict[bytes, bytes],
        peer: str,
        keep_alive: bool,
    ) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self.lines = lines
        self.headers = headers
        self.peer = peer
        self.keep_alive = keep_alive

    # --- the body ---

    def add_body(self, part: bytes) -> None:
        if not self.buffered:
            self.buffered = part
        elif isinstance(self.buffered, bytearray):
            self.buffered += part
        else:
            self.buffered = bytearray(self.buffered) + part
        if len(self.buffered) > HIGH_WATER_BYTES:
            self.connection.transport.pause_reading()
        self.wake()

    def end_body(self) -> None:
        self.more_body = False
        self.wake()

    def disconnect(self) -> None:
        """For the application its client has left: nothing is counted."""
        self.is_disconnected = True
        self.is_waiting_for_continue = False
        self.wake()

    def wake(self) -> None:
        """Tell whoever waits in `receive` that there is something to receive."""
        if self._news is not None:
            self._news.set()

    async def receive(self) -> Message:
        """The next part of the body, as in ASGI."""
        transport = self.connection.transport
        if self.is_waiting_for_continue:
            self.is_waiting_for_continue = False
            if not transport.is_closing():
                transport.write(CONTINUE)
        while not (self.buffered or self.is_disconnected) and self.more_body:
            transport.resume_reading()
            self._news = asyncio.Event()
            await self._news.wait()
        if self.is_disconnected:
            return {"type": "http.disconnect"}
        part, self.buffered = bytes(self.buffered), b""
        return {"type": "http.request", "body": part, "more_body": self.more_body}

    # --- the response ---

    async def run(self, application: Application, pending: Pending) -> None:
        """Go on with a request that has to wait, up to the end of its response."""
        try:
            response = await application.finish(pending, self.receive, self.send)
            while response is not None and not self.connection.write_response(self, response):
                await self.connection.transport.drained()
        except asyncio.CancelledError:
            self.connection.abort()
            raise
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets a response and the log the trace)
            self.connection.fail(self, error)

    async def send(self, message: Message) -> None:
        """One part of a response, as in ASGI; its length must be announced. Raises `ClientLeft` if more is to come."""
        if not self.is_disconnected:
            await self.connection.transport.drained()
        if self.is_disconnected:
            if message.get("more_body"):
                raise ClientLeft
        elif message["type"] == "http.response.start":
            self._start_response(message)
        else:
            self._continue_response(message)

    def _start_response(self, message: Message) -> None:
        self.response_started = True
        self.unsent = int(dict(message["headers"])[b"content-length"])
        self.connection.write_head(self, message["status"], header_lines(message["headers"]))

    def _continue_response(self, message: Message) -> None:
        body: bytes = message.get("body", b"")
        self.unsent -= len(body)
        is_last = not message.get("more_body", False)
        if self.unsent < 0 or (is_last and self.unsent):
            raise ValueError("a response of another length than it announced")
        self.connection.transport.write(body)
        if is_last:
            self.response_complete = True
            self.connection.end_response(self)
