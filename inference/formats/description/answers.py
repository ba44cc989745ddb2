"""What a model answers, as descriptions show it: its shape in short, its schemas, and an answer with made-up numbers.

The made-up answers are written by what writes the real ones, so they have the same members.
"""

from __future__ import annotations

import json

import numpy as np

from contract.model_spec import ModelSpec
from inference.answers import AnswerShape, answer_shape
from inference.formats.description.schemas import COUNT, NUMBER, TEXT, Schema, object_of
from inference.formats.replies import CsvReply, JsonReply
from inference.table import Array, Classification, Prediction, Regression

# --- in short ---------------------------------------------------------------------------------------------------------


def native_in_short(shape: AnswerShape | None) -> str:
    """The answer to JSON rows. None: of any model."""
    return f'{{"model_version", "predictions": [{_row_in_short(shape)}]}}'


def _row_in_short(shape: AnswerShape | None) -> str:
    if shape is None:
        return '{"class", "probabilities"} or {"value"}'
    if shape.classes:
        numbers = {"probabilities": ', "probabilities": {…}', "scores": ', "scores": {…}', "score": ', "score"', "": ""}
        return f'{{"class"{numbers[shape.numbers]}}}'
    return '{"value"}' if shape.has_one_target else '{"values": {…}}'


def csv_in_short(shape: AnswerShape | None) -> str:
    if shape is None:
        return "CSV: prediction, and one probability_CLASS each"
    if shape.classes:
        numbers = {"probabilities": ", and one probability_CLASS each", "scores": ", and one score_CLASS each"}
        return f"CSV: prediction{numbers.get(shape.numbers, ', score' if shape.numbers else '')}"
    return "CSV: prediction" if shape.has_one_target else "CSV: one column a target"


def plain_in_short(shape: AnswerShape | None) -> str:
    """The answer of protocols that give one value a row."""
    if shape is None:
        return '{"predictions": [label or value, …]}'
    value = "label" if shape.classes else "value" if shape.has_one_target else "{target: value, …}"
    return f'{{"predictions": [{value}, …]}}'


# --- schemas ----------------------------------------------------------------------------------------------------------


def prediction_schema(spec: ModelSpec) -> Schema:
    """One prediction of the answer to JSON rows."""
    shape = answer_shape(spec)
    if not shape.classes:
        return object_of(["value"], value=NUMBER) if shape.has_one_target else _values_schema(shape)
    schema = object_of(["class"], **{"class": {"enum": list(shape.classes)}})
    if shape.numbers:
        schema["required"].append(shape.numbers)
        schema["properties"][shape.numbers] = NUMBER if shape.numbers == "score" else _numbers_schema(shape.classes)
    return schema


def _values_schema(shape: AnswerShape) -> Schema:
    return object_of(["values"], values=_numbers_schema(shape.targets))


def _numbers_schema(names: tuple[str, ...]) -> Schema:
    return object_of(list(names)) | {"properties": dict.fromkeys(names, NUMBER)}


def plain_schema(spec: ModelSpec) -> Schema:
    """One prediction where it is a bare value: a label, a number, or an object of numbers. Labels that are whole
    numbers come as numbers."""
    shape = answer_shape(spec)
    if shape.classes:
        return {"anyOf": [TEXT, COUNT]}
    return {"anyOf": [NUMBER, COUNT]} if shape.has_one_target else _numbers_schema(shape.targets)


def explanation_schema(spec: ModelSpec) -> Schema:
    """What moved one prediction: a number a column; of several targets, that of each."""
    contributions = _numbers_schema(tuple(column.name for column in spec.columns))
    contributions["required"] = []
    shape = answer_shape(spec)
    if len(shape.targets) > 1:
        contributions = object_of(list(shape.targets)) | {"properties": dict.fromkeys(shape.targets, contributions)}
    return object_of(["contributions"], contributions=contributions, **{"class": TEXT})


# --- made up ----------------------------------------------------------------------------------------------------------


def sample_json(spec: ModelSpec) -> str:
    """The shape of an answer for one row, with made-up numbers."""
    document = json.loads(JsonReply(spec).body(_made_up(spec), "1"))
    return json.dumps(document, indent=2, ensure_ascii=False)


def sample_csv_answer(spec: ModelSpec) -> str:
    """The same as CSV."""
    return CsvReply(spec).body(_made_up(spec)).decode().rstrip("\n")


def _made_up(spec: ModelSpec) -> Prediction:
    shape = answer_shape(spec)
    if not shape.classes:
        return Regression([np.array([round(152.1 / (index + 1), 1)]) for index in range(len(shape.targets))])
    if shape.numbers == "probabilities":
        return Classification([0], np.array([_shares(len(shape.classes))]))
    if shape.numbers == "scores":
        return Classification([0], scores=np.array([_scores(len(shape.classes))]))
    scores: Array | None = np.array([[0.7]]) if shape.numbers else None
    return Classification([0], scores=scores)


def _shares(n_classes: int) -> list[float]:
    """Probabilities that sum to 1, the first class ahead."""
    rest = round(0.06 / max(1, n_classes - 1), 4)
    return [round(1 - rest * (n_classes - 1), 4), *[rest] * (n_classes - 1)]


def _scores(n_classes: int) -> list[float]:
    """Numbers that are plainly no probabilities, the first class ahead."""
    return [round(2.3 - 1.7 * index, 1) for index in range(n_classes)]
