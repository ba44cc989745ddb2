"""What the HTTP side knows of the application behind it, and what passes between the two.

A request is *started* by a plain call, which takes it as far as it goes without waiting. Most are then *completed* by
another one. Those that wait for something are *finished* by a coroutine. Whatever a request holds is *released* once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

HeaderLine = tuple[bytes, bytes]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Response = tuple[int, bytes, bytes]
"""Status, header lines each ending with CR LF, body."""

CLOSE: Final = b"connection: close\r\n"  # as the last header line: no further request is answered on the connection


class Request:
    """A request's head, and its body where that is here already.

    `lines` are its headers as they were sent, with names in lower case; of equal names `headers` has the last.
    """

    method: str
    path: str
    lines: list[HeaderLine]
    headers: dict[bytes, bytes]
    peer: str
    body: bytes | None = None


class Pending:
    """A request as far as it went without waiting. `response`: what goes out, once that is known.

    `is_joined`: what completes it is computed for all of its kind that were started in this turn.
    """

    is_waiting = False
    is_joined = False
    response: Response | None = None


class ClientLeft(OSError):
    """Raised to whoever sends a response in parts: nobody reads the next one."""


class Application(Protocol):
    """The gateway, as its HTTP side sees it. `is_draining`: each response asks its client to close the connection."""

    is_draining: bool

    def start(self, request: Request) -> Pending:
        """As far as it goes without waiting."""

    def complete(self, pending: Pending) -> Response:
        """What goes out, by the rules of this moment. Only for what does not wait."""

    async def finish(self, pending: Pending, receive: Receive, send: Send) -> Response | None:
        """Go on with what waits. None: the response was sent in parts, or there is nobody left to send it to."""

    def release(self, pending: Pending) -> None:
        """Give back what the request holds. Does nothing the second time."""

    def refusal(self, code: str, detail: str = "") -> Response:
        """What is answered to something that never became a request."""

    def failure(self, error: Exception) -> Response:
        """What is answered when the application itself failed. The log tells why, with the response's request ID."""
