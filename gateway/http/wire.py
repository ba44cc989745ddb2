"""Responses as bytes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from gateway.http.application import CLOSE, HeaderLine, Response

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def header_lines(headers: Iterable[HeaderLine]) -> bytes:
    """Header lines as they go over the network."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def header_pairs(lines: bytes) -> list[HeaderLine]:
    """The same as ASGI has them."""
    pairs = (line.split(b": ", 1) for line in lines.split(b"\r\n")[:-1])
    return [(name, value) for name, value in pairs]


def last_response(response: Response, date_line: bytes) -> bytes:
    """A whole response that says that the connection is closed after it."""
    status, lines, body = response
    if not lines.endswith(CLOSE):
        lines += CLOSE
    return b"%b%b%b\r\n%b" % (STATUS_LINES[status], date_line, lines, body)
