"""Prediction reasons: how much each variable moved a prediction, for any engine, by asking the model again.

The contribution of a variable is the prediction minus the prediction with that variable at its baseline (its median or
most frequent value in training). What the number means and what it doesn't: `docs/prediction-reasons.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from contract.model_spec import Cell, Column, ModelSpec
from contract.problems import Problem
from inference.answers import answer_shape, can_explain
from inference.table import TEXT, Array, Layout, Prediction, Regression, Table

LISTED: Final = 3
"""How many variables are named that raise the prediction, and how many that lower it."""

MAX_PREDICTIONS: Final = 500_000
_BATCH_CELLS: Final = 1_000_000  # bounds the memory of one batch, whatever the number of columns
_DECIMALS: Final = 6

_FALLBACKS: Final[dict[str, Cell]] = {"float": 0.0, "int": 0, "bool": False}


class Reasons(msgspec.Struct):
    """`contributions` is (n_rows, n_columns) in the model's order, rounded as it is shown.

    `class_indexes`: the class of each row whose probability or score they are about; None for what is of no class.
    `target`: the predicted number that they are about, where a model has several.
    """

    contributions: Array
    class_indexes: list[int] | None = None
    target: str = ""

    def raising(self) -> Array:
        """(n_rows, up to 3) column indexes, the strongest first, ties by column order."""
        return np.argsort(-self.contributions, axis=1, kind="stable")[:, :LISTED]

    def lowering(self) -> Array:
        """The same for the variables that lower the prediction."""
        return np.argsort(self.contributions, axis=1, kind="stable")[:, :LISTED]


class _Group:
    """Columns of one array type: `members` are their indexes, `baselines` what stands for each of them."""

    def __init__(self, members: list[int], baselines: Array) -> None:
        self.members = members
        self._places = np.arange(len(members))
        self._variants = np.array(members) + 1
        self._baselines = baselines

    def away(self, first: int, last: int) -> tuple[Array, Array, Array]:
        """Of variants `first` to `last`: the members that are away in one, which one that is, and their baselines."""
        if first <= self._variants[0] and self._variants[-1] < last:
            return self._places, self._variants - first, self._baselines
        touched = np.flatnonzero((self._variants >= first) & (self._variants < last))
        return touched, self._variants[touched] - first, self._baselines[touched]


class Explainer:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._n_columns = len(spec.columns)
        self._is_binary = spec.task == "binary"
        self._shape = answer_shape(spec)
        baselines = [_baseline(column) for column in spec.columns]
        dtypes = [rule.dtype for rule in layout.rules]
        self._groups = [
            _Group(members, np.array([_as_cell(baselines[index], dtype) for index in members], dtype))
            for dtype in dict.fromkeys(dtypes)
            for members in [[index for index, other in enumerate(dtypes) if other == dtype]]
        ]

    @property
    def row_predictions(self) -> int:
        """How often the model is asked for one row: once as it is, and once without each variable."""
        return self._n_columns + 1

    def check(self, n_rows: int) -> None:
        """Raises `Problem("invalid_rows")` for more rows than can be explained at once, and for a class alone."""
        if not can_explain(self._shape):
            raise Problem("invalid_rows", "The model answers with a class alone: it gives no number to explain.")
        most = max(1, MAX_PREDICTIONS // self.row_predictions)
        if n_rows > most:
            raise Problem("invalid_rows", f"The request has {n_rows} rows; at most {most} can be explained at once.")

    def explain(self, table: Table, prediction: Prediction, predict: Callable[[Table], Prediction]) -> list[Reasons]:
        """One of a classification, else one a target. Binary: of the probability or score of the second class; several
        classes: of the predicted one; else of the one score, or the value.

        Raises `ModelFailed`.
        """
        of = self._class_indexes(prediction)
        rows_at_once = max(1, _BATCH_CELLS // (self._n_columns * self.row_predictions))
        pieces = [
            self._contributions(table, start, min(start + rows_at_once, table.n_rows), of, predict)
            for start in range(0, table.n_rows, rows_at_once)
        ]
        targets = self._shape.targets if len(self._shape.targets) > 1 else ("",)
        return [
            Reasons(shown(_joined(parts, axis=0)), of, target)
            for target, parts in zip(targets, zip(*pieces, strict=True), strict=True)
        ]

    def _class_indexes(self, prediction: Prediction) -> list[int] | None:
        if isinstance(prediction, Regression) or self._shape.numbers == "score":
            return None
        return [1] * len(prediction.class_indexes) if self._is_binary else prediction.class_indexes

    def _contributions(
        self, table: Table, start: int, stop: int, of: list[int] | None, predict: Callable[[Table], Prediction]
    ) -> list[Array]:
        """(rows, columns) a target: mostly one batch; several where one row's variants alone are many cells."""
        variants_at_once = max(2, _BATCH_CELLS // (self._n_columns * (stop - start)))
        parts = []
        for first in range(0, self.row_predictions, variants_at_once):
            last = min(first + variants_at_once, self.row_predictions)
            answers = predict(self._variants(table, start, stop, first, last))
            parts.append(_explained(answers, of[start:stop] if of else None, stop - start))
        numbers = [_joined(target, axis=1) for target in zip(*parts, strict=True)]
        return [one[:, :1] - one[:, 1:] for one in numbers]

    def _variants(self, table: Table, start: int, stop: int, first: int, last: int) -> Table:
        """Variants `first` to `last` of each row. Variant 0 is the row itself; in variant j, column j - 1 is away."""
        n_rows, n_variants = stop - start, last - first
        n_all = n_rows * n_variants
        if table.matrix is not None:
            rows = table.matrix[start:stop]
            block = np.empty((n_rows, n_variants, self._n_columns), rows.dtype)
            block[:] = rows[:, np.newaxis]
            away, variants, baselines = self._groups[0].away(first, last)
            block[:, variants, away] = baselines
            return Table(n_all, [], block.reshape(n_all, self._n_columns))
        columns: list[Array] = [np.empty(0)] * self._n_columns
        for group in self._groups:
            cells = np.concatenate([table.columns[index][start:stop] for index in group.members])
            block = np.empty((len(group.members), n_rows, n_variants), cells.dtype)
            block[:] = cells.reshape(-1, n_rows, 1)
            away, variants, baselines = group.away(first, last)
            block[away, :, variants] = baselines[:, np.newaxis]
            for index, column in zip(group.members, block.reshape(-1, n_all, 1), strict=True):
                columns[index] = column
        return Table(n_all, columns)


def _joined(parts: Sequence[Array], *, axis: int) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


def _explained(answers: Prediction, of: list[int] | None, n_rows: int) -> list[Array]:
    """(rows, variants) a target: what is explained, of each variant. `of`: each row's class that it is about."""
    if isinstance(answers, Regression):
        return [_signed(column.reshape(n_rows, -1)) for column in answers.columns]
    numbers = answers.numbers
    assert numbers is not None  # noqa: S101  (`check` refused to explain a class alone)
    if of is None:
        return [_signed(numbers.reshape(n_rows, -1))]
    by_class = _signed(numbers.reshape(n_rows, -1, numbers.shape[1]))
    is_one = of.count(of[0]) == n_rows  # a plain slice is much quicker
    return [by_class[:, :, of[0]] if is_one else by_class[np.arange(n_rows), :, of]]


def _signed(values: Array) -> Array:
    """Floats: whole numbers without a sign would wrap around."""
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _baseline(column: Column) -> Cell:
    if column.baseline is not None:
        return column.baseline
    if column.type == "string":
        return column.categories[0] if column.categories else ""
    return _FALLBACKS[column.type]


def _as_cell(baseline: Cell, dtype: np.dtype[np.generic]) -> object:
    return str(baseline) if dtype == TEXT else baseline


def shown(contributions: Array) -> Array:
    """As 64-bit floats, to six decimals, and to no more digits than the model's own numbers have; never -0."""
    values = contributions.astype(np.float64)
    rounded = np.round(values, _DECIMALS)
    digits = np.finfo(contributions.dtype).precision + 1
    highest = np.abs(rounded).max(initial=0)
    if highest >= 10.0 ** (digits - _DECIMALS):
        sizes = np.floor(np.log10(np.abs(values), where=values != 0, out=np.zeros_like(values)))
        scales = 10.0 ** np.minimum(digits - 1 - sizes, _DECIMALS)
        rounded = np.round(values * scales) / scales
    result: Array = rounded + 0.0
    return result


def number_text(value: float) -> str:
    """A contribution as text: at most 6 decimals, no zeros at the end, no exponent."""
    return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
