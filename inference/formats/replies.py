"""Predictions as JSON and as CSV, from templates that are filled in once per model."""

from __future__ import annotations

import csv
import io
from functools import lru_cache

import msgspec

from contract.model_spec import ModelSpec
from inference.formats.numbers import number_texts, row_texts
from inference.table import Classification, Layout, Prediction, Regression

JSON_TYPE = b"application/json"
CSV_TYPE = b"text/csv; charset=utf-8"


class JsonReply:
    """`{"model_version": ..., "predictions": [...]}`."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        texts = [_json_text(name) for name in spec.classes]
        probabilities = ",".join(f"{_literal(text)}:%s" for text in texts)
        self._row_by_class = [f'{{"class":{_literal(text)},"probabilities":{{{probabilities}}}}}' for text in texts]

    def body(self, prediction: Prediction, version: str) -> bytes:
        if isinstance(prediction, Regression):
            rows = [f'{{"value":{text}}}' for text in number_texts(prediction.values)]
        else:
            rows = _filled(self._row_by_class, prediction)
        return f'{{"model_version":{_json_text(version)},"predictions":[{",".join(rows)}]}}'.encode()


class CsvReply:
    """A header and one line per row: `prediction`, and for a classification one `probability_<class>` each."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._header = csv_line(["prediction", *(f"probability_{name}" for name in spec.classes)])
        numbers = ",%s" * len(spec.classes) + "\n"
        self._row_by_class = [_literal(csv_line([name])[:-1]) + numbers for name in spec.classes]

    def body(self, prediction: Prediction) -> bytes:
        if isinstance(prediction, Regression):
            rows = [f"{text}\n" for text in number_texts(prediction.values)]
        else:
            rows = _filled(self._row_by_class, prediction)
        return "".join([self._header, *rows]).encode()


def _filled(template_by_class: list[str], prediction: Classification) -> list[str]:
    rows = zip(prediction.class_indexes, row_texts(prediction.probabilities), strict=True)
    return [template_by_class[index] % texts for index, texts in rows]


def csv_line(cells: list[str]) -> str:
    """One CSV record ending with a line feed, quoted where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


@lru_cache(maxsize=1024)
def _json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _literal(text: str) -> str:
    """Text that stands for itself in a %-template."""
    return text.replace("%", "%%")
