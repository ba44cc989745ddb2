"""Prediction reasons: how much each variable moved a prediction, for any engine, by asking the model again.

The contribution of a variable is the prediction minus the prediction with that variable at its baseline (its median or
most frequent value in training). What the number means and what it doesn't: `docs/prediction-reasons.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from gateway.modelspec import Cell, Column, ModelSpec
from gateway.problems import Problem
from gateway.table import TEXT, Array, Classification, Layout, Prediction, Regression, Table

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


class Reasoner:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._n_columns = len(spec.columns)
        self.is_binary = spec.task == "binary"
        baselines = [_baseline(column) for column in spec.columns]
        dtypes = [rule.dtype for rule in layout.rules]
        self._groups = [
            (members, np.array([_as_cell(baselines[index], dtype) for index in members], dtype))
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
        return Reasons(np.round(contributions, _DECIMALS) + 0.0, self._class_indexes(prediction))

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
        if table.matrix is not None:
            block = np.repeat(table.matrix[start:stop], n_variants, axis=0).reshape(n_rows, n_variants, self._n_columns)
            away = np.arange(max(first - 1, 0), last - 1)  # the columns that are away in one of these variants
            block[:, away + 1 - first, away] = self._groups[0][1][away]
            return Table(n_rows * n_variants, [], block.reshape(n_rows * n_variants, self._n_columns))
        columns: list[Array] = [np.empty(0)] * self._n_columns
        for members, baselines in self._groups:
            cells = np.stack([table.columns[index][start:stop, 0] for index in members])
            block = np.repeat(cells, n_variants, axis=1).reshape(len(members), n_rows, n_variants)
            places = np.array(members) + 1 - first
            touched = np.flatnonzero((places >= 0) & (places < n_variants))
            block[touched, :, places[touched]] = baselines[touched, np.newaxis]
            for index, column in zip(members, block.reshape(len(members), n_rows * n_variants, 1), strict=True):
                columns[index] = column
        return Table(n_rows * n_variants, columns)


def _scores(answers: Prediction, class_indexes: list[int] | None, start: int, stop: int) -> Array:
    """(rows, variants): what is explained, of each variant."""
    n_rows = stop - start
    if isinstance(answers, Classification):
        scores = answers.probabilities.reshape(n_rows, -1, answers.probabilities.shape[1])
        wanted = (class_indexes or [])[start:stop]
        picked: Array = scores[np.arange(n_rows), :, wanted]
        return picked
    return answers.values.reshape(n_rows, -1)


def _baseline(column: Column) -> Cell:
    if column.baseline is not None:
        return column.baseline
    if column.type == "string":
        return column.categories[0] if column.categories else ""
    return _FALLBACKS[column.type]


def _as_cell(baseline: Cell, dtype: np.dtype[np.generic]) -> object:
    return str(baseline) if dtype == TEXT else baseline


def number_text(value: object) -> str:
    """A contribution as it is shown: at most 6 decimals, none that mean nothing. `value` is a numpy scalar."""
    return f"{float(str(value)):.{_DECIMALS}f}".rstrip("0").rstrip(".")
