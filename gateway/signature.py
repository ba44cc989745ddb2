"""What a graph takes and gives, and whether that is a table: pure judgements on what ONNX Runtime reports.

Words for people: a refusal names the input or output that is in the way.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from gateway.modelspec import Column, ColumnType, InputLayout, ModelSpec, Task

Kind = Literal["float", "int", "string", "bool", "other"]

_KINDS: dict[str, Kind] = {
    "tensor(float)": "float",
    "tensor(double)": "float",
    "tensor(int64)": "int",
    "tensor(int32)": "int",
    "tensor(string)": "string",
    "tensor(bool)": "bool",
}
# Which columns an input of a kind can carry. A float input carries whole numbers and yes/no as well.
_CARRIES: dict[Kind, tuple[ColumnType, ...]] = {
    "float": ("float", "int", "bool"),
    "int": ("int", "bool"),
    "string": ("string",),
    "bool": ("bool",),
    "other": (),
}


class NotServable(Exception):
    """The graph can't be served here. `str()` is the sentence for its owner."""


class Port(msgspec.Struct, frozen=True):
    """One input or output of a graph. `dims`: None for a size that is left open; no dims at all for a non-tensor."""

    name: str
    type: str
    dims: tuple[int | None, ...] | None

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.type, "other")

    def shape(self) -> str:
        return "[" + ", ".join("n" if size is None else str(size) for size in self.dims or ()) + "]"


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The graph as it is. `labels` are its own class labels as text, in the order of the probabilities.

    `likely_width`: columns of a matrix whose width is left open, as its first users tell.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    labels: tuple[str, ...] | None = None
    has_integer_labels: bool = False
    likely_width: int | None = None
    treats_missing: bool = False

    @property
    def width(self) -> int | None:
        """Columns of the one matrix; None if there is none, or its width is left open."""
        dims = self.inputs[0].dims or ()
        return dims[1] if len(self.inputs) == 1 and len(dims) == 2 else None

    @property
    def label_output(self) -> Port | None:
        """The output that names the class: whole numbers or text, one a row."""
        for port in self.outputs:
            if port.kind in {"int", "string"}:
                return port
        return None

    @property
    def score_output(self) -> Port | None:
        """Probabilities (plain or as a sequence of maps) or values."""
        for port in self.outputs:
            if port.kind == "float" or is_zipmap(port):
                return port
        return None


def is_zipmap(port: Port) -> bool:
    """The sequence of maps (class to probability) that converters make by default."""
    return re.fullmatch(r"seq\(map\((int64|string),tensor\(float\)\)\)", port.type) is not None


def read_ports(nodes: list[Any]) -> tuple[Port, ...]:
    """From ONNX Runtime's NodeArg objects; names and numbers below 1 stand for sizes that are left open."""
    return tuple(
        Port(
            node.name,
            node.type,
            tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape)
            if node.type.startswith("tensor(")
            else None,
        )
        for node in nodes
    )


def table_layout(signature: Signature) -> InputLayout:
    """How the graph takes rows. Raises `NotServable` naming the first input that is no column and no matrix."""
    if not signature.inputs:
        raise NotServable("This console serves tables: the model takes no input at all.")
    for port in signature.inputs:
        _check_input(port, is_alone=len(signature.inputs) == 1)
    first = signature.inputs[0]
    is_matrix = len(signature.inputs) == 1 and len(first.dims or ()) == 2 and (first.dims or ())[1] != 1
    return "matrix" if is_matrix else "columns"


def _check_input(port: Port, *, is_alone: bool) -> None:
    start = f"This console serves tables: the input {port.name}"
    if port.dims is None:
        raise NotServable(f"{start} is a {port.type.partition('(')[0]}, not a column.")
    if len(port.dims) not in {1, 2}:
        raise NotServable(f"{start} has {len(port.dims)} dimensions, {port.shape()}; a table has rows and columns.")
    if port.kind == "other":
        raise NotServable(f"{start} takes {port.type}; columns are float, double, int64, int32, bool or string.")
    if port.dims[0] is not None:
        raise NotServable(
            f"{start} takes exactly {port.dims[0]} row{'s' * (port.dims[0] > 1)} at a time, {port.shape()}. "
            "Export the model with an open number of rows (a dynamic first dimension)."
        )
    if len(port.dims) == 2 and port.dims[1] != 1 and not is_alone:
        raise NotServable(
            f"{start} is a matrix {port.shape()} beside other inputs. "
            "Export the model with one input per column, or with one matrix alone."
        )


