"""What a model version takes and gives: the one description that metadata files, the database and the gateway share.

`ModelSpec` is stored whole with each ModelVersion and travels to the gateway in `gateway_route_v2`. A metadata file
(`docs/model-metadata.md`) is the same structure with everything optional.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from contract.meaning import Meaning, meaning_from_json

Task = Literal["binary", "multiclass", "regression", "anomaly"]
ColumnType = Literal["float", "int", "string", "bool"]
InputLayout = Literal["columns", "matrix"]
Cell = float | int | str | bool | None

DEFAULT_FORMAT = "onnx"
"""The format of model files that is served where none is named; each stored version has its own."""

TYPE_WORDS: dict[ColumnType, str] = {
    "float": "a number",
    "int": "a whole number",
    "string": "text",
    "bool": "true or false",
}
"""What a value of a column is, as descriptions and refusals say it."""


class Column(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One input column. `baseline` stands for "without this column" in prediction reasons.

    `categories` of a column of numbers are whole numbers, written as text. `is_closed`: they are the graph's own list,
    and it can't take others. `is_range_known`: the range was stated, or learnt from enough rows to warn beyond it.
    """

    name: str
    type: ColumnType
    categories: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None
    baseline: Cell = None
    nullable: bool = False
    unit: str | None = None
    is_closed: bool = False
    is_range_known: bool = False


class Score(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How good the model was on `rows` held-out rows, by the measure called `name`."""

    name: str
    value: float
    rows: int | None = None


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """A complete description. `columns` are in the model's order, `classes` in the order of its probabilities.

    `meaning`: None for a version that was registered before meanings were stored.
    """

    task: Task
    target: str = "prediction"
    classes: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    input: InputLayout
    sample: dict[str, Cell]
    score: Score | None = None
    description: str = ""
    meaning: Meaning | None = None


def is_plain_integer(name: str) -> bool:
    """Whether a class name is a whole number that 64 bits hold, written as JSON writes it: "-0" is none."""
    return re.fullmatch(r"-?[1-9][0-9]{0,17}|0", name) is not None


def spec_from_json(document: object, meaning: object = None) -> ModelSpec:
    """Decode what `spec_to_json` made, and the meaning that is stored beside it. Raises `msgspec.ValidationError`."""
    spec = msgspec.convert(document, ModelSpec)
    return spec if meaning is None else msgspec.structs.replace(spec, meaning=meaning_from_json(meaning))


def spec_to_json(spec: ModelSpec) -> dict[str, object]:
    """Plain dicts and lists, fit for a jsonb column; the meaning has a column of its own."""
    document: dict[str, object] = msgspec.to_builtins(msgspec.structs.replace(spec, meaning=None))
    return document
