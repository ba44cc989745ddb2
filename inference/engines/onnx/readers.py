"""Reads what a graph gives as predictions, by the version's stored meaning: no name is looked at to find out a role.

A class is the model's own label wherever it gives one, found by the label itself and its type: true is not 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from contract.meaning import ClassLabel, Label, Meaning, Output
from inference.engines.base import ModelFailed
from inference.signature import NotServable, Port
from inference.table import Array, Classification, Prediction, Regression

RANGE_TOLERANCE: Final = 1e-4
"""How far outside 0 and 1 a probability may be: measured, sums of 2,000 trees in 32 bits reach 1 + 1.9e-5."""

_FEW: Final = 64  # below this a Python loop is faster than two numpy reductions
_NUMPY_KINDS: Final[dict[type[Any], str]] = {bool: "b", int: "iu", str: "OU"}

Reader = Callable[[list[Any], int], Prediction]
"""From the outputs asked for, and the number of rows. Raises `ModelFailed`."""


def reader_for(ports: Sequence[Port], meaning: Meaning) -> tuple[list[str], Reader]:
    """The names of the outputs to ask for, and how to read what comes. Raises `NotServable`."""
    names = {port.name for port in ports}
    if missing := [one.name for one in meaning.outputs if one.role != "ignored" and one.name not in names]:
        raise NotServable(f"The model has no output called {missing[0]}, which its description gives a role.")
    if meaning.values:
        if nameless := [one.name for one in meaning.values if not one.targets]:
            raise NotServable(f"The description does not name what the output {nameless[0]} predicts.")
        return [one.name for one in meaning.values], _ValueReader(meaning.values).read
    if len(meaning.classes) < 2:
        raise NotServable("A classification needs at least two classes.")
    label, numbers = meaning.output("label"), _numbers_output(meaning)
    if numbers is None:
        if label is None:
            raise NotServable("No output has a role: there is nothing to answer.")
        return [label], LabelReader(meaning.classes).read_alone
    if label is None and numbers.is_single:
        raise NotServable(f"The output {numbers.name} gives one score a row, which tells no class without a label.")
    is_map = next(port.kind for port in ports if port.name == numbers.name) == "map"
    reader = _ClassReader(meaning.classes, numbers, has_label=label is not None, is_map=is_map)
    return [numbers.name] + ([label] if label is not None else []), reader.read


def _numbers_output(meaning: Meaning) -> Output | None:
    found = [one for one in meaning.outputs if one.role in {"probabilities", "scores"}]
    if len(found) > 1:
        raise NotServable(f"Both {found[0].name} and {found[1].name} have a role; one of them can be served.")
    return found[0] if found else None


# --- values -----------------------------------------------------------------------------------------------------------


class _ValueReader:
    """One number a row and target: of several outputs, of several columns of one, or both."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._widths = [len(one.targets) for one in outputs]

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        columns: list[Array] = []
        for raw, width in zip(outputs, self._widths, strict=True):
            values = np.asarray(raw)
            if values.size != n_rows * width or (width > 1 and values.shape[0] != n_rows):
                raise _wrong_shape(f"The model gave values of shape {list(values.shape)} for {n_rows} rows.")
            values = _finite(values.reshape(n_rows, width), "a value")
            columns += [values[:, index] for index in range(width)]
        return Regression(columns)


def _finite(numbers: Array, what: str) -> Array:
    """The same numbers, 0 for -0. Raises `ModelFailed`."""
    if numbers.dtype.kind != "f":
        return numbers
    if not (math.isfinite(numbers.item()) if numbers.size == 1 else np.isfinite(numbers).all()):
        raise ModelFailed(f"The model gave {what} that is not a finite number.")
    unsigned: Array = numbers + 0
    return unsigned


# --- classes ----------------------------------------------------------------------------------------------------------


class LabelReader:
    """Finds the class of each label that the model gives."""

    def __init__(self, classes: Sequence[ClassLabel]) -> None:
        self._index_by_label: dict[str, dict[Any, int]] = {
            kind: {one.label: index for index, one in enumerate(classes) if type(one.label) is python_type}
            for python_type, kinds in _NUMPY_KINDS.items()
            for kind in kinds
        }

    def read_alone(self, outputs: list[Any], n_rows: int) -> Prediction:
        return Classification(self.indexes(outputs[0], n_rows))

    def index(self, labels: Array) -> int:
        """Of one row. Raises `ModelFailed`."""
        try:
            return self._index_by_label[labels.dtype.kind][labels.item()]
        except KeyError:
            raise _unknown_class() from None
        except ValueError:  # several labels
            raise _wrong_shape(f"The model gave {labels.size} labels for 1 row.") from None

    def indexes(self, labels: Array, n_rows: int) -> list[int]:
        """Of each row. Raises `ModelFailed`."""
        if labels.size != n_rows:
            raise _wrong_shape(f"The model gave {labels.size} labels for {n_rows} row{'s' * (n_rows != 1)}.")
        try:
            index_by_label = self._index_by_label[labels.dtype.kind]
            return [index_by_label[label] for label in flat(labels)]
        except KeyError:
            raise _unknown_class() from None


