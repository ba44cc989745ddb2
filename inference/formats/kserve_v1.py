"""KServe's protocol v1, whose body Vertex-style callers send too: `{"instances": []}` -> `{"predictions": []}`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.answers import answer_shape, can_explain
from inference.formats.base import Codec, Decoded, Page, Reply, RequestMeta
from inference.formats.description.answers import explanation_schema, plain_in_short, plain_schema
from inference.formats.description.info import ApiInfo, FormatInfo
from inference.formats.description.schemas import (
    ANY,
    ROW,
    TEXT,
    Schema,
    answer,
    list_of,
    object_of,
    open_page,
    operation,
    page,
    ref,
    request_body,
)
from inference.formats.description.snippets import ordered_sample
from inference.formats.json_parser import JsonParser, listed, members
from inference.formats.media import check_json_charset
from inference.formats.plain_answers import PlainAnswers
from inference.formats.refusals import one_line
from inference.formats.replies import JSON_TYPE
from inference.predictor import Predictor
from inference.reasons import Explainer, Reasons
from inference.table import Prediction

_SHAPE = '{"instances": [[...]] or [{...}]}'


class _Error(msgspec.Struct):
    error: str


class KServeV1Format(msgspec.Struct, frozen=True, gc=False):
    """`:predict`, or `:explain`, which adds each variable's contribution."""

    explains: bool
    name: str = "kserve-v1"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        given = members(body, _SHAPE)
        if "instances" not in given:
            raise Problem("invalid_rows", f"Expected {_SHAPE}, received an object without `instances`.")
        rows = listed(given["instances"], "instances")
        table = predictor.prepared(JsonParser).table_of(rows, "instances")
        if not self.explains:
            return Decoded(table)
        explainer = predictor.prepared(Explainer)
        explainer.check(table.n_rows)
        return Decoded(table, row_predictions=explainer.row_predictions)

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        answers = predictor.prepared(PlainAnswers).json(prediction)
        if not self.explains:
            return Reply(f'{{"predictions":{answers}}}'.encode(), JSON_TYPE)
        reasons = predictor.prepared(Explainer).explain(decoded.table, prediction, predictor.predict)
        explanations = msgspec.json.encode(_explanations(reasons, predictor.spec)).decode()
        return Reply(f'{{"predictions":{answers},"explanations":{explanations}}}'.encode(), JSON_TYPE)


class KServeV1(Codec):
    """The codec, its model list and its readiness."""

    media_types = ("application/json", "")
    predicting = re.compile(r"v1/models/(?P<model>[^/:]+):(?P<verb>predict|explain)")

    tag = "kserve v1"
    summary = "KServe's protocol v1."

    def __init__(self) -> None:
        shape = '{"instances": [{…}]} or [[…]]'
        explained = '{"predictions": […], "explanations": [{"class", "contributions"}, …]}'
        self.formats = (
            FormatInfo(
                "kserve-v1",
                "KServe v1",
                "v1/models/{model}:predict",
                "application/json",
                shape,
                plain_in_short,
                v1_sample,
            ),
            FormatInfo(
                "kserve-v1-explain",
                "KServe v1, with prediction reasons",
                "v1/models/{model}:explain",
                "application/json",
                shape,
                lambda _shape: explained,
                v1_sample,
                explains=True,
            ),
        )
        self.pages = (
            Page(re.compile(""), lambda info: _json({"status": "alive"}), is_open=True),
            Page(re.compile(r"v1/models"), lambda info: _json({"models": [info.name or info.api_id]})),
            Page(re.compile(r"v1/models/(?P<model>[^/:]+)"), _readiness, is_open=True),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        model = f"/v1/models/{name}"
        request = request_body(("application/json", ref("V1Request"), {"instances": [ordered_sample(spec)]}))

        def predicting(summary: str, reply: str) -> Schema:
            return operation(self.tag, summary, request, answer("One an instance.", json=ref(reply)), "V1Error")

        ready = ref("ModelReady")
        explaining = {f"{model}:explain": predicting("Explain: each variable's contribution", "V1Explanations")}
        return {
            f"{model}:predict": predicting("Predict", "V1Predictions"),
            **(explaining if can_explain(answer_shape(spec)) else {}),
            "/": open_page(self.tag, "Liveness", answer("Alive", json=ref("Alive")), "V1Error"),
            "/v1/models": page(self.tag, "Model list", answer("The one model", json=ref("V1Models")), "V1Error"),
            model: open_page(self.tag, "Model readiness", answer("Ready", json=ready), "V1Error", unready=ready),
        }

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        predictions = list_of(plain_schema(spec), 1)
        return {
            "V1Error": object_of(["error"], error=TEXT),
            "V1Request": object_of(["instances"], instances=list_of({"oneOf": [ROW, list_of(ANY)]}, 1)),
            "V1Predictions": object_of(["predictions"], predictions=predictions),
            "V1Explanations": object_of(
                ["predictions", "explanations"], predictions=predictions, explanations=list_of(explanation_schema(spec))
            ),
            "V1Models": object_of(["models"], models=list_of(TEXT)),
            "Alive": object_of(["status"], status={"const": "alive"}),
            "ModelReady": object_of(["name", "ready"], name=TEXT, ready={"type": "boolean"}),
        }

    def owns(self, path: str) -> bool:
        return path in {"", "v1"} or path.startswith("v1/")

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        return msgspec.json.encode(_Error(one_line(problem))), JSON_TYPE

    def request_format(self, meta: RequestMeta) -> KServeV1Format:
        check_json_charset(meta.media)
        return KServeV1Format(meta.verb == "explain")

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        predictor.prepared(PlainAnswers)
        predictor.prepared(Explainer)


def v1_sample(spec: ModelSpec) -> bytes:
    """A request with the sample row."""
    return msgspec.json.encode({"instances": [ordered_sample(spec)]})


def _json(document: object, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(document), JSON_TYPE, status=status)


def _readiness(info: ApiInfo) -> Reply:
    return _json({"name": info.model_name, "ready": info.is_ready}, 200 if info.is_ready else 503)


class _Explanation(msgspec.Struct, omit_defaults=True):
    """`of`: the class whose probability or score is explained; None where that is of no class.

    `contributions`: by column; of several targets that of each, by its name.
    """

    of: str | None = msgspec.field(default=None, name="class")
    contributions: dict[str, Any] = msgspec.field(default_factory=dict)


def _explanations(reasons: list[Reasons], spec: ModelSpec) -> list[_Explanation]:
    if len(reasons) > 1:
        by_target = [[(one.target, row) for row in _by_column(one, spec)] for one in reasons]
        return [_Explanation(None, dict(row)) for row in zip(*by_target, strict=True)]
    [only] = reasons
    rows = _by_column(only, spec)
    if only.class_indexes is None:
        return [_Explanation(None, row) for row in rows]
    return [_Explanation(spec.classes[of], row) for of, row in zip(only.class_indexes, rows, strict=True)]


def _by_column(reasons: Reasons, spec: ModelSpec) -> list[dict[str, float]]:
    names = [column.name for column in spec.columns]
    return [dict(zip(names, row, strict=True)) for row in reasons.contributions.tolist()]
