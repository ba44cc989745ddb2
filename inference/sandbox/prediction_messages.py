"""What a gateway worker and its work processes say to each other: length, then MessagePack, over a pair of sockets.

Large bodies and answers do not travel: the worker sends the descriptors of two spool files with its question.
"""

from __future__ import annotations

import re
import struct
from typing import Final

import msgspec

from contract.problems import Problem, RowError

LENGTH: Final = struct.Struct("<I")
Headers = tuple[tuple[bytes, bytes], ...]


class ModelRef(msgspec.Struct, frozen=True, array_like=True):
    """Which artefact to load, and how it is described."""

    version_id: int
    path: str
    format: str
    spec_json: bytes


class Load(msgspec.Struct, frozen=True, tag=True):
    """Load a model and predict its sample row."""

    model: ModelRef


class Predict(msgspec.Struct, frozen=True, tag=True):
    """Answer one request. Without a body: it is in the first file sent along, and the answer goes into the second.

    `asks`: say how many rows there are, and wait for a `Go` before the model computes.
    """

    model: ModelRef
    path: str
    headers: dict[bytes, bytes]
    number: str
    body: bytes | None
    asks: bool
    max_body_bytes: int


class Go(msgspec.Struct, frozen=True, tag=True):
    """The rows are allowed, or the request is over."""

    is_allowed: bool


class Rows(msgspec.Struct, frozen=True, tag=True):
    """The body is valid and has that many rows."""

    n_rows: int


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded and has predicted its sample row."""


class Replied(msgspec.Struct, frozen=True, tag=True):
    """An answer with status 200. Without a body: `size` bytes are in the second file."""

    content_type: bytes
    headers: Headers
    body: bytes | None
    size: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A problem of the request."""

    code: str
    detail: str
    errors: tuple[RowError, ...]
    headers: Headers
    retry_after_s: int | None

    def problem(self) -> Problem:
        return Problem(
            self.code, self.detail, errors=self.errors, headers=self.headers, retry_after_s=self.retry_after_s
        )


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The model could not be loaded, or could not compute. `is_memory`: it asked for more than it may have."""

    message: str
    is_memory: bool = False


Question = Load | Predict | Go
Answer = Rows | Loaded | Replied | Refused | Failed

# A process that runs a stranger's model could be taken over by it.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_NAME = re.compile(rb"[a-z0-9-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")

_encoder = msgspec.msgpack.Encoder()
_questions = msgspec.msgpack.Decoder(Question)
_answers = msgspec.msgpack.Decoder(Answer)


def encode(message: Question | Answer) -> bytes:
    """The payload; its length goes before it."""
    return _encoder.encode(message)


def decode_question(payload: bytes) -> Question:
    question: Question = _questions.decode(payload)
    return question


def decode_answer(payload: bytes) -> Answer:
    """Raises `msgspec.DecodeError`, also for headers that would be more than that in the worker's answer."""
    answer: Answer = _answers.decode(payload)
    headers: Headers = answer.headers if isinstance(answer, Replied | Refused) else ()
    if isinstance(answer, Replied):
        headers = (*headers, (b"content-type", answer.content_type))
    for name, value in headers:
        if name in _FRAMING or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise msgspec.ValidationError("its answer has a header that can't be sent")
    return answer
