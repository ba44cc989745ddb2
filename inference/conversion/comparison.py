"""Hold a converted model against its own library, row by row, before anybody is told that it is the same model.

The tolerances are the contract's (docs/model-meaning.md): numbers to 1e-4 x max(1, |the library's|), the class equal
unless the library's two best lie within 1e-4. Rows are exact in float32, so that no rounding comes between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime

from inference.conversion.original import Answers, Column, Original, Rows
from inference.signature import NotServable
from inference.table import Array

N_ROWS: Final = 600
TOLERANCE: Final = 1e-4
_SEED: Final = 20261
_SCALES: Final = (1.0, 10.0, 100.0, 0.1)
_SMOOTH_SCALES: Final = (1.0, 3.0, 0.1)
"""For what is no tree: far away from what it has learnt, a sum of large numbers has few digits left in float32."""
_CATEGORIES: Final = 40
_SMALLEST_SPLIT: Final = 1e-30  # LightGBM writes "above zero" as 1e-35, which no row holds


@dataclass(frozen=True)
class Compared:
    """`largest`: the largest difference of a number, relative to the library's where that is above 1."""

    n_rows: int
    largest: float


def compared(
    original: Original, content: bytes, splits: Sequence[Sequence[float]], owned: Rows, *, with_missing: bool
) -> Compared:
    """`owned`: rows of the owner's. `with_missing`: in the rows made up, values are missing too.

    Raises `NotServable` with the worst row where the two differ.
    """
    rows = [np.concatenate(both) for both in zip(owned, _probe_rows(original, splits, with_missing), strict=True)]
    expected, received = original.answer(rows), _answers(content, rows, original.columns)
    if received.numbers.shape != expected.numbers.shape:
        raise NotServable(
            f"{original.library} gives {expected.numbers.shape[1]} numbers a row, and the model converted to ONNX "
            f"{received.numbers.shape[1]}. It can't be converted."
        )
    differences = _differences(expected.numbers, received.numbers)
    if differences.size and differences[row := int(differences.argmax())] > TOLERANCE:
        raise _differs(original, rows, row, expected.numbers[row].tolist(), received.numbers[row].tolist())
    if expected.labels is not None:
        _compare_labels(original, rows, expected, received)
    return Compared(len(rows[0]), float(differences.max(initial=0)))


def _differences(expected: Array, received: Array) -> Array:
    """The largest of each row. A number that only one of the two has is infinitely far."""
    if not expected.shape[1]:
        return np.zeros(len(expected))
    with np.errstate(invalid="ignore"):
        apart = np.abs(received - expected) / np.maximum(1.0, np.abs(expected))
    apart[(received == expected) | (np.isnan(received) & np.isnan(expected))] = 0
    largest: Array = np.where(np.isnan(apart), np.inf, apart).max(axis=1)
    return largest


def _compare_labels(original: Original, rows: Rows, expected: Answers, received: Answers) -> None:
    if received.labels is None or expected.labels is None:
        raise NotServable(f"The model converted from {original.library} gives no class.")
    is_tie = np.zeros(len(expected.labels), bool)
    if expected.numbers.shape[1] > 1:
        ordered = np.sort(expected.numbers, axis=1)
        is_tie = ordered[:, -1] - ordered[:, -2] <= TOLERANCE
    wrong = (np.array(received.labels, str) != np.array(expected.labels, str)) & ~is_tie
    if wrong.any():
        row = int(wrong.argmax())
        raise _differs(original, rows, row, expected.labels[row], received.labels[row])


def _differs(original: Original, rows: Rows, row: int, expected: Any, received: Any) -> NotServable:
    names = [column.name or f"x{position}" for position, column in enumerate(original.columns)]
    told = ", ".join(f"{name} = {_cell(values[row])}" for name, values in list(zip(names, rows, strict=True))[:8])
    return NotServable(
        f"The model can't be converted to ONNX without changing its answers. For the row {told}"
        f"{' …' if len(names) > 8 else ''}, {original.library} says {_shown(expected)}, and the converted model "
        f"{_shown(received)}."
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "missing" if value is None or np.isnan(value) else f"{value:.6g}"


def _shown(answer: Any) -> str:
    if not isinstance(answer, list):
        return str(answer)
    return ", ".join(f"{number:.6g}" for number in answer[:5]) + (" …" if len(answer) > 5 else "")


def _answers(content: bytes, rows: Rows, columns: Sequence[Column]) -> Answers:
    """Of the converted model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    ports = [port.name for port in session.get_inputs()]
    if len(ports) == 1 and len(columns) != 1:
        feed: dict[str, Array] = {ports[0]: np.column_stack(rows).astype(np.float32)}
    else:
        feed = {name: _fed(values).reshape(-1, 1) for name, values in zip(ports, rows, strict=True)}
    outputs = [np.asarray(one) for one in session.run(None, feed)]
    numbers = [one.reshape(len(rows[0]), -1) for one in outputs if one.dtype.kind == "f"]
    labels = next((one.reshape(-1) for one in outputs if one.dtype.kind in "iUSO"), None)
    none = np.empty((len(rows[0]), 0))
    return Answers(np.column_stack(numbers or [none]).astype(np.float64), labels)


def _fed(values: Array) -> Array:
    """A missing text is an empty one, as it is when it is served."""
    return np.array(["" if value is None else value for value in values], object) if values.dtype == object else values


def _probe_rows(original: Original, splits: Sequence[Sequence[float]], with_missing: bool) -> list[Array]:
    """Mixtures of values at which something may change: around each split, zero, missing; and of any size."""
    random = np.random.default_rng(_SEED)
    gap = np.nan if with_missing else 0.0
    scales = _SCALES if any(splits) else _SMOOTH_SCALES
    return [_values(column, at, gap, scales, random) for column, at in zip(original.columns, splits, strict=True)]


def _values(
    column: Column, splits: Sequence[float], gap: float, scales: Sequence[float], random: np.random.Generator
) -> Array:
    if column.kind == "text":
        chosen = [*column.values, *([] if gap == 0 else [None])]
        return np.array([chosen[i] for i in random.integers(0, len(chosen), N_ROWS)], object)
    if column.kind == "coded":
        numbers = np.array([*column.values, gap], np.float32)
    elif column.kind == "whole":
        known = [value for value in splits if value == int(value)]
        numbers = np.array([*range(_CATEGORIES), *known, gap], np.float32)
    else:
        at = np.array([value for value in splits if abs(value) > _SMALLEST_SPLIT], np.float32)
        around = [at, np.nextafter(at, np.float32(np.inf)), np.nextafter(at, np.float32(-np.inf))]
        spread = random.normal(size=200) * random.choice(scales, 200)
        often = [np.full(max(1, (3 * len(at) + 200) // 20), value) for value in (0.0, gap)]
        numbers = np.concatenate([*around, spread, *often])
    picked: Array = random.choice(numbers, N_ROWS).astype(np.float32)
    return picked
