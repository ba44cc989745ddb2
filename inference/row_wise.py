"""One row at a time, for models that answer a row differently when others stand beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from inference.table import Array, Classification, Prediction, Regression, Table

Predict = Callable[[Table], Prediction]


def row_by_row(predict: Predict) -> Predict:
    """Computes as `predict` does, but each row alone."""

    def predict_alone(table: Table) -> Prediction:
        if table.n_rows == 1:
            return predict(table)
        return _stacked([predict(_row(table, index)) for index in range(table.n_rows)])

    return predict_alone


def _row(table: Table, index: int) -> Table:
    rows = slice(index, index + 1)
    if table.matrix is not None:
        return Table(1, [], table.matrix[rows])
    return Table(1, [column[rows] for column in table.columns])


def _stacked(predictions: Sequence[Prediction]) -> Prediction:
    """The answers to the rows below each other; all are of one kind."""
    regressions = [one for one in predictions if isinstance(one, Regression)]
    if regressions:
        return Regression([np.concatenate(parts) for parts in zip(*(one.columns for one in regressions), strict=True)])
    answers = [one for one in predictions if isinstance(one, Classification)]
    indexes = [index for one in answers for index in one.class_indexes]
    return Classification(
        indexes, _below([one.probabilities for one in answers]), _below([one.scores for one in answers])
    )


def _below(parts: Sequence[Array | None]) -> Array | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None
