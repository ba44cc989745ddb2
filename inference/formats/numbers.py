"""Numbers of predictions as text: the shortest decimal that reads back as the same 32-bit (or 64-bit) float.

orjson writes a whole array at once, numpy one scalar at a time in ten times the time; a Python float would show a
32-bit 0.97 as 0.9700000286102295.
"""

from __future__ import annotations

import numpy as np
import orjson

from inference.table import Array, Classification, Prediction

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def answer_texts(prediction: Prediction) -> list[tuple[str, ...]]:
    """Of each row: the numbers that stand beside its class, or one a target."""
    if isinstance(prediction, Classification):
        if prediction.probabilities is not None:
            return row_texts(prediction.probabilities)
        return [()] * len(prediction.class_indexes) if prediction.scores is None else row_texts(prediction.scores)
    return list(zip(*map(number_texts, prediction.columns), strict=True))


def number_texts(values: Array) -> list[str]:
    """Of an `(n,)` array of finite numbers, n > 0."""
    return _json(values)[1:-1].split(",")


def row_texts(rows: Array) -> list[tuple[str, ...]]:
    """Of an `(n, k)` array of finite numbers, n > 0."""
    return [tuple(row.split(",")) for row in _json(rows)[2:-2].split("],[")]


def _json(values: Array) -> str:
    try:
        return orjson.dumps(values, option=_NUMPY).decode()
    except orjson.JSONEncodeError:  # of an array whose numbers don't lie in a row
        return orjson.dumps(np.ascontiguousarray(values), option=_NUMPY).decode()
