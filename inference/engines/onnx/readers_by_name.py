"""Reads the outputs of versions that were registered before meanings were stored, as they have always been read.

By the names of outputs and classes, so the class of a row can depend on the rows beside it: see docs/model-meaning.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from contract.model_spec import ModelSpec, is_plain_integer
from inference.engines.base import ModelFailed
from inference.engines.onnx.readers import Reader, flat
from inference.outputs import OutputRoles
from inference.table import Array, Classification, Prediction, Regression

# Sums of many float32 leaves end a little outside 0..1; scores that are no probabilities end far outside.
_LOWEST, _HIGHEST = -1e-4, 1 + 1e-4
_FEW = 64  # below this a Python loop is faster than two numpy reductions


def reader_by_name(roles: OutputRoles, spec: ModelSpec) -> tuple[list[str], Reader]:
    """The names of the outputs to ask for, and how to read what comes."""
    if roles.probabilities is None:
        assert roles.value is not None  # noqa: S101  (a model has a value or probabilities)
        return [roles.value.name], _read_values
    names = [roles.probabilities.name] + ([roles.label.name] if roles.label else [])
    is_map = roles.probabilities.kind == "map"
    return names, (_MapReader(spec.classes) if is_map else _TensorReader(spec.classes)).read


def _read_values(outputs: list[Any], n_rows: int) -> Prediction:
    values = np.asarray(outputs[0])
    if values.size != n_rows:
        raise ModelFailed(f"The model gave {values.size} values for {n_rows} rows.")
    values = values.reshape(n_rows)
    if not (math.isfinite(values[0]) if n_rows == 1 else np.isfinite(values).all()):
        raise ModelFailed("The model gave a value that is not a finite number.")
    return Regression([values])


class _TensorReader:
    """Probabilities as one tensor, with or without a label beside it.

    Integer labels that are not the text of the classes say nothing about their order, so the class is then the
    one at the position of the highest probability. That is right whatever number the labels start from.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._n_classes = len(classes)
        self._by_text = {name: index for index, name in enumerate(classes)}
        self._by_number = {int(name): index for name, index in self._by_text.items() if is_plain_integer(name)}
        if len(self._by_number) != self._n_classes:
            self._by_number = {}

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        scores = outputs[0]
        if n_rows == 1 and len(outputs) == 1 and scores.shape == (1, self._n_classes):  # the usual request
            [row] = scores.tolist()
            _check_probabilities(row)
            return Classification([row.index(max(row))], scores)
        probabilities = _checked_probabilities(self._matrix(scores, n_rows))
        labels = outputs[1] if len(outputs) > 1 else None
        if labels is not None and labels.size != n_rows:
            raise ModelFailed(f"The model gave {labels.size} labels for {n_rows} rows.")
        return Classification(self._indexes(labels, probabilities), probabilities)

    def _matrix(self, scores: Array, n_rows: int) -> Array:
        shape = scores.shape
        if shape == (n_rows, self._n_classes):
            return scores
        if self._n_classes == 2 and shape in {(n_rows,), (n_rows, 1)}:
            positive = scores.reshape(n_rows)
            return np.column_stack([1 - positive, positive])
        raise ModelFailed(f"The model gave probabilities of shape {list(shape)} for {n_rows} rows.")

    def _indexes(self, labels: Array | None, probabilities: Array) -> list[int]:
        if labels is None:
            return _most_likely(probabilities)
        if labels.dtype.kind not in "iub":
            return _looked_up(labels, self._by_text)
        try:
            return [self._by_number[label] for label in flat(labels)]
        except KeyError:
            return _most_likely(probabilities)


class _MapReader:
    """Probabilities as ZipMap gives them: one map from label to probability per row.

    The maps' keys are the labels: text is matched by text, numbers by their text too, else by position in ascending
    order, which is the order converters write them in.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._by_key: dict[Any, int] = {}

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        maps = outputs[0]
        if len(maps) != n_rows:
            raise ModelFailed(f"The model gave {len(maps)} answers for {n_rows} rows.")
        by_key = self._by_key or self._learn(maps[0])
        try:
            scores = np.array([[one[key] for key in by_key] for one in maps], np.float32)
        except KeyError:
            raise ModelFailed("The model left out a class in one of its answers.") from None
        probabilities = _checked_probabilities(scores)
        if len(outputs) == 1 or np.size(outputs[1]) != n_rows:
            return Classification(_most_likely(probabilities), probabilities)
        return Classification(_looked_up(outputs[1], by_key), probabilities)

    def _learn(self, first: dict[Any, float]) -> dict[Any, int]:
        """Keys in the order of the classes; only the first answer can tell them."""
        by_text = {str(key): key for key in first}
        if by_text.keys() == set(self._classes):
            keys = [by_text[name] for name in self._classes]
        elif len(first) == len(self._classes) and all(isinstance(key, int) for key in first):
            keys = sorted(first)
        else:
            raise ModelFailed("The model's classes are not those of its description.")
        self._by_key = {key: index for index, key in enumerate(keys)}
        return self._by_key


def _most_likely(probabilities: Array) -> list[int]:
    indexes: list[int] = probabilities.argmax(axis=1).tolist()
    return indexes


def _looked_up(labels: Array, known: dict[Any, int]) -> list[int]:
    try:
        return [known[label] for label in flat(labels)]
    except KeyError:
        raise ModelFailed("The model answered with a class that is not in its description.") from None


def _checked_probabilities(scores: Array) -> Array:
    is_short = scores.size <= _FEW
    _check_probabilities(scores.ravel().tolist() if is_short else (scores.min(), scores.max()))  # both NaN if any is
    return scores


def _check_probabilities(values: Iterable[float]) -> None:
    """Not finite, or scores that are no probabilities, are refused: shown as probabilities they would be a lie."""
    for value in values:
        if not _LOWEST <= value <= _HIGHEST:  # True for NaN
            raise ModelFailed("The model gave probabilities that are not between 0 and 1.")
