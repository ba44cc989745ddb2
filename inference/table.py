"""Rows on their way into a model and predictions on their way out, as numpy arrays; and the rules one cell must obey.

Every request format makes a `Table` through a `Layout`, every engine takes one, so neither knows the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.model_spec import ColumnType, ModelSpec
from inference.row_warnings import RowWarnings
from inference.value_checks import ValueCheck, value_check

Array = NDArray[Any]
Type = np.dtype[Any]

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
TEXT: Final[Type] = np.dtype(object)

# Kinds of numpy types that can carry a column; a float input carries whole numbers and yes/no as well.
_CARRIERS: dict[ColumnType, str] = {"float": "f", "int": "fiu", "bool": "fiub", "string": "O"}
_KIND_WORDS: dict[str, str] = {"f": "float", "i": "int", "u": "int", "b": "bool", "O": "string"}


class LayoutError(Exception):
    """The description and the arrays an engine takes contradict each other. `str()` is one sentence."""


class Table(msgspec.Struct, gc=False):
    """Validated rows: one `(n_rows, 1)` array per column in the model's order, or one `(n_rows, n_columns)` matrix.

    A matrix may stand for columns too, where all of them have one array type: the engine takes it apart if it must.
    A missing number is NaN, a missing text is empty text; whole-number and yes/no arrays have no missing value.
    """

    n_rows: int
    columns: list[Array]
    _block: Array | None = None
    row: tuple[Any, ...] | None = None
    """The cells of a single row that would be a matrix of `dtype`, None where one is missing. Faster than an array."""
    dtype: Type | None = None
    warnings: RowWarnings | None = None
    """What was noticed while the rows were read; None: nothing."""

    @property
    def matrix(self) -> Array | None:
        if self._block is None and self.row is not None:
            self._block = np.array([self.row], self.dtype)
        return self._block


class Classification(msgspec.Struct, gc=False):
    """What a classifier said about n rows: `class_indexes` point into `spec.classes`.

    `probabilities`: `(n, n_classes)` in the order of `spec.classes`, within 0 and 1. `scores` are no probabilities:
    `(n, n_classes)` in the same order, or one a row as `(n, 1)`. At most one of the two; always finite, never -0.
    """

    class_indexes: list[int]
    probabilities: Array | None = None
    scores: Array | None = None

    @property
    def numbers(self) -> Array | None:
        """What stands beside the class."""
        return self.scores if self.probabilities is None else self.probabilities

    def labels(self, spec: ModelSpec) -> list[str]:
        """The predicted class of each row, as callers see it."""
        return [spec.classes[index] for index in self.class_indexes]


class Regression(msgspec.Struct, gc=False):
    """What a regression said about n rows: one `(n,)` array a target, each of its output's own type; always finite."""

    columns: list[Array]

    @property
    def values(self) -> Array:
        """Of the first target, which is mostly the only one."""
        return self.columns[0]


