"""CSV with a header row; the answer is CSV too, or JSON where Accept likes that better."""

from __future__ import annotations

import msgspec

from contract.model_spec import Cell, ModelSpec
from inference.formats.base import Codec, Decoded, Reply, RequestMeta
from inference.formats.charsets import csv_charset
from inference.formats.csv_parser import CsvParser
from inference.formats.description.answers import csv_in_short
from inference.formats.description.info import FormatInfo
from inference.formats.media import prefers
from inference.formats.replies import CSV_TYPE, CsvReply, JsonReply, csv_line
from inference.formats.warned import json_reply
from inference.predictor import Predictor
from inference.table import Prediction


class NativeCsvFormat(msgspec.Struct, frozen=True, gc=False):
    """One request's choice of charset and answer. `default`: the charset of bytes that are no UTF-8; "" for none."""

    charset: str | None
    answers_json: bool
    default: str = ""
    name: str = "native-csv"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        return Decoded(*predictor.prepared(CsvParser).table(body, self.charset, self.default))

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        headers = ((b"x-csv-dialect", str(decoded.note).encode()),)
        if self.answers_json:
            body = predictor.prepared(JsonReply).body(prediction, model_version)
            return json_reply(body, decoded, headers)
        return Reply(predictor.prepared(CsvReply).body(prediction), CSV_TYPE, headers)


class NativeCsv(Codec):
    """The codec: charset and Accept say how a request is read and answered."""

    media_types = ("text/csv",)

    def __init__(self) -> None:
        self.formats = (
            FormatInfo(
                "csv",
                "CSV",
                "predict",
                "text/csv",
                "a header row, one row a line",
                csv_in_short,
                sample_csv,
            ),
        )

    def request_format(self, meta: RequestMeta) -> NativeCsvFormat:
        wants_json = prefers(meta.accept, "application/json", over="text/csv")
        return NativeCsvFormat(csv_charset(meta.media.charset), wants_json, meta.csv_default)

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        request_format = NativeCsvFormat("utf-8", answers_json=False)
        decoded = request_format.decode(sample_csv(predictor.spec), predictor)
        request_format.encode(prediction, decoded, predictor, "1")


def sample_csv(spec: ModelSpec) -> bytes:
    """A request with the sample row, its columns in the model's order."""
    header = csv_line([column.name for column in spec.columns])
    return (header + csv_line([_text(spec.sample.get(column.name)) for column in spec.columns])).encode()


def _text(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else str(cell)
