"""Replies and refusals as whole responses: their header lines and their bodies.

Header lines are joined here and not by the HTTP side, because most of them are the same for every response of an API.
"""

from __future__ import annotations

import secrets
from itertools import count
from typing import Final

from contract.problems import Problem, without_schema
from gateway.http.application import Response
from gateway.http.wire import header_lines
from gateway.models.batch import FileReply
from gateway.request.api_request import ApiRequest
from gateway.request.fault_log import FaultLog
from gateway.routing.routes import Route
from gateway.usage.trial_quota import Reservation
from inference import formats
from inference.formats import Reply

ALLOW_PAGE: Final = ((b"allow", b"GET, HEAD"),)

_BELOW_NO_API: Final = "/"
_TEXT: Final = b"text/plain; charset=utf-8"


class Responses:
    """Makes the responses of one worker. `types_url`: the page that explains the codes."""

    def __init__(self, types_url: str) -> None:
        self._types_url = types_url
        self._faults = FaultLog()
        self._id_prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    def next_id(self) -> bytes:
        """A request ID: the worker's own part, and a number."""
        return b"%b%08x" % (self._id_prefix, next(self._numbers))

    def of_request(self, request: ApiRequest, outcome: Reply | Problem) -> Response:
        """What one request to an API is answered."""
        route = request.route
        if isinstance(outcome, Problem):
            lines = _quota_lines(route, None) if request.is_prediction and route.is_trial else b""
            return self.of_problem(outcome, request.request_id, request.below, route, lines)
        lines = request.version_lines if request.is_prediction else b""  # an open page tells nothing of the API
        if request.reservation is not None:
            lines += _quota_lines(route, request.reservation)
        return self.of_reply(outcome, request.request_id, lines, hides_schema=route.hides_schema)

    def of_reply(self, reply: Reply, request_id: bytes, lines: bytes, *, hides_schema: bool = False) -> Response:
        """`lines`: what else the API has to say of it. Of a `FileReply` only the ending is in it."""
        body = reply.body
        if reply.endings is not None:
            body += reply.ending(hides_schema=hides_schema)
        size = len(body) + reply.spool.size if isinstance(reply, FileReply) else len(body)
        head = b"content-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b" % (
            reply.content_type,
            size,
            request_id,
            lines,
        )
        return reply.status, head + header_lines(reply.headers) if reply.headers else head, body

    def of_problem(
        self, problem: Problem, request_id: bytes, below: str, route: Route | None = None, lines: bytes = b""
    ) -> Response:
        """In the shape that callers of this path, below the API's base, expect. A 5xx is logged."""
        if problem.kind.status >= 500:
            self._faults.note(problem, request_id, route.api_id if route is not None else "")
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

    def of_nobody(self, problem: Problem) -> Response:
        """A refusal that concerns no API."""
        return self.of_problem(problem, self.next_id(), _BELOW_NO_API)

    def own_page(self, method: str, path: str, *, is_ready: bool) -> Response:
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


def _quota_lines(route: Route, reservation: Reservation | None) -> bytes:
    """What every response of a trial says of its quota."""
    account = route.state.account
    if account is None:
        return b""
    remaining = account.remaining if reservation is None else reservation.remaining
    return b"x-quota-limit: %d\r\nx-quota-remaining: %d\r\n" % (account.limit, remaining)
