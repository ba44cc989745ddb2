"""JSON rows: `{"rows": [{"<column>": value, ...}, ...]}`; JSON in, JSON out.

The manual format comes to the same address with the same content type, so only the body tells them apart: a body that
is no plain rows is looked at once more, and handed over if it has `inputs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.dialects.base import PROBLEM_TYPE, Asked, Codec, Decoded, Dialect, Reply
from gateway.dialects.json_intake import JsonIntake
from gateway.dialects.manual import Manual, ManualRequest, manual_members
from gateway.dialects.media import MediaType
from gateway.dialects.replies import JSON_TYPE, JsonReply
from gateway.modelspec import ModelSpec
from gateway.problems import Problem, problem_body
from gateway.table import Prediction

if TYPE_CHECKING:
    from gateway.predictor import Predictor

_CHARSETS = {None, "utf-8", "utf8", "us-ascii"}


def check_json_charset(media: MediaType) -> None:
    """Raises `Problem("unsupported_media_type")`."""
    if media.charset not in _CHARSETS:
        raise Problem("unsupported_media_type", f"JSON is UTF-8 (RFC 8259), not {str(media.charset)[:80]}.")


class NativeJson(Codec):
    """Codec and dialect in one: nothing in the headers changes how JSON is read or answered."""

    name = "native-json"
    manual = Manual()

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        """With the manual format's members: a refusal mostly comes before the body tells which of the two it is."""
        return problem_body(problem, request_id, types_url=types_url, with_manual_members=True), PROBLEM_TYPE

    def dialect(self, asked: Asked) -> Dialect:
        check_json_charset(asked.media)
        return self

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        intake = predictor.prepared(JsonIntake)
        table = intake.quick_table(body)
        if table is not None:
            return Decoded(table)
        members = manual_members(body)
        if members is not None:
            return self.manual.decode(members, predictor)
        return Decoded(intake.careful_table(body))

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        if isinstance(decoded.note, ManualRequest):
            return self.manual.encode(prediction, decoded, predictor, model_version)
        return Reply(predictor.prepared(JsonReply).body(prediction, model_version), JSON_TYPE)

    def rehearse(self, predictor: Predictor, prediction: Prediction) -> None:
        self.encode(prediction, self.decode(sample_body(predictor.spec), predictor), predictor, "1")


def sample_body(spec: ModelSpec) -> bytes:
    """A request with the sample row, its columns in the model's order."""
    row = {column.name: spec.sample[column.name] for column in spec.columns if column.name in spec.sample}
    return msgspec.json.encode({"rows": [row]})
