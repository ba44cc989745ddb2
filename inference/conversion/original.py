"""A model as its own library knows it: what each reader of a foreign format hands over to be converted and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx

from contract.model_spec import Task
from inference.table import Array

Kind = Literal["number", "whole", "coded", "text"]
"""Any number; a category's own number; a number or a text for which its library has another number."""


Categories = dict[int, tuple[str | float, ...]]
"""By the position of their column."""


@dataclass(frozen=True)
class Column:
    """`name`: "" where the file has none. `values`: categories of a coded or text column, in its library's order."""

    name: str = ""
    kind: Kind = "number"
    values: tuple[str | float, ...] = ()

    def stated(self, *, may_be_missing: bool) -> dict[str, Any]:
        """As a metadata file has it. A text that may not be missing says so: no graph can tell it from an empty one."""
        if self.kind == "text":
            return {"name": self.name, "type": "string", **({} if may_be_missing else {"nullable": False})}
        is_whole = self.kind == "whole" or (self.kind == "coded" and all(value == int(value) for value in self.values))
        return {"name": self.name, "type": "int"} if is_whole else {"name": self.name}


Rows = Sequence[Array]
"""An array a column, one value a row: float32, or objects for a text column, where None is a missing value."""


@dataclass(frozen=True)
class Answers:
    """`numbers`: (n_rows, n_numbers); `labels`: a class a row, or None where there are no classes."""

    numbers: Array
    labels: Array | None = None


@dataclass(frozen=True)
class Original:
    """`library`: its name and version. `takes_missing`: it answers rows in which values are missing.

    `to_onnx` has an input a column where there is text, else one matrix; the label is its first output, numbers the
    next. `classes`: names of classes that the converted model says otherwise, by what it says. `remark`: a sentence
    for the description.
    """

    library: str
    columns: tuple[Column, ...]
    task: Task
    answer: Callable[[Rows], Answers]
    to_onnx: Callable[[], onnx.ModelProto]
    takes_missing: bool = True
    classes: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns if column.name]


def columns_of(
    names: Sequence[str], whole: frozenset[int] = frozenset(), categories: Categories | None = None
) -> tuple[Column, ...]:
    """`whole`: positions of columns that hold whole numbers. `categories`: of columns, by position."""
    return tuple(_column(name, position, whole, categories or {}) for position, name in enumerate(names))


def _column(name: str, position: int, whole: frozenset[int], categories: Categories) -> Column:
    values = categories.get(position)
    if values is None or values == tuple(range(len(values))):
        return Column(name, "whole" if position in whole or values is not None else "number")
    if any(isinstance(value, str) for value in values):
        return Column(name, "text", tuple(map(str, values)))
    return Column(name, "coded", tuple(map(float, values)))


def has_codes(columns: Sequence[Column]) -> bool:
    """Whether values have to become numbers of categories before the model sees them."""
    return any(column.kind in {"coded", "text"} for column in columns)


def matrix_of(rows: Rows, columns: Sequence[Column]) -> Array:
    """(n_rows, n_columns) float32: of coded and text columns the category's number, missing for an unknown one."""
    numbered = [
        _numbers(values, column.values) if column.values else values
        for values, column in zip(rows, columns, strict=True)
    ]
    return np.column_stack(numbered).astype(np.float32)


def _numbers(values: Array, categories: tuple[str | float, ...]) -> Array:
    position = {category: float(number) for number, category in enumerate(categories)}
    return np.array([position.get(value, np.nan) for value in values.tolist()], np.float32)


def second_class(probability: Array) -> Array:
    """Both probabilities of what gives that of the second class."""
    both: Array = np.column_stack([1 - probability, probability])
    return both
