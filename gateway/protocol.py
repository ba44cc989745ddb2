"""HTTP as hostile clients speak it: uvicorn's httptools protocol with bounds on what one connection may take.

One clock per worker looks over all connections twice a second, so that a request sets no timers. What is refused here
belongs to no API yet: it is answered, with a request id, and never counted. docs/gateway.md lists the bounds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.answers import CLOSE, header_lines

TICK_S: Final = 0.5
_MINDED: Final = frozenset({b"expect", b"transfer-encoding"})
_VERSIONS: Final = frozenset({"1.1", "1.0"})  # the parser also takes a line without a version, which has no headers

# What the application finds in a request's scope, beside what ASGI has there.
HEADERS: Final = "gateway.headers"  # as a dict: of equal names the last
BODY: Final = "gateway.body"  # the whole body, if it is here already
ANSWER: Final = "gateway.answer"  # sends a whole answer; false if the client must read earlier ones first

_log = structlog.get_logger("gateway.protocol")

Refuse = Callable[[str, str], bytes]
"""Makes a whole HTTP response from a code and a detail; it says that the connection is closed."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one connection may take, and how many there may be."""

    head_bytes: int = 32 * 1024
    header_fields: int = 128
    url_bytes: int = 4096
    first_byte_s: float = 5.0
    head_s: float = 10.0
    prompt_s: float = 1.0  # what an honest client needs for its headers
    keep_alive_s: float = 65.0
    body_grace_s: float = 10.0
    body_bytes_per_s: int = 1024
    drop_s: float = 5.0
    drop_bytes: int = 50_000_000
    read_grace_s: float = 30.0
    read_bytes_per_s: int = 64 * 1024
    pipelined: int = 32
    connections: int = 4096


