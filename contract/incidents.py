"""Why a model disturbed the gateway: the gateway stores a code and its parameters, the console makes the sentence.

Kept as JSON in the text column `reason`: `{"code": "time_limit", "params": {"timeout_s": 30}}`. Rows of before have a
sentence there, which is shown as it is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

AnswerReason = Literal["unknown_class", "not_probabilities", "wrong_shape"]
"""How an answer of a model can be one that its description rules out."""

ReasonCode = Literal[
    "process_ended", "batch_process_ended", "time_limit", "memory_limit", "worker_crashed", AnswerReason
]
Param = str | int | float


class IncidentReason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`code` is a `ReasonCode`, or one of a later gateway."""

    code: str
    params: dict[str, Param] = {}


def encode_reason(code: ReasonCode, **params: Param) -> str:
    """For the column `reason`."""
    return msgspec.json.encode(IncidentReason(code, params)).decode()


def decode_reason(stored: str) -> IncidentReason | None:
    """None for a sentence, which older gateways stored."""
    try:
        return msgspec.json.decode(stored, type=IncidentReason)
    except msgspec.DecodeError:
        return None
