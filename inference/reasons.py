"""Prediction reasons: how much each variable moved a prediction, for any engine, by asking the model again.

The contribution of a variable is the prediction minus the prediction with that variable at its baseline (its median or
most frequent value in training). What the number means and what it doesn't: `docs/prediction-reasons.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from contract.model_spec import Cell, Column, ModelSpec
from contract.problems import Problem
from inference.table import TEXT, Array, Classification, Layout, Prediction, Regression, Table

LISTED: Final = 3
"""How many variables are named that raise the prediction, and how many that lower it."""

MAX_PREDICTIONS: Final = 500_000
_BATCH_CELLS: Final = 1_000_000  # bounds the memory of one batch, whatever the number of columns
_DECIMALS: Final = 6

_FALLBACKS: Final[dict[str, Cell]] = {"float": 0.0, "int": 0, "bool": False}


class Reasons(msgspec.Struct):
    """`contributions` is (n_rows, n_columns) in the model's order, rounded as it is shown.

    `class_indexes`: the class of each row whose probability they are about; None for a regression.
    """

    contributions: Array
    class_indexes: list[int] | None

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
        self.is_binary = spec.task == "binary"
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

    def check_size(self, n_rows: int) -> None:
        """Raises `Problem("invalid_rows")` for more rows than can be explained in one request."""
        most = max(1, MAX_PREDICTIONS // self.row_predictions)
        if n_rows > most:
            raise Problem("invalid_rows", f"The request has {n_rows} rows; at most {most} can be explained at once.")

    def explain(self, table: Table, prediction: Prediction, predict: Callable[[Table], Prediction]) -> Reasons:
        """Binary: of the probability of the second class; several classes: of the predicted one; else of the value.

        Raises `ModelFailed`.
        """
        rows_at_once = max(1, _BATCH_CELLS // (self._n_columns * self.row_predictions))
        pieces = [
            self._contributions(table, start, min(start + rows_at_once, table.n_rows), prediction, predict)
            for start in range(0, table.n_rows, rows_at_once)
        ]
        contributions = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return Reasons(shown(contributions), self._class_indexes(prediction))

    def _class_indexes(self, prediction: Prediction) -> list[int] | None:
        if isinstance(prediction, Regression):
            return None
        return [1] * len(prediction.class_indexes) if self.is_binary else prediction.class_indexes

    def _contributions(
        self, table: Table, start: int, stop: int, prediction: Prediction, predict: Callable[[Table], Prediction]
    ) -> Array:
        """(rows, columns): mostly one batch; several where one row's variants alone are many cells."""
        variants_at_once = max(2, _BATCH_CELLS // (self._n_columns * (stop - start)))
        parts = []
        for first in range(0, self.row_predictions, variants_at_once):
            last = min(first + variants_at_once, self.row_predictions)
            answers = predict(self._variants(table, start, stop, first, last))
            parts.append(_scores(answers, self._class_indexes(prediction), start, stop))
        scores = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        difference: Array = scores[:, :1] - scores[:, 1:]
        return difference

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


def _scores(answers: Prediction, class_indexes: list[int] | None, start: int, stop: int) -> Array:
    """(rows, variants): what is explained, of each variant."""
    n_rows = stop - start
    if isinstance(answers, Classification):
        scores = answers.probabilities.reshape(n_rows, -1, answers.probabilities.shape[1])
        wanted = (class_indexes or [])[start:stop]
        is_one = wanted.count(wanted[0]) == n_rows  # a plain slice is much quicker
        picked: Array = scores[:, :, wanted[0]] if is_one else scores[np.arange(n_rows), :, wanted]
        return picked
    values = answers.values.reshape(n_rows, -1)
    return values if values.dtype.kind == "f" else values.astype(np.float64)  # whole numbers without a sign wrap around


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
