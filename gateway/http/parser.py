"""From bytes to requests: httptools' parser, with bounds, and without what two servers could read in two ways.

What is refused here is no request: it is answered by the gateway itself, with a request ID, and never counted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import unquote

import httptools

from gateway.http.application import HeaderLine
from gateway.http.limits import ConnectionLimits
from gateway.http.request_cycle import HIGH_WATER_BYTES, RequestCycle, ResponseWriter

_UNUSUAL: Final = frozenset({b"expect", b"transfer-encoding"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_VERSIONS: Final = frozenset({"1.1", "1.0"})  # httptools also takes a line without a version, which has no headers


class Refused(Exception):
    """What was read is not answered as a request; `code` and `detail` say why."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class RequestReader(ResponseWriter, Protocol):
    """A connection, as far as the parser needs it."""

    peer: str
    is_read_closed: bool
    cycle: RequestCycle | None

    def on_head_begin(self) -> None:
        """The first byte of a request was read."""

    def on_request(self, cycle: RequestCycle) -> None:
        """A head is complete. Raises `Refused`."""

    def on_request_end(self, cycle: RequestCycle) -> None:
        """Its body is complete."""

    def close_read(self) -> None:
        """The requests so far are the last ones."""


class RequestParser:
    """Reads the requests of one connection. httptools calls the methods whose names begin with `on_`."""

    def __init__(self, connection: RequestReader, limits: ConnectionLimits) -> None:
        self.is_in_head = False
        self.received = 0
        """Bytes since the connection's present phase began."""
        self._connection = connection
        self._limits = limits
        self._header_fields = limits.header_fields
        self._is_in_body = False
        self._unclaimed = 0  # bytes of the present read that may belong to the next request's head
        self._head_bytes = 0
        self._is_head_bytes_exact = True
        self._body_bytes = 0
        self._url = b""
        self._lines: list[HeaderLine] = _NO_TRAILERS
        self._http = httptools.HttpRequestParser(self)
        self._feed: Callable[[bytes], object] = self._http.feed_data

    def feed(self, data: bytes) -> None:
        """Raises `Refused` and, of what the connection makes of a request, anything."""
        size = len(data)
        self.received += size
        self._unclaimed = size
        if self.is_in_head:
            self._head_bytes += size
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise _reason(error) from None
        if self.is_in_head:
            if self._head_bytes > self._limits.head_bytes:
                raise self._too_long()
        elif self._is_in_body and self.received > HIGH_WATER_BYTES:
            self._check_framing()

    def restart_count(self) -> None:
        """Another phase of the connection begins."""
        self.received = self._body_bytes = 0

    def close(self) -> None:
        """The connection is lost. It, this parser and httptools' refer to each other."""
        self._feed = _forget
        del self._http, self._connection

    # --- the head ---

    def on_message_begin(self) -> None:
        self._url = b""
        self._lines = []
        self.is_in_head = True
        self._is_head_bytes_exact = self._unclaimed > 0
        self._head_bytes = self._unclaimed
        self._connection.on_head_begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lines = self._lines
        if len(lines) >= self._header_fields:
            raise Refused("headers_too_large", f"A request may have at most {self._header_fields} headers.")
        lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        http, lines, connection = self._http, self._lines, self._connection
        if self._head_bytes > self._limits.head_bytes or not self._is_head_bytes_exact:
            self._check_head_size()
        if len(self._url) > self._limits.url_bytes:
            most = self._limits.url_bytes
            raise Refused("headers_too_large", f"The path and query may have at most {most} bytes.")
        version = http.get_http_version()
        if version not in _VERSIONS:
            raise Refused("malformed_request", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        keep_alive = version == "1.1" and http.should_keep_alive()
        headers = dict(lines)
        method = http.get_method().decode("ascii")
        cycle = RequestCycle(connection, method, _path(self._url), lines, headers, connection.peer, keep_alive)
        if not _UNUSUAL.isdisjoint(headers):
            _check_unusual(cycle, version)
        connection.on_request(cycle)
        self.is_in_head = False
        self._is_in_body = True
        self.received = self._body_bytes = 0
        self._url, self._lines = b"", _NO_TRAILERS

    def _check_head_size(self) -> None:
        """With the head complete, its size is known for certain."""
        size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._lines)
        if size > self._limits.head_bytes:
            raise self._too_long()

    def _too_long(self) -> Refused:
        most = self._limits.head_bytes
        return Refused("headers_too_large", f"The request line and headers may have at most {most} bytes.")

    # --- the body ---

    def on_body(self, part: bytes) -> None:
        self._body_bytes += len(part)
        cycle = self._connection.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.add_body(part)

    def on_message_complete(self) -> None:
        self._unclaimed = 0  # a request that begins in the same read began somewhere behind its start
        self._is_in_body = False
        cycle = self._connection.cycle
        if cycle is not None:
            cycle.end_body()
            self._connection.on_request_end(cycle)

    def _check_framing(self) -> None:
        """Chunk headers and trailers count nowhere else, and httptools keeps an unfinished trailer in memory."""
        if self.received - self._body_bytes > self._body_bytes + self._limits.head_bytes:
            raise Refused("malformed_request", "The chunks of the body have more framing than content.")

    # --- upgrades ---

    def _decline_upgrade(self, rest: bytes) -> None:
        """No other protocol is spoken here, and the request itself is answered, as the last one.

        httptools ends such a request with its headers. Its body follows all the same: some clients ask for HTTP/2 in
        this way whatever they send.
        """
        cycle = self._connection.cycle
        framing = [line for line in cycle.lines if line[0] in _FRAMING] if cycle is not None else []
        if cycle is None or not framing:
            self._connection.close_read()
            return
        cycle.keep_alive = False
        cycle.more_body = self._is_in_body = True
        self._feed = httptools.HttpRequestParser(_LastBody(self)).feed_data
        head = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        try:
            with suppress(httptools.HttpParserUpgrade):  # of what comes behind the body: nobody reads that
                self._feed(b"POST / HTTP/1.1\r\n" + head + b"\r\n" + rest)
        except httptools.HttpParserError as error:
            raise _reason(error) from None

    def end_last_body(self) -> None:
        self.on_message_complete()
        self._connection.close_read()

    @property
    def is_read_closed(self) -> bool:
        return self._connection.is_read_closed