class _ClassReader:
    """Probabilities or scores, in one tensor or in ZipMap's maps, with or without a label beside them."""

    def __init__(self, classes: Sequence[ClassLabel], numbers: Output, *, has_label: bool, is_map: bool) -> None:
        self._labels = LabelReader(classes) if has_label else None
        self._are_scores = numbers.role == "scores"
        self._width = 1 if numbers.is_single else len(classes)
        self._maps = _Maps([one.label for one in classes]) if is_map else None
        self._usual_shape = (1, self._width)

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        numbers = outputs[0] if self._maps is None else self._maps.matrix(outputs[0], n_rows)
        if n_rows == 1 and numbers.shape == self._usual_shape and not self._are_scores:  # the usual request
            [row] = numbers.tolist()
            index = row.index(max(row)) if self._labels is None else self._labels.index(outputs[1])
            return Classification([index], numbers if _are_plain(row) else _clipped(numbers))
        numbers = self._matrix(numbers, n_rows)
        if self._labels is None:
            indexes: list[int] = numbers.argmax(axis=1).tolist()
        else:
            indexes = self._labels.indexes(outputs[1], n_rows)
        if self._are_scores:
            return Classification(indexes, scores=_finite(numbers, "a score"))
        return Classification(indexes, _as_probabilities(numbers))

    def _matrix(self, numbers: Array, n_rows: int) -> Array:
        """One line a row; a single probability is that of the second class."""
        shape = numbers.shape
        if shape == (n_rows, self._width):
            return numbers
        if shape in {(n_rows,), (n_rows, 1)}:
            if self._width == 1:
                return numbers.reshape(n_rows, 1)
            if self._width == 2 and not self._are_scores:
                second = numbers.reshape(n_rows)
                return np.column_stack([1 - second, second])
        kind = "scores" if self._are_scores else "probabilities"
        raise _wrong_shape(f"The model gave {kind} of shape {list(shape)} for {n_rows} rows.")


class _Maps:
    """Numbers as ZipMap gives them, one map a row: read by the labels that are their keys, whatever their order."""

    def __init__(self, labels: Sequence[Label]) -> None:
        self._labels = labels
        self._key_type = type(labels[0])

    def matrix(self, maps: list[dict[Any, float]], n_rows: int) -> Array:
        """`(n_rows, n_classes)`, in the order of the classes. Raises `ModelFailed`."""
        if len(maps) != n_rows:
            raise _wrong_shape(f"The model gave {len(maps)} answers for {n_rows} rows.")
        if type(next(iter(maps[0]), None)) is not self._key_type or any(len(one) != len(self._labels) for one in maps):
            raise _unknown_class()
        try:
            return np.array([[one[label] for label in self._labels] for one in maps], np.float32)
        except KeyError:
            raise _unknown_class() from None


def flat(labels: Array) -> list[Any]:
    values: list[Any] = (labels if labels.ndim == 1 else labels.ravel()).tolist()
    return values


# --- probabilities ----------------------------------------------------------------------------------------------------


def _are_plain(numbers: Sequence[float]) -> bool:
    """Whether they can be shown as they are: within 0 and 1, and no -0."""
    for number in numbers:
        if not 0.0 < number <= 1.0 and (number != 0.0 or math.copysign(1.0, number) < 0):  # NaN is neither
            return False
    return True


def _as_probabilities(numbers: Array) -> Array:
    if numbers.size <= _FEW:
        return numbers if _are_plain(numbers.ravel().tolist()) else _clipped(numbers)
    return numbers if numbers.min() > 0 and numbers.max() <= 1 else _clipped(numbers)


def _clipped(numbers: Array) -> Array:
    """Within 0 and 1, where they are nearly. Raises `ModelFailed` for others: shown as probabilities they would lie."""
    low, high = float(numbers.min()), float(numbers.max())
    if math.isnan(low) or math.isnan(high):
        raise ModelFailed("The model gave a probability that is not a number.")
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ModelFailed("The model gave probabilities that are not between 0 and 1.", ruled_out="not_probabilities")
    clipped: Array = np.clip(numbers, 0, 1) + 0  # -0 + 0 is 0
    return clipped


def _wrong_shape(words: str) -> ModelFailed:
    return ModelFailed(words, ruled_out="wrong_shape")


def _unknown_class() -> ModelFailed:
    words = "The model answered with a class that is not in its description."
    return ModelFailed(words, ruled_out="unknown_class")
