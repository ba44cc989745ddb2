"""Predictions as JSON and as CSV, from templates that are filled in once per model."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from contract.model_spec import ModelSpec
from inference.answers import answer_shape
from inference.formats.numbers import answer_texts
from inference.table import Classification, Layout, Prediction

JSON_TYPE = b"application/json"
CSV_TYPE = b"text/csv; charset=utf-8"


class JsonReply:
    """`{"model_version": ..., "predictions": [...]}`."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        shape = answer_shape(spec)
        self._regression = '{"value":%s}' if shape.has_one_target else f'{{"values":{object_template(shape.targets)}}}'
        numbers = {
            "probabilities": f',"probabilities":{object_template(shape.classes)}',
            "scores": f',"scores":{object_template(shape.classes)}',
            "score": ',"score":%s',
            "": "",
        }[shape.numbers]
        self._row_by_class = [f'{{"class":{_literal(json_text(name))}{numbers}}}' for name in shape.classes]

    def body(self, prediction: Prediction, version: str) -> bytes:
        rows = _filled(self._regression, self._row_by_class, prediction)
        return f'{{"model_version":{json_text(version)},"predictions":[{",".join(rows)}]}}'.encode()


class CsvReply:
    """A header and one line per row: `prediction` and the numbers beside a class, or a column a target."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        shape = answer_shape(spec)
        targets = ("prediction",) if shape.has_one_target else shape.targets
        self._header = csv_line([*(["prediction", *shape.number_names] if shape.classes else targets)])
        self._regression = ",".join(["%s"] * len(targets)) + "\n"
        numbers = ",%s" * len(shape.number_names) + "\n"
        self._row_by_class = [_literal(csv_line([name])[:-1]) + numbers for name in shape.classes]

    def body(self, prediction: Prediction) -> bytes:
        rows = _filled(self._regression, self._row_by_class, prediction)
        return "".join([self._header, *rows]).encode()


def _filled(regression: str, template_by_class: list[str], prediction: Prediction) -> list[str]:
    """Each row's numbers in its template."""
    if isinstance(prediction, Classification):
        rows = zip(prediction.class_indexes, answer_texts(prediction), strict=True)
        return [template_by_class[index] % texts for index, texts in rows]
    return [regression % texts for texts in answer_texts(prediction)]


def object_template(names: Sequence[str]) -> str:
    """The template of a JSON object with a number for each name."""
    return f"{{{','.join(f'{_literal(json_text(name))}:%s' for name in names)}}}"


def csv_line(cells: list[str]) -> str:
    """One CSV record ending with a line feed, quoted where it must be."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # what stands in the line's end is quoted in a cell
    return line.getvalue().removesuffix("\r\n") + "\n"


@lru_cache(maxsize=1024)
def json_text(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _literal(text: str) -> str:
    """Text that stands for itself in a %-template."""
    return text.replace("%", "%%")