def task_of(signature: Signature, *, stated: Task | None = None) -> Task:
    """What is predicted, from the outputs. Raises `NotServable` where that is neither classes nor one number."""
    label, score = signature.label_output, signature.score_output
    if label is not None and score is not None:
        count = class_count(signature)
        return stated if stated in {"binary", "multiclass"} and count is None else _by_count(count)
    if label is not None:
        raise NotServable(
            f"The output {label.name} gives a class without probabilities. "
            "Export a classifier that gives both (for example one with predict_proba)."
        )
    if score is None:
        names = ", ".join(f"{port.name} ({port.type})" for port in signature.outputs)
        raise NotServable(f"No output is a number or a class with probabilities: {names}.")
    width = (score.dims or (None,))[1] if len(score.dims or ()) == 2 else 1
    if len(score.dims or ()) > 2 or (width or 1) > 1:
        raise NotServable(
            f"The output {score.name} gives {score.shape()} and no class label. "
            "A classifier needs a label and probabilities as outputs, a regression one number a row."
        )
    return "regression"


def _by_count(count: int | None) -> Task:
    return "binary" if count == 2 else "multiclass"


def class_count(signature: Signature) -> int | None:
    """How many probabilities a row gives; None if the graph doesn't say."""
    if signature.labels is not None:
        return len(signature.labels)
    score = signature.score_output
    return score.dims[1] if score is not None and score.dims is not None and len(score.dims) == 2 else None


def carried_types(signature: Signature, layout: InputLayout, name: str) -> tuple[ColumnType, ...]:
    """The column types that a column of this name may have."""
    ports = {port.name: port for port in signature.inputs}
    port = signature.inputs[0] if layout == "matrix" else ports[name]
    return _CARRIES[port.kind]


def can_be_missing(signature: Signature, layout: InputLayout, name: str) -> bool:
    """A missing number travels as NaN and a missing text as empty text; whole-number and yes/no inputs have neither."""
    return bool({"float", "string"}.intersection(carried_types(signature, layout, name)))


def contradictions(signature: Signature, spec: ModelSpec) -> list[str]:
    """Where a description and the graph disagree, in words; empty if they fit."""
    layout = table_layout(signature)
    faults = []
    if spec.input != layout and not _is_single_column(signature):
        faults.append(f"The description says input {spec.input}, the graph takes {_layout_words(signature, layout)}.")
        return faults
    faults += _column_contradictions(signature, spec)
    if (task := task_of(signature, stated=spec.task)) != spec.task:
        faults.append(f"The description says {spec.task}, the graph's outputs say {task}.")
        return faults
    return faults + _class_contradictions(signature, spec)


def _is_single_column(signature: Signature) -> bool:
    """One [n, 1] input is a column and a matrix of one column alike."""
    return len(signature.inputs) == 1 and (signature.inputs[0].dims or ())[1:] == (1,)


def _layout_words(signature: Signature, layout: InputLayout) -> str:
    if layout == "matrix":
        return f"one matrix {signature.inputs[0].shape()}"
    return f"{len(signature.inputs)} input{'s' * (len(signature.inputs) > 1)}, one per column"


def _column_contradictions(signature: Signature, spec: ModelSpec) -> list[str]:
    if spec.input == "columns":
        taken, given = {port.name for port in signature.inputs}, {column.name for column in spec.columns}
        lacking, foreign = sorted(taken - given), sorted(given - taken)
        faults = [f"The graph takes {_names(lacking)}, which the description lacks."] if lacking else []
        faults += [f"The description has {_names(foreign)}, which the graph does not take."] if foreign else []
        if faults:
            return faults
    else:
        width = signature.width
        if width is not None and len(spec.columns) != width:
            return [f"The description has {len(spec.columns)} columns, the graph takes {width}."]
    return [fault for column in spec.columns if (fault := _type_contradiction(signature, spec.input, column))]


def _type_contradiction(signature: Signature, layout: InputLayout, column: Column) -> str | None:
    carried = carried_types(signature, layout, column.name)
    if column.type not in carried:
        return f"Column {column.name}: the description says {column.type}, the graph takes {' or '.join(carried)}."
    if column.nullable and not can_be_missing(signature, layout, column.name):
        return f"Column {column.name}: it can't be nullable: the graph takes {carried[0]}, which has no missing value."
    return None


def _class_contradictions(signature: Signature, spec: ModelSpec) -> list[str]:
    if spec.task == "regression":
        return ["A regression has no classes."] if spec.classes else []
    count = class_count(signature)
    if count is not None and len(spec.classes) != count:
        return [f"The description has {len(spec.classes)} classes, the graph gives {count} probabilities."]
    labels = signature.labels
    if labels is None or signature.has_integer_labels or spec.classes == labels:
        return []  # integer labels are given names by position
    stated, own = _names(list(spec.classes)), _names(list(labels))
    return [f"The description's classes are {stated}; the graph's are {own}, in this order."]


def _names(names: list[str]) -> str:
    """At most ten, so that a refusal stays a sentence."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
