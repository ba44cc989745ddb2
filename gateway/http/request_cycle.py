"""One request and its answer, as uvicorn has them, without what is the same for most of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from gateway.http.protocol import GatewayProtocol

# What the application finds in a request's scope, beside what ASGI has there.
HEADERS: Final = "gateway.headers"  # as a dict: of equal names the last
BODY: Final = "gateway.body"  # the whole body, if it is here already
BEGUN: Final = "gateway.begun"  # what `Gateway.begin` made of it
ANSWER: Final = "gateway.answer"  # sends a whole answer; false if the client must read earlier ones first


class ClientLeft(OSError):
    """Raised to who sends an answer in parts: nobody reads the next one."""


class LingeringTransport:
    """The transport as uvicorn uses it, with a `close` that lets the client read its answer first."""

    __slots__ = ("close", "get_extra_info", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.close = close


class RequestCycle(RequestResponseCycle):
    """uvicorn's request and answer, with what is the same for most of them in the class: each costs microseconds."""

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    scope: dict[str, Any]  # type: ignore[assignment]  # two entries more than ASGI's, and none that nobody reads
    event: asyncio.Event | None = None

    def __init__(self, connection: GatewayProtocol, scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.connection = connection
        self.scope = scope
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = connection.expect_100_continue
        self.body = bytearray()

    @property
    def transport(self) -> asyncio.Transport:  # type: ignore[override]
        return self.connection.transport

    @property
    def flow(self) -> FlowControl:  # type: ignore[override]
        return self.connection.flow

    @property
    def logger(self) -> logging.Logger:  # type: ignore[override]
        return self.connection.logger

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        return self.connection.server_state.default_headers

    def answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """See `GatewayProtocol.write_answer`."""
        return self.connection.write_answer(self, status, lines, body)

    def on_response(self) -> None:
        self.connection.on_response_complete()

    async def send(self, message: Any) -> None:
        """Raises `ClientLeft` where more is to come."""
        await super().send(message)
        if self.disconnected and message.get("more_body"):
            raise ClientLeft

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]
        """Set while there is something to receive. Made when somebody waits for it, which is seldom."""
        if self.event is None:
            self.event = asyncio.Event()
            if self.body or not self.more_body or self.disconnected or self.response_complete:
                self.event.set()
        return self.event
