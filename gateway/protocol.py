"""HTTP as hostile clients speak it: uvicorn's httptools protocol with bounds on what one connection may take.

One clock per worker looks over all connections twice a second, so that a request sets no timers. What is refused here
belongs to no API yet: it is answered, with a request id, and never counted. docs/gateway.md lists the bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

TICK_S: Final = 0.5
_MINDED: Final = frozenset({b"expect", b"transfer-encoding"})
_VERSIONS: Final = frozenset({"1.1", "1.0"})  # the parser also takes a line without a version, which has no headers

# What the application finds in a request's scope, beside what ASGI has there.
BODY: Final = "gateway.body"  # the whole body, if it is here already
ANSWER: Final = "gateway.answer"  # sends a whole answer; false if the client must read earlier ones first

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
    write_stall_s: float = 30.0
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
                connection.look(self.now)
            await asyncio.sleep(TICK_S)

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
    """The transport as uvicorn uses it, with a `close` that lets the client read its answer first.

    Between `hold` and `release` what is written is collected, and leaves in one piece: uvicorn writes the head and the
    body of an answer apart, and each is a system call, a packet, and a waking of the client.
    """

    __slots__ = ("_held", "_send", "close", "get_extra_info", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self._send = transport.write
        self._held: list[bytes] = []
        self.write: Callable[[bytes], None] = self._send
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.close = close

    def hold(self) -> None:
        self.write = self._held.append

    def release(self) -> None:
        self.write = self._send
        if self._held:
            self._send(b"".join(self._held))
            self._held.clear()


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine that was begun outside a task and awaits something: a task can go on with it."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = [awaited]

    def send(self, value: Any) -> Any:
        return self._awaited.pop() if self._awaited else self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._awaited.clear()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("only a task runs this")


class GatewayProtocol(HttpToolsProtocol):
    """One connection. `since` is when its present phase began: head, body, answer, idle, or leaving."""

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
        self._unwritten = 0
        self._is_collecting = False  # requests of the present read are answered once it is parsed
        self._next: tuple[RequestResponseCycle, Any] | None = None
        self._answering: RequestResponseCycle  # one at a time: what is pipelined waits
        self._exit: _Exit

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

    def _forget(self) -> None:
        """Let go of a request that was answered: its connection may be idle for a long time."""
        cycle = self.cycle
        if cycle is not None and cycle.response_complete and not self.pipeline and not self._in_head:
            cycle.body = bytearray()
            cycle.scope = self.scope = _NO_SCOPE
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
        self._exit.release()
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
        self._exit.release()
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
        super().on_message_begin()
        self._in_head = True
        self._is_head_bytes_exact = self._unclaimed > 0
        self._head_bytes = self._unclaimed
        self.since = self._door.now

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in _MINDED:
            self._mind(name, value.strip().lower())
        headers = self.headers
        if len(headers) >= self._bounds.header_fields:
            self._refusal = "headers_too_large", f"A request may have at most {self._bounds.header_fields} headers."
            raise _Refused
        headers.append((name, value))

    def _mind(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.expect_100_continue = self.expect_100_continue or value == b"100-continue"
        elif value != b"chunked":  # the parser takes any list that ends so, and leaves the rest of it to us
            raise self._refused("The only Transfer-Encoding that is read is chunked.")

    def on_headers_complete(self) -> None:
        if self._head_bytes > self._bounds.head_bytes or not self._is_head_bytes_exact:
            self._check_head()
        if len(self.url) > self._bounds.url_bytes:
            self._refusal = "headers_too_large", f"The path and query may have at most {self._bounds.url_bytes} bytes."
            raise _Refused
        if len(self.pipeline) >= self._bounds.pipelined:
            raise _Refused
        if self.parser.get_http_version() not in _VERSIONS:
            raise self._refused("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        self._in_head = False
        self.since = self._door.now
        self._received = self._body_bytes = 0
        super().on_headers_complete()
        self.headers = _NO_TRAILERS
        if self.expect_100_continue:
            self._mind_expectation()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        self._body_bytes += len(body)
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._unclaimed = 0  # a message that begins in the same read began somewhere behind its start
        cycle = self.cycle
        cycle.more_body = False
        if cycle.response_complete:  # the rest of a refused body was read and dropped: the connection is free again
            self.since = self._door.now
        else:
            cycle.message_event.set()

    def _mind_expectation(self) -> None:
        """A client that is refused before "100 Continue" does not send its body: only a new connection is clear."""
        self.cycle.keep_alive = False
        if self.scope["http_version"] == "1.0":  # knows no such thing, and sends its body anyway
            self.cycle.waiting_for_100_continue = False

    def _decline_upgrade(self, rest: bytes) -> None:
        """No other protocol is spoken here, and the request itself is answered, as the last one.

        The parser ends such a request with its headers. Its body follows all the same: some clients ask for HTTP/2 in
        this way whatever they send.
        """
        framing = [line for line in self.scope["headers"] if line[0] in {b"content-length", b"transfer-encoding"}]
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
            cycle.message_event.set()
        self._in_head = False
        self._socket.write(self._door.refuse(code, detail))
        self._leave()

    def look(self, now: float) -> None:
        """Twice a second: has this connection taken too long over what it is doing?"""
        waited, cycle, bounds = now - self.since, self.cycle, self._bounds
        if self._socket.is_closing():
            if waited > bounds.write_stall_s:
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
        if unwritten == 0 or unwritten != self._unwritten:
            self.since, self._unwritten = now, unwritten
        elif waited > self._bounds.write_stall_s:  # the client does not read its answer
            self.abort()

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

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._is_collecting:
            self._next = cycle, app
        else:  # called from the task of an earlier request
            super()._start_asgi_task(cycle, app)

    def _answer_collected(self) -> None:
        """Begin what was parsed; each answer may let the next of a pipeline begin."""
        while self._next is not None:
            (cycle, app), self._next = self._next, None
            scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]  # two entries more than ASGI's
            scope[ANSWER] = self._answer
            self._answering = cycle
            if not cycle.more_body:
                scope[BODY] = bytes(cycle.body)
            self._begin(cycle.run_asgi(app))
        self._is_collecting = False

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        """Run a request until it awaits something; most never do, and a task for each would cost as much as its checks.

        Only what must wait goes on in a task. Up to there nothing may ask for the current task, as timeouts do.
        """
        self._exit.hold()
        try:
            awaited = request.send(None)
        except StopIteration:
            return
        finally:
            self._exit.release()
        task = self.loop.create_task(_Begun(request, awaited))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """What uvicorn's `send` does with the two messages of an answer, in one go."""
        cycle = self._answering
        if self.flow.write_paused:
            return False
        if cycle.disconnected:
            return True
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                cycle.keep_alive = False
        if not cycle.keep_alive and (b"connection", b"close") not in headers:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            parts.append(body)
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    # --- between requests ---

    def on_response_complete(self) -> None:
        """As uvicorn's own, without a timer for each request."""
        self.server_state.total_requests += 1
        if self._is_leaving or self.transport.is_closing():
            return
        if not self._in_head:
            self.since, self._received = self._door.now, 0
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.is_deaf or self._is_rest_unbounded():
            self._leave()

    def _is_rest_unbounded(self) -> bool:
        """Whether the rest of a refused body is chunked: the parser would keep its trailers in memory."""
        return self.cycle.more_body and any(name == b"transfer-encoding" for name, _ in self.cycle.scope["headers"])


_NO_TRAILERS: Final = _NoTrailers()
_NO_SCOPE: Final[Any] = {"headers": []}  # of a request that was answered; nobody changes it