Prediction = Classification | Regression


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What a value of one column must be, given the array type the engine takes it in.

    `low` and `high` are what the array type can hold. The description's own range and categories are in `check`.
    """

    name: str
    type: ColumnType
    nullable: bool
    dtype: Type
    low: float
    high: float
    check: ValueCheck | None = None

    @property
    def plain_range(self) -> tuple[float, float]:
        """Numbers in it are taken without a closer look."""
        if self.check is None:
            return self.low, self.high
        return max(self.low, self.check.low), min(self.high, self.check.high)


class Layout:
    """How rows become the arrays that one loaded model takes.

    Cells travel as tuples in `field_order`: columns of one array type stand together, so that each type is filled
    in one go. Raises `LayoutError` if a column can't be carried by its array type.
    """

    def __init__(self, spec: ModelSpec, dtypes: Sequence[Type]) -> None:
        self.is_matrix = spec.input == "matrix"
        self.rules = tuple(_rule(spec, index, dtype) for index, dtype in enumerate(dtypes))
        if len({rule.name for rule in self.rules}) != len(self.rules):
            raise LayoutError("Two columns have the same name.")
        distinct = list(dict.fromkeys(dtypes))
        if self.is_matrix and len(distinct) > 1:
            raise LayoutError("All columns of a matrix have one array type.")
        self._groups = [(dtype, [i for i, other in enumerate(dtypes) if other == dtype]) for dtype in distinct]
        self.field_order = tuple(index for _, indexes in self._groups for index in indexes)
        self._is_plain = len(self._groups) == 1 and TEXT not in distinct

    def table_from_rows(self, rows: Sequence[tuple[Any, ...]]) -> Table:
        """From valid cells, row by row, in `field_order`; None stands for a missing value."""
        if self._is_plain:
            dtype = self._groups[0][0]
            if len(rows) == 1:
                return Table(1, [], None, rows[0], dtype)
            return Table(len(rows), [], np.array(rows, dtype))
        blocks, start = [], 0
        for dtype, indexes in self._groups:
            stop = start + len(indexes)
            blocks.append(_block([row[start:stop] for row in rows], dtype))
            start = stop
        if self.is_matrix:
            return Table(len(rows), [], blocks[0])
        return Table(len(rows), self._in_model_order(array for block in blocks for array in split(block)))

    def table_from_columns(self, columns: Sequence[Array]) -> Table:
        """From one `(n,)` array per column in the model's order, each of its rule's array type."""
        n_rows = len(columns[0])
        if self.is_matrix:
            return Table(n_rows, [], np.column_stack(columns))
        return Table(n_rows, [column.reshape(n_rows, 1) for column in columns])

    def _in_model_order(self, arrays: Iterable[Array]) -> list[Array]:
        ordered = sorted(zip(self.field_order, arrays, strict=True), key=_position)
        return [array for _, array in ordered]


def _position(pair: tuple[int, Array]) -> int:
    return pair[0]


def joined(tables: Sequence[Table]) -> Table:
    """The rows of several tables of one layout, below each other. Their warnings stay behind."""
    if len(tables) == 1:
        return tables[0]
    n_rows = sum(table.n_rows for table in tables)
    rows = [table.row for table in tables if table.row is not None]
    if len(rows) == len(tables):
        return Table(n_rows, [], np.array(rows, tables[0].dtype))
    blocks = [matrix for table in tables if (matrix := table.matrix) is not None]
    if len(blocks) == len(tables):
        return Table(n_rows, [], np.concatenate(blocks))
    columns = [table.columns if table.matrix is None else split(table.matrix) for table in tables]
    return Table(n_rows, [np.concatenate(parts) for parts in zip(*columns, strict=True)])


def parted(prediction: Prediction, sizes: Sequence[int]) -> list[Prediction]:
    """What was predicted for the first `sizes[0]` rows, for the next `sizes[1]`, and so on."""
    parts: list[Prediction] = []
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        start += size
        if isinstance(prediction, Regression):
            parts.append(Regression([column[rows] for column in prediction.columns]))
            continue
        probabilities, scores = prediction.probabilities, prediction.scores
        parts.append(
            Classification(
                prediction.class_indexes[rows],
                None if probabilities is None else probabilities[rows],
                None if scores is None else scores[rows],
            )
        )
    return parts


def _block(rows: list[tuple[Any, ...]], dtype: Type) -> Array:
    if dtype == TEXT:
        rows = [tuple("" if cell is None else cell for cell in row) for row in rows]
    return np.array(rows, dtype)


def split(block: Array) -> list[Array]:
    """The columns of a block: an `(n, k)` block as k contiguous `(n, 1)` arrays."""
    n_rows, n_columns = block.shape
    return list(np.ascontiguousarray(block.T).reshape(n_columns, n_rows, 1))


def _rule(spec: ModelSpec, index: int, dtype: Type) -> ColumnRule:
    column = spec.columns[index]
    if dtype.kind not in _CARRIERS[column.type]:
        raise LayoutError(
            f"Column {column.name}: the description says {column.type}, the model takes {_KIND_WORDS[dtype.kind]}."
        )
    if column.nullable and dtype.kind not in "fO":
        raise LayoutError(
            f"Column {column.name}: it can't be nullable, because the model takes {_KIND_WORDS[dtype.kind]}, "
            "which has no missing value."
        )
    low, high = _range(column.type, dtype)
    return ColumnRule(column.name, column.type, column.nullable, dtype, low, high, value_check(column, dtype))


def _range(kind: ColumnType, dtype: Type) -> tuple[float, float]:
    """What a number may be: what the array holds, and for whole numbers also what 64 bits hold."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return max(int(limits.min), INT64_MIN), min(int(limits.max), INT64_MAX)
    highest = float(np.finfo(dtype).max) if dtype.kind == "f" else 0.0
    if kind == "int":
        return max(INT64_MIN, int(-highest)), min(INT64_MAX, int(highest))
    return -highest, highest
