"""HTTP as hostile clients speak it: uvicorn's httptools protocol with bounds on what one connection may take.

One clock per worker looks over all connections twice a second, so that a request sets no timers. What is refused here
belongs to no API yet: it is answered, with a request id, and never counted. docs/gateway.md lists the bounds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.http.connections import ConnectionManager
from gateway.http.request_cycle import ANSWER, BEGUN, BODY, HEADERS, LingeringTransport, RequestCycle
from gateway.http.responses import CLOSE

if TYPE_CHECKING:
    from gateway.request.app import Gateway, Pending

_MINDED: Final = frozenset({b"expect", b"transfer-encoding"})
_VERSIONS: Final = frozenset({"1.1", "1.0"})  # the parser also takes a line without a version, which has no headers

_log = structlog.get_logger("gateway.http.protocol")


class _Refused(Exception):
    """Raised in a callback of the parser; `feed_data` then raises the parser's own error."""


class _LastBody:
    """What a parser tells of a body whose head was parsed by another. What comes behind it is no request any more."""

    def __init__(self, connection: GatewayProtocol) -> None:
        self._connection = connection

    def on_body(self, body: bytes) -> None:
        if not self._connection.is_read_closed:
            self._connection.on_body(body)

    def on_message_complete(self) -> None:
        if not self._connection.is_read_closed:
            self._connection.on_message_complete()
            self._connection.hear_no_more()


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Where headers behind a chunked body go: nobody checks those, so nobody may see them."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forget it."""