class _LastBody:
    """What httptools tells of a body whose head was parsed before. What comes behind it is no request any more."""

    def __init__(self, parser: RequestParser) -> None:
        self._parser = parser

    def on_body(self, part: bytes) -> None:
        if not self._parser.is_read_closed:
            self._parser.on_body(part)

    def on_message_complete(self) -> None:
        if not self._parser.is_read_closed:
            self._parser.end_last_body()


class _NoTrailers(list[HeaderLine]):
    """Where headers behind a chunked body go: nobody checks those, so nobody may see them."""

    def append(self, item: HeaderLine) -> None:
        """Forget it."""


_NO_TRAILERS: Final = _NoTrailers()


def _forget(data: bytes) -> None:
    """Where bytes go that a lost connection had still to parse."""


def _reason(error: httptools.HttpParserError) -> BaseException:
    """What was raised in a method that httptools called; else what was read is no HTTP."""
    if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
        return error.__context__
    return Refused("malformed_request")


def _check_unusual(cycle: RequestCycle, version: str) -> None:
    for name, value in cycle.lines:
        word = value.strip().lower()
        if name == b"expect" and word == b"100-continue":
            # A client that is refused before "100 Continue" does not send its body: only a new connection is clear.
            cycle.keep_alive = False
            cycle.is_waiting_for_continue = version == "1.1"  # HTTP/1.0 knows no such thing, and sends its body anyway
        elif name == b"transfer-encoding" and word != b"chunked":
            # httptools takes any list that ends so, and leaves the rest of it to us.
            raise Refused("malformed_request", "The only Transfer-Encoding that is read is chunked.")


@lru_cache(maxsize=256)  # times 20 KB at most: a URL of 4 KB, and a path that may need four bytes a character
def _path(url: bytes) -> str:
    """Of a request line. Raises `Refused`."""
    try:
        path = httptools.parse_url(url).path.decode("ascii")
    except (httptools.HttpParserInvalidURLError, AttributeError, UnicodeDecodeError):
        raise Refused("malformed_request", "The request line has no path.") from None
    return unquote(path) if "%" in path else path
