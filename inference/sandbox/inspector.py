"""What an inspection finds out about a model file, inside the limits of its process."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from contract.model_spec import ModelSpec
from inference.engines import ModelFailed
from inference.formats import table_from_rows, warm_up
from inference.formats.replies import JsonReply
from inference.predictor import Predictor
from inference.table import Prediction

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


def described(spec: ModelSpec, prediction: Prediction) -> dict[str, Any]:
    """The one prediction as the gateway's JSON has it."""
    document: dict[str, Any] = msgspec.json.decode(JsonReply(spec).body(prediction, ""))
    answer: dict[str, Any] = document["predictions"][0]
    return answer
