"""What a graph takes and gives, and whether that is a table: pure judgements on what ONNX Runtime reports.

Words for people: a refusal names the input or output that is in the way.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from contract.model_spec import InputLayout, Task

Kind = Literal["float", "int", "string", "bool", "other"]

_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"tensor\((float|double|float16)\)", "float"),
    (r"tensor\(u?int\d+\)", "int"),
    (r"tensor\(string\)", "string"),
    (r"tensor\(bool\)", "bool"),
)


class NotServable(Exception):
    """The graph can't be served here. `str()` is the sentence for its owner."""


class Port(msgspec.Struct, frozen=True):
    """One input or output of a graph. `dims`: None for a size that is left open; no dims at all for a non-tensor."""

    name: str
    type: str
    dims: tuple[int | None, ...] | None

    @property
    def kind(self) -> Kind:
        return next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, self.type)), "other")

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
        found = [port for port in self.outputs if port.kind in {"int", "string", "bool"}]
        named = [port for port in found if "label" in port.name.lower() or "class" in port.name.lower()]
        return next(iter(named or found), None)

    @property
    def score_output(self) -> Port | None:
        """Probabilities (plain or as a sequence of maps) or values."""
        maps = [port for port in self.outputs if is_zipmap(port)]
        found = [port for port in self.outputs if port.kind == "float"]
        named = [port for port in found if "prob" in port.name.lower()]
        return next(iter(maps or named or found), None)


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
        raise NotServable(f"{start} takes {port.type}; columns are numbers, yes/no or text.")
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


def task_of(signature: Signature, *, stated: Task | None = None, stated_classes: int | None = None) -> Task:
    """What is predicted, from the outputs and what the owner states. Raises `NotServable` if these contradict."""
    label, score = signature.label_output, signature.score_output
    if score is None:
        raise NotServable(_no_score_words(signature))
    if label is not None:
        if stated == "regression":
            raise NotServable(f"The metadata says regression; the output {label.name} gives a class.")
        return _by_count(class_count(signature) or stated_classes, stated)
    width = score.dims[1] if score.dims is not None and len(score.dims) == 2 else 1
    if width is not None and width > 1:
        if stated in {"binary", "multiclass"} and stated_classes is not None:
            return _by_count(width, stated if stated_classes == width else None)
        raise NotServable(
            f"The output {score.name} gives {width} numbers a row and no class label. If they are probabilities, "
            "a metadata file must say so: task, and classes in their order. A regression gives one number."
        )
    return _by_count(2, stated) if stated in {"binary", "multiclass"} else "regression"


def _no_score_words(signature: Signature) -> str:
    label = signature.label_output
    if label is not None:
        return (
            f"The output {label.name} gives a class without probabilities. "
            "Export a classifier that gives both (for example one with predict_proba)."
        )
    names = ", ".join(f"{port.name} ({port.type})" for port in signature.outputs)
    return f"No output is a number or a class with probabilities: {names}."


def _by_count(count: int | None, stated: Task | None) -> Task:
    """Two classes are binary, whatever is stated; without a count the statement stands."""
    if count is None:
        return stated or "multiclass"
    task: Task = "binary" if count == 2 else "multiclass"
    if stated is not None and stated != task:
        raise NotServable(f"The metadata says {stated}; the graph gives {count} classes.")
    return task


def class_count(signature: Signature) -> int | None:
    """How many classes a row is divided among; None if the graph doesn't say."""
    if signature.labels is not None:
        return len(signature.labels)
    score = signature.score_output
    return score.dims[1] if score is not None and score.dims is not None and len(score.dims) == 2 else None


def port_of(signature: Signature, layout: InputLayout, name: str) -> Port:
    """The input that takes the column of this name."""
    return signature.inputs[0] if layout == "matrix" else {port.name: port for port in signature.inputs}[name]