@dataclass
class Door:
    """All connections of one worker. `now` is the loop's time at the last tick: exact enough for every bound."""

    bounds: Bounds
    refuse: Refuse
    connections: set[GatewayProtocol] = field(default_factory=set)
    now: float = 0.0
    _full_until: float = 0.0
    _headers: list[tuple[bytes, bytes]] | None = None
    _date_line: bytes = b""

    def date_line(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """What uvicorn says in every answer; it makes the list anew each second."""
        if headers is not self._headers:
            self._headers, self._date_line = headers, header_lines(headers)
        return self._date_line

    async def keep_watch(self) -> None:
        """Run for as long as there may be connections."""
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        while True:
            late = loop.time() - self.now - TICK_S
            self.now = loop.time()
            for connection in list(self.connections):
                if late > TICK_S:  # this worker was held up, or asleep: that is no fault of its clients
                    connection.since += late
                self._look_at(connection)
            await asyncio.sleep(TICK_S)

    def _look_at(self, connection: GatewayProtocol) -> None:
        try:
            connection.look(self.now)
        except Exception:  # noqa: BLE001  (whatever it was: there is no other clock for the other connections)
            _log.exception("connection_not_watched")
            self.connections.discard(connection)
            connection.abort()

    def has_room(self) -> bool:
        """Whether one more may come in. At the limit, those that nobody works for make room, the longest first."""
        if len(self.connections) < self.bounds.connections:
            return True
        if self.now < self._full_until:
            return False
        ranked = [(rank, one) for one in self.connections if (rank := one.rank) is not None]
        ranked.sort(key=itemgetter(0))
        for _, one in ranked[: max(1, self.bounds.connections // 16)]:
            one.abort()
        if not ranked:  # looking through thousands is not for each of a flood of connections
            self._full_until = self.now + TICK_S
        return bool(ranked)


class ClientLeft(OSError):
    """Raised to who sends an answer in parts: nobody reads the next one."""


class _Refused(Exception):
    """Raised in a callback of the parser; `feed_data` then raises the parser's own error."""


class _LastBody:
    """What a parser tells of a body whose head was parsed by another. What comes behind it is no request any more."""

    def __init__(self, connection: GatewayProtocol) -> None:
        self._connection = connection

    def on_body(self, body: bytes) -> None:
        if not self._connection.is_deaf:
            self._connection.on_body(body)

    def on_message_complete(self) -> None:
        if not self._connection.is_deaf:
            self._connection.on_message_complete()
            self._connection.hear_no_more()


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Where headers behind a chunked body go: nobody checks those, so nobody may see them."""

    def append(self, item: tuple[bytes, bytes]) -> None:
        """Forget it."""


class _Exit:
    """The transport as uvicorn uses it, with a `close` that lets the client read its answer first."""

    __slots__ = ("close", "get_extra_info", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.close = close


class _Exchange(RequestResponseCycle):
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


class _Begun:
    """A coroutine that was begun outside a task and awaits something, or failed: a task can await the rest of it."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Any, error: Exception | None) -> None:
        self._coroutine = coroutine
        self._awaited = [] if error else [awaited]
        self._error = error

    def __await__(self) -> _Begun:
        return self

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        if self._error is not None:
            raise self._error
        return self._awaited.pop() if self._awaited else self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._awaited.clear()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()


class GatewayProtocol(HttpToolsProtocol):
    """One connection. `since` is when its present phase began: head, body, answer, idle, or leaving."""

    cycle: _Exchange
    pipeline: deque[tuple[_Exchange, Any]]  # type: ignore[assignment]

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.since = door.now
        self._door = door
        self._bounds = door.bounds
        self._socket: asyncio.Transport
        self._in_head = False
        self._unclaimed = 0  # bytes of the present read that may belong to the next message's head
        self._head_bytes = 0
        self._is_head_bytes_exact = True
        self._received = 0  # bytes since `since`
        self._body_bytes = 0
        self._refusal = ("malformed_request", "")
        self.is_deaf = False  # what still comes in is thrown away
        self._is_leaving = False  # the last answer is sent; the client may still send and read
        self._has_eof = False
        self._unread = 0  # bytes of the present answer, at `since`
        self._is_collecting = False  # requests of the present read are answered once it is parsed
        self._next: _Exchange | None = None
        self._exit: _Exit
        self._answering: _Exchange  # one at a time: what is pipelined waits

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._socket = transport
        self._exit = _Exit(transport, self._close)
        self.transport = self._exit  # type: ignore[assignment]  # all that uvicorn uses of it
        has_room = self._door.has_room()
        self._door.connections.add(self)
        if not has_room:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.connections.discard(self)
        self.is_deaf = True
        super().connection_lost(exc)
        # A connection is part of circles, and would stay in memory, with all it holds, until the collector comes.
        self._exit.close = self._socket.close
        self._forget()
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle = self._answering = _NO_EXCHANGE

    def _forget(self) -> None:
        """Let go of a request that was answered: its connection may be idle for a long time."""
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not self.pipeline and not self._in_head:
            cycle.body = bytearray()
            cycle.scope = _NO_SCOPE
            self.headers, self.url = _NO_TRAILERS, b""

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn returns nothing, which closes at once
        """A client that has finished sending still reads the answer to what it sent."""
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body or self._in_head:
            return False
        self._has_eof = True
        self.hear_no_more()
        return True

    def abort(self) -> None:
        """Close without a word, whatever is still to be sent."""
        self.is_deaf = True
        self._socket.abort()

    def shutdown(self) -> None:
        """Part of draining: a request whose first byte was read is still answered."""
        if not self._in_head and not self._is_leaving:
            super().shutdown()

    def _close(self) -> None:
        if self.is_deaf or (self.cycle is not None and self.cycle.more_body):
            self._leave()
        else:
            self._socket.close()

    def _leave(self) -> None:
        """Say that nothing more will be sent, and drop what comes until the client closes.

        Closing while the client sends would make the kernel reset the connection, and the answer would be lost.
        """
        self.is_deaf = self._is_leaving = True
        self.since, self._received = self._door.now, 0
        if self._has_eof:
            self._socket.close()
            return
        self.flow.resume_reading()
        if not self._socket.is_closing():
            self._socket.write_eof()

    def hear_no_more(self) -> None:
        """The requests so far are the last ones."""
        self.is_deaf = True
        self._in_head = False
        if self.cycle is not None:
            self.cycle.keep_alive = False

    # --- what comes in ---

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self._received += size
        if self.is_deaf:
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
        self._answer_collected()

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
        if len(headers) >= self._bounds.header_fields:
            self._refusal = "headers_too_large", f"A request may have at most {self._bounds.header_fields} headers."
            raise _Refused
        headers.append((name.lower(), value))

    def _mind(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = self.expect_100_continue or value == b"100-continue"
        elif name == b"transfer-encoding" and value != b"chunked":
            # The parser takes any list that ends so, and leaves the rest of it to us.
            raise self._refused("The only Transfer-Encoding that is read is chunked.")

    def on_headers_complete(self) -> None:
        if self._head_bytes > self._bounds.head_bytes or not self._is_head_bytes_exact:
            self._check_head()
        if len(self.url) > self._bounds.url_bytes:
            self._refusal = "headers_too_large", f"The path and query may have at most {self._bounds.url_bytes} bytes."
            raise _Refused
        if len(self.pipeline) >= self._bounds.pipelined:
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
        path = httptools.parse_url(self.url).path.decode("ascii")
        scope = {
            "type": "http",
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "headers": self.headers,
            "client": self.client,
            HEADERS: headers,
            ANSWER: self._answer,
        }
        previous = self.cycle
        keep_alive = version == "1.1" and self.parser.should_keep_alive()
        self.cycle = cycle = _Exchange(self, scope, keep_alive=keep_alive)
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
        self._leave()

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

    def _start(self, cycle: _Exchange) -> None:
        if self._is_collecting:
            self._next = cycle
        else:  # called from the task of an earlier request
            self._answering = cycle
            super()._start_asgi_task(cycle, self.app)

    def _answer_collected(self) -> None:
        """Begin what was parsed; each answer may let the next of a pipeline begin."""
        while (cycle := self._next) is not None:
            self._next = None
            if cycle.disconnected:  # something malformed in the same read was answered in its place
                cycle.response_complete = True
                continue
            self._answering = cycle
            if not cycle.more_body:
                cycle.scope[BODY] = bytes(cycle.body)
            self._begin(cycle)
        self._is_collecting = False

    def _begin(self, cycle: _Exchange) -> None:
        """Run a request until it awaits something; most never do, and a task for each would cost as much as its checks.

        Only what must wait goes on in a task. Up to there nothing may ask for the current task, as timeouts do.
        """
        request: Any = self.app(cycle.scope, cycle.receive, cycle.send)
        awaited, fault = None, None
        try:
            awaited = request.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001  (uvicorn logs it and answers 500, as for one that fails in its task)
            fault = error
        rest = _Begun(request, awaited, fault)
        super()._start_asgi_task(cycle, lambda scope, receive, send: rest)

    def _answer(self, status: int, lines: bytes, body: bytes) -> bool:
        """What uvicorn's `send` does with the two messages of an answer, in one go."""
        cycle = self._answering
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
        date = self._door.date_line(cycle.default_headers)
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
        elif self.is_deaf or (self.cycle.more_body and self._is_rest_unbounded()):
            self._leave()

    def _is_rest_unbounded(self) -> bool:
        """Whether the rest of a refused body is chunked: the parser would keep its trailers in memory."""
        return any(name == b"transfer-encoding" for name, _ in self.cycle.scope["headers"])


_NO_TRAILERS: Final = _NoTrailers()
_NO_EXCHANGE: Final[Any] = None
_NO_SCOPE: Final[Any] = {"headers": []}  # of a request that was answered; nobody changes it
