"""How a parent and its confined child speak: each message is a length and then MessagePack, over a pair of sockets.

A `Request` names the type of its response: `class Load(Request[Loaded])`. The child says `Ready` once, then answers one
request after the other with that type, `Refused` or `Failed`. Large contents don't travel: their files do.
"""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Any, Final, Generic, TypeVar, Union, get_args

import msgspec

from contract.incidents import AnswerReason
from contract.problems import PROBLEM_TYPES, Problem, RowError

LENGTH: Final = struct.Struct("<I")
MAX_MESSAGE_BYTES: Final = 256 << 20  # a child that was taken over could announce anything
PART_BYTES: Final = 1 << 20
MAX_FILES: Final = 2

Headers = tuple[tuple[bytes, bytes], ...]


class Response(msgspec.Struct, frozen=True, tag=True):
    """What a child answers to a request."""


R = TypeVar("R", bound=Response)


class Request(msgspec.Struct, Generic[R], frozen=True, tag=True):
    """Work for a child, which answers it with an `R`."""


class Ready(Response, frozen=True):
    """The child's first message: its limits stand, its libraries are loaded. What goes wrong later the model has done.

    `missing_limits`: what the kernel refused to take from it.
    """

    missing_limits: tuple[str, ...]


class Refused(Response, frozen=True):
    """A fault of the request: a `Problem`."""

    code: str
    detail: str
    errors: tuple[RowError, ...]
    headers: Headers
    retry_after_s: int | None

    def __post_init__(self) -> None:
        if self.code not in PROBLEM_TYPES:
            raise ValueError(f"there is no refusal {self.code}")
        check_headers(self.headers)

    def problem(self) -> Problem:
        return Problem(
            self.code, self.detail, errors=self.errors, headers=self.headers, retry_after_s=self.retry_after_s
        )


class Failed(Response, frozen=True):
    """The model could not be loaded, or could not compute. `is_memory`: it asked for more than it may have.

    `ruled_out`: how its answer is one that its description rules out.
    """

    message: str
    is_memory: bool = False
    ruled_out: AnswerReason | None = None


class RowCount(Response, frozen=True):
    """In the middle of a request: its body is valid and has that many rows. The child waits for a `Decision`."""

    n_rows: int


class Decision(msgspec.Struct, frozen=True, tag=True):
    """The rows are allowed, or the request is over and gets no response."""

    is_allowed: bool


# --- headers -----------------------------------------------------------------------------------------------------

# A process that runs a stranger's model could be taken over by it.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_NAME = re.compile(rb"[a-z0-9-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


def check_headers(headers: Headers) -> None:
    """Raises ValueError for a header that would be more than that in an HTTP response, or would frame its body."""
    for name, value in headers:
        if name in _FRAMING or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("it has a header that can't be sent")


# --- coding ------------------------------------------------------------------------------------------------------

_encoder = msgspec.msgpack.Encoder()


def encode(message: Request[Any] | Response | Decision) -> bytes:
    """The payload; its length goes before it."""
    return _encoder.encode(message)


def message_length(head: bytes) -> int:
    """Raises `msgspec.DecodeError` for more than a message may have."""
    length: int = LENGTH.unpack(head)[0]
    if length > MAX_MESSAGE_BYTES:
        raise msgspec.DecodeError(f"it announced {length} bytes")
    return length


@cache
def response_decoder(kind: type[Request[Any]]) -> msgspec.msgpack.Decoder[Any]:
    """Reads whatever may come after a request of this type."""
    (response,) = get_args(kind.__orig_bases__[0])  # type: ignore[attr-defined]  # `R`, as the class statement has it
    return msgspec.msgpack.Decoder(Union[response, RowCount, Refused, Failed])  # noqa: UP007  (the type is a variable)


ready_decoder: Final = msgspec.msgpack.Decoder(Ready)
decision_decoder: Final = msgspec.msgpack.Decoder(Decision)
