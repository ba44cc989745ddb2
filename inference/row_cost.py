"""What a row costs alone and among others, measured where the model will run: do requests pay when they are joined?"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from inference.predictor import ModelFailed, Predictor
from inference.table import Table, joined

ROWS_TOGETHER: Final = 32
"""The most rows of several requests that are computed by one call."""
LEAST_ROW_S: Final = 20e-6
"""A row that costs less is computed alone: putting requests together and taking their answers apart costs some too."""
SLOW_ROW_S: Final = 0.25
"""Seen once, it is not measured any further."""
LONGEST_CALL_S: Final = 0.25
"""What a call for several requests may take: the first of them waits for the last."""

_RUNS: Final = 5
_STEPS: Final = (8, ROWS_TOGETHER)
_LONGEST_STEP_S: Final = 1.0  # a step that may take longer is not tried
_GROWTH: Final = 1.5  # nor is any after one that took so many times its share
_GAIN: Final = 0.8


class RowCost(msgspec.Struct, frozen=True):
    """Seconds of CPU time. `joined_s`: of a row among `joined_rows`, which is the most that was tried; 1: none was."""

    alone_s: float
    joined_s: float = 0.0
    joined_rows: int = 1

    @property
    def rows_a_call(self) -> int:
        """How many rows of several requests one call should have; 1: each request has a call of its own."""
        if self.alone_s < LEAST_ROW_S or self.joined_s > _GAIN * self.alone_s or self.joined_rows == 1:
            return 1
        return max(1, min(self.joined_rows, int(LONGEST_CALL_S / max(self.joined_s, 1e-9))))


def of_a_row(predictor: Predictor, sample: Table) -> RowCost:
    """The best of a few runs in this thread's CPU time: a busy machine makes no model slower. Raises `ModelFailed`."""
    return RowCost(_seconds(predictor, sample))


def of_joined_rows(predictor: Predictor, sample: Table, cost: RowCost) -> RowCost:
    """With what rows cost beside others, where the model's answers to them don't depend on each other."""
    meaning = predictor.spec.meaning
    if meaning is None or not meaning.may_join_rows or not LEAST_ROW_S <= cost.alone_s <= SLOW_ROW_S:
        return cost
    row_s = cost.alone_s
    for rows in _STEPS:
        if row_s * rows > _LONGEST_STEP_S or row_s > _GROWTH * cost.alone_s:
            break
        try:
            row_s = _seconds(predictor, joined([sample] * rows)) / rows
        except ModelFailed:
            break
        cost = RowCost(cost.alone_s, row_s, rows)
    return cost


def _seconds(predictor: Predictor, table: Table) -> float:
    best = float("inf")
    for _ in range(_RUNS):
        started = time.thread_time()
        predictor.predict(table)
        best = min(best, time.thread_time() - started)
        if best > SLOW_ROW_S:
            break
    return best
