"""What an inspection finds out about a model file, inside the limits of its process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contract.model_spec import Cell, ModelSpec
from inference.engines import ModelFailed
from inference.formats import choose, table_from_rows, warm_up
from inference.meaning.checks import confusion_of, fit_of, proposed_names
from inference.meaning.classes import label_text
from inference.meaning.expected import ExpectedClasses, expected_numbers
from inference.predictor import Predictor
from inference.sandbox.inspection_messages import Agreement
from inference.table import Classification, Prediction, Regression

SPEED_ROUNDS = 50
SPEED_TIME_S = 0.05


class LoadedFile:
    """The file loaded as the gateway loads it. Raises `ModelLoadError`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        self.spec = spec
        self._predictor = Predictor(path, spec)

    def predict_sample(self) -> Prediction:
        """Through everything that a caller's row will pass. Raises `ModelLoadError` or `ModelFailed`."""
        return warm_up(self._predictor)

    def accepts_missing(self, name: str) -> bool:
        """Whether the sample row without this value still gets a usable prediction."""
        index = [column.name for column in self.spec.columns].index(name)
        layout = self._predictor.layout
        if layout.rules[index].dtype.kind not in "fO":  # neither NaN nor empty text
            return False
        cells = [self.spec.sample[column.name] for column in self.spec.columns]
        cells[index] = None
        try:
            self._predictor.predict(layout.table_from_rows([tuple(cells[i] for i in layout.field_order)]))
        except ModelFailed:
            return False
        return True

    def row_us(self) -> float:
        """Median time of one row, in microseconds, over at most `SPEED_TIME_S`."""
        table = table_from_rows(self._predictor, [self.spec.sample])
        times: list[float] = []
        end = time.perf_counter() + SPEED_TIME_S
        while not times or (len(times) < SPEED_ROUNDS and time.perf_counter() < end):
            started = time.perf_counter()
            self._predictor.predict(table)
            times.append(time.perf_counter() - started)
        return sorted(times)[len(times) // 2] * 1e6

    def predictions(self, rows: Sequence[Mapping[str, Cell]]) -> list[dict[str, Any]]:
        """Each row's prediction as the gateway's JSON has it. Raises `ModelFailed`."""
        request_format = choose("predict", {b"content-type": b"application/json"})
        decoded = request_format.decode(msgspec.json.encode({"rows": rows}), self._predictor)
        prediction = self._predictor.predict(decoded.table)
        reply = request_format.encode(prediction, decoded, self._predictor, "1")
        found: list[dict[str, Any]] = msgspec.json.decode(reply.body)["predictions"]
        return found

    def agreement(self, rows: Sequence[Mapping[str, Cell]], targets: Sequence[str]) -> Agreement | None:
        """None without targets, and where they are no numbers for a regression. Raises `ModelFailed`."""
        if not targets:
            return None
        prediction = self._predictor.predict(table_from_rows(self._predictor, rows))
        if isinstance(prediction, Regression):
            return _numbers_agreement(prediction, targets)
        return _classes_agreement(self.spec, prediction, targets)


def _classes_agreement(spec: ModelSpec, prediction: Classification, targets: Sequence[str]) -> Agreement | None:
    """Of the rows that have a target."""
    expected = list(map(ExpectedClasses(spec.classes).read, targets))
    told = [(row, name) for row, name in enumerate(expected) if name is not None]
    if not told:
        return None
    names = [name for _row, name in told]
    answered = prediction.labels(spec)
    table = confusion_of([answered[row] for row, _name in told], names, spec.classes)
    labels = [one.label for one in spec.meaning.classes] if spec.meaning else list(spec.classes)
    proposal = None
    if not set(names) <= set(spec.classes):
        proposal = proposed_names([labels[prediction.class_indexes[row]] for row, _name in told], names)
    return Agreement(
        rows=table.total,
        agreeing=table.agreeing,
        names=table.names,
        counts=table.counts,
        proposal={label_text(label): name for label, name in (proposal or {}).items()},
    )


def _numbers_agreement(prediction: Regression, targets: Sequence[str]) -> Agreement | None:
    """Of the one target there is, in the rows that have it."""
    expected = expected_numbers(targets)
    if expected is None or len(prediction.columns) != 1:
        return None
    is_there = np.isfinite(expected)
    fit = fit_of(prediction.columns[0][is_there], expected[is_there])
    return Agreement(rows=fit.rows, r2=fit.r2, mean_error=fit.mean_error)
