"""JSON rows: `{"rows": [{"<column>": value, ...}, ...]}`; JSON in, JSON out.

The manual format comes to the same address with the same content type, so only the body tells them apart: a body that
is no plain rows is looked at once more, and handed over if it has `inputs`.
"""

from __future__ import annotations

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem, problem_body
from inference.formats.base import PROBLEM_TYPE, Codec, Decoded, Reply, RequestFormat, RequestMeta
from inference.formats.description.answers import (
    native_in_short,
    prediction_schema,
    sample_csv_answer,
    sample_json,
)
from inference.formats.description.info import FormatInfo
from inference.formats.description.schemas import (
    ANY,
    COUNT,
    ROW,
    TEXT,
    Schema,
    answer,
    list_of,
    object_of,
    operation,
    ref,
    request_body,
)
from inference.formats.description.snippets import ordered_sample
from inference.formats.json_parser import JsonParser
from inference.formats.manual import Manual, manual_members, manual_sample, manual_schemas
from inference.formats.media import check_json_charset
from inference.formats.native_csv import sample_csv
from inference.formats.replies import JsonReply
from inference.formats.warned import json_reply
from inference.predictor import Predictor
from inference.table import Prediction


class NativeJson(Codec):
    """Codec and request format in one: nothing in the headers changes how JSON is read or answered."""

    name = "native-json"
    tag = "native"
    summary = "Rows as JSON or CSV, and the manual's named inputs."

    def __init__(self, csv_default: str = "") -> None:
        """`csv_default`: as in `RequestMeta`, for the CSV within named inputs."""
        self.manual = Manual(csv_default)
        self.formats = (
            FormatInfo(
                "json",
                "JSON rows",
                "predict",
                "application/json",
                '{"rows": [{…}]}',
                native_in_short,
                sample_body,
            ),
            FormatInfo(
                "named-inputs",
                "Named inputs, with prediction reasons",
                "predict",
                "application/json",
                '{"inputs": [{"name": "pr", "type": "csv", "data": base64}, …]}',
                lambda _shape: '{"version", "outputs": [{"name": "prediction_valid.csv", "data": base64}, …]}',
                manual_sample,
            ),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        """With CSV: it has the same path."""
        contents = [
            ("application/json", {"oneOf": [ref("Rows"), ref("ManualRequest")]}, {"rows": [ordered_sample(spec)]}),
            ("text/csv", TEXT | {"description": "A header row, then one row a line."}, sample_csv(spec).decode()),
        ]
        json_reply = {"oneOf": [ref("Predictions"), ref("ManualReply")]}
        examples: dict[str, object] = {"json": msgspec.json.decode(sample_json(spec)), "csv": sample_csv_answer(spec)}
        reply = answer("One prediction a row, in the rows' order.", examples=examples, json=json_reply, csv=TEXT)
        return {"/predict": operation(self.tag, f"Predict {spec.target}", request_body(*contents), reply, "Problem")}

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        predictions = list_of(prediction_schema(spec), 1)
        warning = object_of(["row", "code"], row=COUNT, column=TEXT, code=TEXT, expected=TEXT, value=ANY)
        return {
            "Rows": object_of(["rows"], rows=list_of(ROW, 1)),
            "Predictions": object_of(
                ["model_version", "predictions"],
                model_version=TEXT,
                predictions=predictions,
                warnings=list_of(warning, 1),
            ),
            **manual_schemas(),
        }

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        """With the manual format's members: a refusal mostly comes before the body tells which of the two it is."""
        return problem_body(problem, request_id, types_url=types_url, with_manual_members=True), PROBLEM_TYPE

    def request_format(self, meta: RequestMeta) -> RequestFormat:
        check_json_charset(meta.media)
        return NativeJson(meta.csv_default) if meta.csv_default else self

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        parser = predictor.prepared(JsonParser)
        table = parser.quick_table(body)
        if table is not None:
            return Decoded(table)
        members = manual_members(body)
        if members is not None:
            return self.manual.decode(members, predictor)
        return Decoded(parser.careful_table(body))

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        if decoded.note:  # only the manual format's requests are noted
            return self.manual.encode(prediction, decoded, predictor, model_version)
        body = predictor.prepared(JsonReply).body(prediction, model_version)
        return json_reply(body, decoded)

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        self.encode(prediction, self.decode(sample_body(predictor.spec), predictor), predictor, "1")


def sample_body(spec: ModelSpec) -> bytes:
    """A request with the sample row, its columns in the model's order."""
    return msgspec.json.encode({"rows": [ordered_sample(spec)]})
