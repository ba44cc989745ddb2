"""JSON rows: `{"rows": [{"<column>": value, ...}, ...]}`; JSON in, JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.dialects.base import Decoded, Reply
from gateway.dialects.json_intake import JsonIntake
from gateway.dialects.media import MediaType
from gateway.dialects.replies import JSON_TYPE, JsonReply
from gateway.modelspec import ModelSpec
from gateway.problems import Problem
from gateway.table import Prediction

if TYPE_CHECKING:
    from gateway.predictor import Predictor

_CHARSETS = {None, "utf-8", "utf8", "us-ascii"}


class NativeJson:
    """Codec and dialect in one: nothing in the headers changes how JSON is read or answered."""

    name = "native-json"
    media_type = "application/json"

    def predicts(self, path: str) -> bool:
        return path == "predict"

    def dialect(self, media: MediaType, accept: str) -> NativeJson:
        if media.charset not in _CHARSETS:
            raise Problem("unsupported_media_type", f"JSON is UTF-8 (RFC 8259), not {media.charset}.")
        return self

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        return Decoded(predictor.prepared(JsonIntake).table(body))

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        return Reply(predictor.prepared(JsonReply).body(prediction, model_version), JSON_TYPE)

    def rehearse(self, predictor: Predictor, prediction: Prediction) -> None:
        self.encode(prediction, self.decode(sample_body(predictor.spec), predictor), predictor, "1")


def sample_body(spec: ModelSpec) -> bytes:
    """A request with the sample row, its columns in the model's order."""
    row = {column.name: spec.sample[column.name] for column in spec.columns if column.name in spec.sample}
    return msgspec.json.encode({"rows": [row]})
