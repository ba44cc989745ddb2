"""MLflow's scoring protocol: one of four JSON shapes, or CSV, to `invocations`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.base import Codec, Decoded, Page, Reply, RequestMeta
from inference.formats.charsets import csv_charset
from inference.formats.csv_parser import CsvParser
from inference.formats.description.answers import plain_in_short, plain_schema
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
from inference.formats.json_parser import JsonParser, listed, members, without_nan
from inference.formats.media import check_json_charset
from inference.formats.native_csv import sample_csv
from inference.formats.plain_answers import PlainAnswers
from inference.formats.refusals import one_line
from inference.formats.replies import JSON_TYPE
from inference.predictor import Predictor
from inference.table import Prediction, Table

# The protocol's server whose requests and answers these are; clients read it to choose the shapes they send.
_PROTOCOL_VERSION = b"3.17.2"
_TEXT_TYPE = b"text/plain; charset=utf-8"
_SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
_SHAPE = f"an object with exactly one of {', '.join(_SHAPES)}"

# MLflow's words for a status; its clients look them up.
_ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


class _Error(msgspec.Struct):
    error_code: str
    message: str


class _Split(msgspec.Struct):
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    data: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _Mlflow(Codec):
    """What both content types share."""

    name = "mlflow"
    predicting = re.compile("invocations")

    def owns(self, path: str) -> bool:
        return path in {"invocations", "ping", "health", "version"}

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        status = problem.kind.status
        code = _ERROR_CODES.get(status, "INTERNAL_ERROR" if status >= 500 else "BAD_REQUEST")
        return msgspec.json.encode(_Error(code, one_line(problem))), JSON_TYPE

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        answers = predictor.prepared(PlainAnswers).json(prediction)
        return Reply(f'{{"predictions":{answers}}}'.encode(), JSON_TYPE)


class MlflowJson(_Mlflow):
    """Codec and request format in one, with the protocol's pages."""

    tag = "mlflow"
    summary = "MLflow's scoring protocol."

    def __init__(self) -> None:
        self.formats = (
            FormatInfo(
                "mlflow",
                "MLflow scoring",
                "invocations",
                "application/json",
                "exactly one of " + ", ".join(_SHAPES),
                plain_in_short,
                mlflow_sample,
            ),
        )
        self.pages = (
            Page(re.compile("ping|health"), _ping, is_open=True),
            Page(re.compile("version"), lambda info: Reply(_PROTOCOL_VERSION, _TEXT_TYPE)),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        """With CSV: it has the same path."""
        contents = [
            ("application/json", ref("MlflowRequest"), {"dataframe_records": [ordered_sample(spec)]}),
            ("text/csv", TEXT, sample_csv(spec).decode()),
        ]
        reply = answer("One prediction a row.", json=ref("MlflowPredictions"))
        ready = answer("Ready", json=None)  # a line end, said to be JSON
        version_text = {"description": "The protocol's version", "content": {"text/plain": {"schema": TEXT}}}
        return {
            "/invocations": operation(self.tag, "Score", request_body(*contents), reply, "MlflowError"),
            "/ping": open_page(self.tag, "Readiness", ready, "MlflowError", unready=ANY),
            "/health": open_page(self.tag, "Readiness", ready, "MlflowError", unready=ANY),
            "/version": page(self.tag, "Version of the protocol", version_text, "MlflowError"),
        }

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        split = object_of(["columns", "data"], columns=list_of(TEXT, 1), data=list_of(list_of(ANY), 1))
        rows = list_of({"oneOf": [ROW, list_of(ANY)]}, 1)
        columns = {"type": "object", "additionalProperties": list_of(ANY, 1)}
        return {
            "MlflowError": object_of(["error_code", "message"], error_code=TEXT, message=TEXT),
            "MlflowPredictions": object_of(["predictions"], predictions=list_of(plain_schema(spec), 1)),
            "MlflowRequest": {
                "oneOf": [
                    object_of(["dataframe_split"], dataframe_split=split),
                    object_of(["dataframe_records"], dataframe_records=list_of(ROW, 1)),
                    object_of(["instances"], instances=rows),
                    object_of(["inputs"], inputs={"oneOf": [rows, columns]}),
                ]
            },
        }

    def request_format(self, meta: RequestMeta) -> MlflowJson:
        check_json_charset(meta.media)
        return self

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        given = _members(body)
        shapes = [name for name in _SHAPES if name in given]
        if len(shapes) != 1:
            received = " and ".join(shapes) or "none of them"
            raise Problem("malformed_body", f"Expected {_SHAPE}, received {received}.")
        return Decoded(_table(shapes[0], given[shapes[0]], predictor.prepared(JsonParser)))


class _MlflowCsvFormat(msgspec.Struct, frozen=True, gc=False):
    charset: str | None
    codec: MlflowCsv
    default: str = ""
    name: str = "mlflow-csv"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        return Decoded(*predictor.prepared(CsvParser).table(body, self.charset, self.default))

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        reply = self.codec.encode(prediction, decoded, predictor, model_version)
        reply.headers = ((b"x-csv-dialect", str(decoded.note).encode()),)
        return reply


class MlflowCsv(_Mlflow):
    """CSV in, JSON out."""

    media_types = ("text/csv",)

    def __init__(self) -> None:
        self.formats = (
            FormatInfo(
                "mlflow-csv",
                "MLflow scoring, CSV",
                "invocations",
                "text/csv",
                "a header row",
                plain_in_short,
                sample_csv,
            ),
        )

    def request_format(self, meta: RequestMeta) -> _MlflowCsvFormat:
        return _MlflowCsvFormat(csv_charset(meta.media.charset), self, meta.csv_default)


def mlflow_sample(spec: ModelSpec) -> bytes:
    """A request with the sample row."""
    return msgspec.json.encode({"dataframe_records": [ordered_sample(spec)]})


def _ping(info: ApiInfo) -> Reply:
    return Reply(b"\n", JSON_TYPE, status=200 if info.is_ready else 503)


def _members(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return members(body, _SHAPE)
    except Problem:
        strict = without_nan(body)
        if strict is None:
            raise
    return members(strict, _SHAPE)


def _table(shape: str, raw: msgspec.Raw, parser: JsonParser) -> Table:
    if shape == "dataframe_split":
        columns, rows = _split(raw)
        return parser.table_of(rows, "dataframe_split.data", columns)
    if shape == "dataframe_records":
        return parser.table_of(listed(raw, shape), shape, columns=())
    if bytes(memoryview(raw)[:1]) == b"{":
        return parser.table_of(*_rows_of_columns(raw, shape))
    return parser.table_of(listed(raw, shape), shape)


def _split(raw: msgspec.Raw) -> tuple[Sequence[str], list[msgspec.Raw]]:
    try:
        split = msgspec.json.decode(raw, type=_Split)
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse("dataframe_split", error)
    if split.columns is msgspec.UNSET or split.data is msgspec.UNSET:
        raise Problem("invalid_rows", "`dataframe_split` needs `columns` and `data`.")
    if len(set(split.columns)) < len(split.columns):
        raise Problem("malformed_body", "`dataframe_split.columns` names a column twice.")
    if not split.columns:
        raise Problem("invalid_rows", "`dataframe_split.columns` is empty.")
    return split.columns, split.data


def _rows_of_columns(raw: msgspec.Raw, key: str) -> tuple[list[msgspec.Raw], str, Sequence[str]]:
    """From an object of columns: `{"a": [1, 2], "b": [3, 4]}`. A cell may be in a list of its own, as tensors are."""
    try:
        columns = msgspec.json.decode(raw, type=dict[str, list[msgspec.Raw]])
    except (msgspec.DecodeError, RecursionError) as error:
        _refuse(key, error)
    lengths = {len(cells) for cells in columns.values()}
    if len(lengths) != 1:
        raise Problem("invalid_rows", f"The columns of `{key}` have {len(lengths)} different lengths.")
    names = list(columns)
    cells = [[_unwrapped(cell) for cell in column] for column in columns.values()]
    return [msgspec.Raw(b"[" + b",".join(row) + b"]") for row in zip(*cells, strict=True)], key, names


def _unwrapped(cell: msgspec.Raw) -> bytes:
    text = bytes(cell)
    if not text.startswith(b"["):
        return text
    inner: list[msgspec.Raw] = msgspec.json.decode(text, type=list[msgspec.Raw])
    return bytes(inner[0]) if len(inner) == 1 else text


def _refuse(key: str, error: Exception) -> NoReturn:
    if isinstance(error, msgspec.ValidationError):
        raise Problem("invalid_rows", f"`{key}` does not have the expected shape: {error}.") from None
    raise Problem("malformed_body", f"`{key}` is not valid JSON.") from None
