"""Whole answers as they leave the gateway: a status, a block of header lines, a body.

Header lines are joined here and not in the server, because most of them are the same for every answer of an API.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from itertools import count
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from contract.problems import Problem, without_schema
from gateway.models.batch import FileReply
from gateway.routing.routes import Route
from gateway.usage.trial_quota import Reservation
from inference import formats
from inference.formats import Reply

HeaderLine = tuple[bytes, bytes]
Answer = tuple[int, bytes, bytes]
"""Status, header lines each ending with CR LF, body."""

CLOSE: Final = b"connection: close\r\n"
ALLOW_PAGE: Final = ((b"allow", b"GET, HEAD"),)

_NO_DIALECT: Final = "/"  # where a path is below no API
_TEXT: Final = b"text/plain; charset=utf-8"


class Answers:
    """Makes the answers of one worker. `types_url`: the page that explains the codes."""

    def __init__(self, types_url: str) -> None:
        self._types_url = types_url
        self._id_prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    def next_id(self) -> bytes:
        """A request id: the worker's own part, and a number."""
        return b"%b%08x" % (self._id_prefix, next(self._numbers))

    def of_reply(self, reply: Reply, request_id: bytes, lines: bytes) -> Answer:
        """`lines`: what else the API has to say of it. The body of a `FileReply` is not in it."""
        size = reply.spool.size if isinstance(reply, FileReply) else len(reply.body)
        head = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b" % (
            reply.content_type,
            size,
            request_id,
            lines,
        )
        return reply.status, head + header_lines(reply.headers) if reply.headers else head, reply.body

    def of_problem(
        self, problem: Problem, request_id: bytes, below: str, route: Route | None = None, lines: bytes = b""
    ) -> Answer:
        """In the shape that callers of this path, below the API's base, expect."""
        if route is not None and route.hides_schema:
            problem = without_schema(problem)
        body, content_type = formats.refusal(below, problem, request_id.decode(), self._types_url)
        head = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b" % (
            content_type,
            len(body),
            request_id,
            header_lines(problem.headers),
            lines,
        )
        if problem.retry_after_s is not None:
            head += b"retry-after: %d\r\n" % problem.retry_after_s
        return problem.kind.status, head, body

    def of_nobody(self, problem: Problem) -> Answer:
        """A refusal that concerns no API."""
        return self.of_problem(problem, self.next_id(), _NO_DIALECT)

    def refusal(self, code: str, detail: str) -> bytes:
        """A whole HTTP response, for what is refused before it is a request."""
        status, head, body = self.of_nobody(Problem(code, detail))
        return b"".join([STATUS_LINE[status], head, CLOSE, b"\r\n", body])

    def own_page(self, method: str, path: str, *, is_ready: bool) -> Answer:
        """What belongs to the gateway itself and to no API."""
        pages = {"/livez": (200, b"alive\n"), "/readyz": (200, b"ready\n") if is_ready else (503, b"not ready\n")}
        page = pages.get(path)
        if page is None:
            return self.of_nobody(Problem("unknown_path", "Nothing is served at this path."))
        if method not in {"GET", "HEAD"}:
            return self.of_nobody(Problem("method_not_allowed", "This path takes GET.", headers=ALLOW_PAGE))
        status, text = page
        reply = Reply(text, _TEXT, ((b"cache-control", b"no-store"),), status)
        return self.of_reply(reply, self.next_id(), b"")


def header_lines(headers: Iterable[HeaderLine]) -> bytes:
    """Header lines as they go over the network."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def header_pairs(lines: bytes) -> list[HeaderLine]:
    """The same as ASGI has them."""
    pairs = (line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, value in pairs]


def quota_lines(route: Route, reservation: Reservation | None) -> bytes:
    """What every answer of a trial says of its quota."""
    account = route.state.account
    if account is None:
        return b""
    remaining = account.remaining if reservation is None else reservation.remaining
    return b"x-quota-limit: %d\r\nx-quota-remaining: %d\r\n" % (account.limit, remaining)
