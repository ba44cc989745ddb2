"""What the console and the inspection child say to each other: one JSON line each way."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from contract.model_spec import ModelSpec
from inference.signature import Signature


class Ask(msgspec.Struct, frozen=True):
    """`read`: the signature. `check`: does `spec` fit the graph. `probe`: which of `names` may be missing.
    `test`: predict the sample row of `spec`."""

    do: Literal["read", "check", "probe", "test"]
    spec: ModelSpec | None = None
    names: tuple[str, ...] = ()


class Answer(msgspec.Struct):
    """`refused` is the sentence for the model's owner; otherwise the fields that the question asks for are filled."""

    refused: str = ""
    signature: Signature | None = None
    nullable: tuple[str, ...] = ()
    prediction: dict[str, Any] | None = None
    row_us: float = 0.0
    seconds: float = 0.0
    missing_limits: list[str] = msgspec.field(default_factory=list)


# The child's first line: its limits stand and its libraries are loaded.
READY = b"ready\n"

_ask_decoder = msgspec.json.Decoder(Ask)
_answer_decoder = msgspec.json.Decoder(Answer)


def encode_ask(ask: Ask) -> bytes:
    return msgspec.json.encode(ask)


def decode_ask(line: bytes) -> Ask:
    return _ask_decoder.decode(line)


def encode_answer(answer: Answer) -> bytes:
    return msgspec.json.encode(answer)


def decode_answer(line: bytes) -> Answer:
    """Raises `msgspec.DecodeError` for what is no answer."""
    return _answer_decoder.decode(line)
