"""KServe's protocol v1, whose body Vertex-style callers send too: `{"instances": []}` -> `{"predictions": []}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gateway.dialects.base import About, Asked, Codec, Decoded, Page, Reply, sentence
from gateway.dialects.json_intake import JsonIntake, listed, members
from gateway.dialects.labels import PlainAnswers
from gateway.dialects.native_json import check_json_charset
from gateway.dialects.replies import JSON_TYPE
from gateway.modelspec import ModelSpec
from gateway.problems import Problem
from gateway.reasons import Reasoner, Reasons, number_text
from gateway.table import Prediction

if TYPE_CHECKING:
    from gateway.predictor import Predictor

_SHAPE = '{"instances": [[...]] or [{...}]}'


class _Error(msgspec.Struct):
    error: str


class V1Dialect(msgspec.Struct, frozen=True, gc=False):
    """`:predict`, or `:explain`, which adds each variable's contribution."""

    explains: bool
    name: str = "kserve-v1"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        given = members(body, _SHAPE)
        if "instances" not in given:
            raise Problem("invalid_rows", f"Expected {_SHAPE}, received an object without `instances`.")
        rows = listed(given["instances"], "instances")
        table = predictor.prepared(JsonIntake).table_of(rows, "instances")
        if not self.explains:
            return Decoded(table)
        reasoner = predictor.prepared(Reasoner)
        reasoner.check_size(table.n_rows)
        return Decoded(table, row_predictions=reasoner.row_predictions)

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        answers = predictor.prepared(PlainAnswers).json(prediction)
        if not self.explains:
            return Reply(f'{{"predictions":{answers}}}'.encode(), JSON_TYPE)
        reasons = predictor.prepared(Reasoner).explain(decoded.table, prediction, predictor.predict)
        explanations = _explanations(reasons, predictor.spec)
        return Reply(f'{{"predictions":{answers},"explanations":[{explanations}]}}'.encode(), JSON_TYPE)


class KServeV1(Codec):
    """The codec, its model list and its readiness."""

    media_types = ("application/json", "")
    predicting = re.compile(r"v1/models/(?P<model>[^/:]+):(?P<verb>predict|explain)")

    def __init__(self) -> None:
        self.pages = (
            Page(re.compile(""), lambda about: _json({"status": "alive"}), is_open=True),
            Page(re.compile(r"v1/models"), lambda about: _json({"models": [about.name or about.api_id]})),
            Page(re.compile(r"v1/models/(?P<model>[^/:]+)"), _readiness, is_open=True),
        )

    def owns(self, path: str) -> bool:
        return path in {"", "v1"} or path.startswith("v1/")

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        return msgspec.json.encode(_Error(sentence(problem))), JSON_TYPE

    def dialect(self, asked: Asked) -> V1Dialect:
        check_json_charset(asked.media)
        return V1Dialect(asked.verb == "explain")

    def rehearse(self, predictor: Predictor, prediction: Prediction) -> None:
        predictor.prepared(PlainAnswers)
        predictor.prepared(Reasoner)


def _json(document: object, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(document), JSON_TYPE, status=status)


def _readiness(about: About) -> Reply:
    return _json({"name": about.model_name, "ready": about.is_ready}, 200 if about.is_ready else 503)


def _explanations(reasons: Reasons, spec: ModelSpec) -> str:
    names = [msgspec.json.encode(column.name).decode() for column in spec.columns]
    classes = [msgspec.json.encode(name).decode() for name in spec.classes]
    made = []
    for row, contributions in enumerate(reasons.contributions):
        cells = ",".join(f"{name}:{number_text(value)}" for name, value in zip(names, contributions, strict=True))
        of = "" if reasons.class_indexes is None else f'"class":{classes[reasons.class_indexes[row]]},'
        made.append(f'{{{of}"contributions":{{{cells}}}}}')
    return ",".join(made)