class GatewayProtocol(HttpToolsProtocol):
    """One connection. `since` is when its present phase began: head, body, answer, idle, or leaving."""

    cycle: RequestCycle
    pipeline: deque[tuple[RequestCycle, Any]]  # type: ignore[assignment]

    def __init__(
        self,
        door: ConnectionManager,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.since = door.now
        self._door = door
        self._bounds = door.bounds
        self._most_headers = door.bounds.header_fields
        self._socket: asyncio.Transport
        self._in_head = False
        self._unclaimed = 0  # bytes of the present read that may belong to the next message's head
        self._head_bytes = 0
        self._is_head_bytes_exact = True
        self._received = 0  # bytes since `since`
        self._body_bytes = 0
        self._refusal = ("malformed_request", "")
        self.is_read_closed = False  # what still comes in is thrown away
        self._is_leaving = False  # the last answer is sent; the client may still send and read
        self._has_eof = False
        self._unread = 0  # bytes of the present answer, at `since`
        self._is_collecting = False  # requests of the present read are answered once it is parsed
        self._next: RequestCycle | None = None
        self._in_task: RequestCycle | None = None  # the request that went on in a task last
        self._exit: LingeringTransport
        self._gateway = cast("Gateway", config.loaded_app)
        self._turn = door.turn

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._socket = transport
        self._exit = LingeringTransport(transport, self._close)
        self.transport = self._exit  # type: ignore[assignment]  # all that uvicorn uses of it
        has_room = self._door.has_room()
        self._door.connections.add(self)
        if not has_room:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._turn.run()
        self._door.connections.discard(self)
        self.is_read_closed = True
        if self._in_task is not None:
            self._in_task.disconnected = True  # uvicorn tells the last of a pipeline only
            self._in_task.message_event.set()
            self._in_task = None
        super().connection_lost(exc)
        # A connection is part of circles, and would stay in memory, with all it holds, until the collector comes.
        self._exit.close = self._socket.close
        self._forget()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle = _NO_EXCHANGE

    def _forget(self) -> None:
        """Let go of a request that was answered: its connection may be idle for a long time."""
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not self.pipeline and not self._in_head:
            cycle.body = bytearray()
            cycle.scope = _NO_SCOPE
            self._in_task = None
            self.headers, self.url = _NO_TRAILERS, b""

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn returns nothing, which closes at once
        """A client that has finished sending still reads the answer to what it sent."""
        self._turn.run()
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body or self._in_head:
            return False
        self._has_eof = True
        self.hear_no_more()
        return True

    def abort(self) -> None:
        """Close without a word, whatever is still to be sent."""
        self.is_read_closed = True
        self._socket.abort()

    def shutdown(self) -> None:
        """Part of draining: a request whose first byte was read is still answered."""
        if not self._in_head and not self._is_leaving:
            super().shutdown()

    def _close(self) -> None:
        if self.is_read_closed or (self.cycle is not None and self.cycle.more_body):
            self._lingering_close()
        else:
            self.is_read_closed = True  # what was read meanwhile may still wait for its turn
            self._socket.close()

    def _lingering_close(self) -> None:
        """Say that nothing more will be sent, and drop what comes until the client closes.

        Closing while the client sends would make the kernel reset the connection, and the answer would be lost.
        """
        self.is_read_closed = self._is_leaving = True
        self.since, self._received = self._door.now, 0
        if self._has_eof:
            self._socket.close()
            return
        self.flow.resume_reading()
        if not self._socket.is_closing():
            self._socket.write_eof()

    def hear_no_more(self) -> None:
        """The requests so far are the last ones."""
        self.is_read_closed = True
        self._in_head = False
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        self._turn.read(self, data, is_alone=len(self._door.connections) == 1)

    def parse(self, data: bytes) -> None:
        """The turn of what was read has come."""
        size = len(data)
        self._received += size
        if self.is_read_closed:
            return
        self._unclaimed = size
        if self._in_head:
            self._head_bytes += size
        self._is_collecting = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(*self._refusal)
        if self._in_head:
            if self._head_bytes > self._bounds.head_bytes:
                self._refuse(*self._too_long())
        elif self._received > HIGH_WATER_LIMIT:
            self._check_framing()
        self._begin_next()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = True
        self._is_head_bytes_exact = self._unclaimed > 0
        self._head_bytes = self._unclaimed
        self.since = self._door.now

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self.headers
        if len(headers) >= self._most_headers:
            self._refusal = "headers_too_large", f"A request may have at most {self._most_headers} headers."
            raise _Refused
        headers.append((name.lower(), value))

    def _mind(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = self.expect_100_continue or value == b"100-continue"
        elif name == b"transfer-encoding" and value != b"chunked":
            # The parser takes any list that ends so, and leaves the rest of it to us.
            raise self._refused("The only Transfer-Encoding that is read is chunked.")

    def on_headers_complete(self) -> None:
        bounds = self._bounds
        if self._head_bytes > bounds.head_bytes or not self._is_head_bytes_exact:
            self._check_head()
        if len(self.url) > bounds.url_bytes:
            self._refusal = "headers_too_large", f"The path and query may have at most {bounds.url_bytes} bytes."
            raise _Refused
        if len(self.pipeline) >= bounds.pipelined:
            raise _Refused
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            raise self._refused("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        headers = dict(self.headers)
        if not _MINDED.isdisjoint(headers):
            for name, value in self.headers:
                self._mind(name, value.strip().lower())
        self._in_head = False
        self.since = self._door.now
        self._received = self._body_bytes = 0
        self._take(version, headers)
        self.headers = _NO_TRAILERS
        if self.expect_100_continue:
            self._mind_expectation()

    def _take(self, version: str, headers: dict[bytes, bytes]) -> None:
        """As uvicorn does it, without what nobody here asks for: queries, root paths, upgrades, its own limits."""
        scope = {
            "type": "http",
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "path": _path(self.url),
            "headers": self.headers,
            "client": self.client,
            HEADERS: headers,
        }
        previous = self.cycle
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        self.cycle = cycle = RequestCycle(self, scope, keep_alive=keep_alive)
        if previous is None or previous.response_complete:
            self._start(cycle)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        self._body_bytes += len(body)
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        if cycle.event is not None:
            cycle.event.set()

    def on_message_complete(self) -> None:
        self._unclaimed = 0  # a message that begins in the same read began somewhere behind its start
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:  # the rest of a refused body was read and dropped: the connection is free again
            self.since = self._door.now
        elif cycle.event is not None:
            cycle.event.set()

    def _mind_expectation(self) -> None:
        """A client that is refused before "100 Continue" does not send its body: only a new connection is clear."""
        self.cycle.keep_alive = False
        if self.cycle.scope["http_version"] == "1.0":  # knows no such thing, and sends its body anyway
            self.cycle.waiting_for_100_continue = False

    def _decline_upgrade(self, rest: bytes) -> None:
        """No other protocol is spoken here, and the request itself is answered, as the last one.

        The parser ends such a request with its headers. Its body follows all the same: some clients ask for HTTP/2 in
        this way whatever they send.
        """
        framing = [line for line in self.cycle.scope["headers"] if line[0] in {b"content-length", b"transfer-encoding"}]
        if not framing:
            self.hear_no_more()
            return
        self.cycle.keep_alive = False
        self.cycle.more_body = True
        self.parser = httptools.HttpRequestParser(_LastBody(self))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        try:
            with suppress(httptools.HttpParserUpgrade):  # of what comes behind the body: nobody reads that
                self.parser.feed_data(b"POST / HTTP/1.1\r\n" + head + b"\r\n" + rest)
        except httptools.HttpParserError:
            self._refuse(*self._refusal)

    def _refused(self, detail: str) -> _Refused:
        self._refusal = ("malformed_request", detail)
        return _Refused()

    def _check_head(self) -> None:
        """With the head complete, its size is known for certain."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._bounds.head_bytes:
            self._refusal = self._too_long()
            raise _Refused

    def _too_long(self) -> tuple[str, str]:
        return "headers_too_large", f"The request line and headers may have at most {self._bounds.head_bytes} bytes."

    def _check_framing(self) -> None:
        """Chunk headers and trailers count nowhere else, and the parser keeps an unfinished trailer in memory."""
        framing = self._received - self._body_bytes
        cycle = self.cycle
        if cycle is None or not cycle.more_body or cycle.response_complete:
            return
        if framing > self._body_bytes + self._bounds.head_bytes:
            self._refuse("malformed_request", "The chunks of the body have more framing than content.")

    # --- refusing ---

    def _refuse(self, code: str, detail: str = "") -> None:
        """Answer for the gateway itself and leave; answers that are under way come first and are then the last."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._in_head or self.pipeline or not cycle.more_body:
                self.hear_no_more()
                return
            if cycle.response_started:
                self.abort()
                return
            cycle.disconnected = True  # for the application its client has left: nothing is counted
            cycle.waiting_for_100_continue = False
            if cycle.event is not None:
                cycle.event.set()
        self._in_head = False
        self._socket.write(self._door.refuse(code, detail))
        self._lingering_close()

    def look(self, now: float) -> None:
        """Twice a second: has this connection taken too long over what it is doing?"""
        waited, cycle, bounds = now - self.since, self.cycle, self._bounds
        if self._socket.is_closing():
            if waited > bounds.read_grace_s:
                self._socket.abort()
        elif self._is_leaving:
            if waited > bounds.drop_s or self._received > bounds.drop_bytes:
                self.abort()
        elif self._in_head:
            if waited > bounds.head_s:
                self._refuse("request_timeout", f"The headers were not complete after {bounds.head_s:g} seconds.")
        elif cycle is None:
            if waited > bounds.first_byte_s:
                self.abort()
        elif not cycle.response_complete:
            self._look_at_request(now, waited)
        elif cycle.scope is not _NO_SCOPE:
            self._forget()
        elif cycle.more_body:
            if waited > bounds.drop_s or self._received > bounds.drop_bytes:
                self.abort()
        elif waited > bounds.keep_alive_s:
            self.abort()

    def _look_at_request(self, now: float, waited: float) -> None:
        if self.cycle.more_body and not self.cycle.response_started:
            if self.flow.read_paused:
                self.since = now  # it waits for us
                self._received = 0
                self._body_bytes = 0
            elif waited > self._bounds.body_grace_s and self._received < waited * self._bounds.body_bytes_per_s:
                rate = self._bounds.body_bytes_per_s
                self._refuse("request_timeout", f"The body came in at less than {rate} bytes a second.")
            return
        unwritten = self._socket.get_write_buffer_size()
        unread = unwritten + self.cycle.expected_content_length  # what the application has still to give included
        if unwritten == 0 or unread > self._unread:  # the client waits for us, or this is another answer
            self.since, self._unread = now, unread
        elif waited > self._bounds.read_grace_s:
            if self._unread - unread < waited * self._bounds.read_bytes_per_s:  # the client hardly reads its answer
                self.abort()
            self.since, self._unread = now, unread

    @property
    def rank(self) -> tuple[int, float] | None:
        """Who makes room first for a new connection. None: this one waits for the gateway, not for its client.

        First who has had his last answer or does not get to the point, then the idle ones, then who has just begun.
        """
        cycle = self.cycle
        if self._is_leaving:
            return 0, self.since
        if self._in_head:
            return (0 if self._door.now - self.since > self._bounds.prompt_s else 2), self.since
        if cycle is None or cycle.response_complete:
            return 1, self.since
        return None

    # --- answering ---

    def _start(self, cycle: RequestCycle) -> None:
        self._next = cycle
        if not self._is_collecting:  # the answer to an earlier request lets it begin
            self._begin_next()

    def _begin_next(self) -> None:
        """Begin what was parsed. What has to wait goes on in a task, all other requests are answered in this turn."""
        self._is_collecting = False
        cycle, self._next = self._next, None
        if cycle is None:
            return
        if cycle.disconnected:  # something malformed in the same read was answered in its place
            cycle.response_complete = True
            return
        if not cycle.more_body:
            cycle.scope[BODY] = bytes(cycle.body)
        try:
            begun = self._gateway.begin(cycle.scope)
        except Exception:  # noqa: BLE001  (as in `answer`)
            self._fail(cycle)
            return
        if begun.is_waiting:
            self._go_on(cycle, begun)
        else:
            self._turn.begin(self, cycle, begun)

    def _go_on(self, cycle: RequestCycle, begun: Pending) -> None:
        cycle.scope[BEGUN] = begun
        cycle.scope[ANSWER] = cycle.answer
        self._in_task = cycle
        super()._start_asgi_task(cycle, self.app)

    def answer(self, cycle: RequestCycle, begun: Pending) -> None:
        """The turn of a request that did not have to wait has come."""
        try:
            if cycle.disconnected:  # something malformed came in the same turn and was answered in its place
                return
            if not cycle.answer(*self._gateway.finish(begun)):
                self._go_on(cycle, begun)
        except Exception:  # noqa: BLE001  (whatever it was, the client gets an answer and the log the trace)
            self._fail(cycle)
        finally:
            self._gateway.leave(begun)

    def _fail(self, cycle: RequestCycle) -> None:
        """The fault is ours: 500, and no further request."""
        _log.exception("request_failed")
        if cycle.response_started:
            self.abort()
            return
        cycle.response_started = cycle.response_complete = True
        self.cycle, self._in_head = cycle, False
        self.pipeline.clear()
        self._socket.write(self._door.refuse("internal_error", ""))
        self._lingering_close()

    def write_answer(self, cycle: RequestCycle, status: int, lines: bytes, body: bytes) -> bool:
        """What uvicorn's `send` does with the two messages of an answer, in one go.

        False if the client must read earlier ones first.
        """
        if self.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        if lines.endswith(CLOSE):
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines += CLOSE
        if cycle.scope["method"] == "HEAD":
            body = b""
        cycle.response_started = cycle.response_complete = True
        date = self._door.date_line(self.server_state.default_headers)
        self.transport.write(b"%b%b%b\r\n%b" % (STATUS_LINE[status], date, lines, body))
        if cycle.event is not None:
            cycle.event.set()
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
        return True

    # --- between requests ---

    def on_response_complete(self) -> None:
        """As uvicorn's own, without a timer for each request."""
        self.server_state.total_requests += 1
        if self._is_leaving or self.transport.is_closing():
            return
        if not self._in_head:
            self.since, self._received = self._door.now, 0
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start(self.pipeline.pop()[0])
        elif self.is_read_closed or (self.cycle.more_body and self._is_rest_unbounded()):
            self._lingering_close()

    def _is_rest_unbounded(self) -> bool:
        """Whether the rest of a refused body is chunked: the parser would keep its trailers in memory."""
        return any(name == b"transfer-encoding" for name, _ in self.cycle.scope["headers"])


@lru_cache(maxsize=256)  # times 20 KB at most: a URL of 4 KB, and a path that may need four bytes a character
def _path(url: bytes) -> str:
    """Of a request line. Raises httptools' own error, as the parser does."""
    path = httptools.parse_url(url).path.decode("ascii")
    return unquote(path) if "%" in path else path


_NO_TRAILERS: Final = _NoTrailers()
_NO_EXCHANGE: Final[Any] = None
_NO_SCOPE: Final[Any] = {"headers": []}  # of a request that was answered; nobody changes it
