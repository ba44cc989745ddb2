"""What the inspection child does with the file, inside its limits: read, check, probe, test."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from contract.model_spec import DEFAULT_FORMAT, ModelSpec
from contract.problems import Problem
from inference.engines import ModelFailed, ModelLoadError, engine_for
from inference.formats import table_from_rows, warm_up
from inference.predictor import Predictor
from inference.sandbox.inspection_messages import Answer, Ask
from inference.signature import NotServable
from inference.table import Prediction, Regression

TOO_LARGE = "The model needs more memory than an inspection may take."
SPEED_ROUNDS = 50
SPEED_TIME_S = 0.05


class Inspector:
    """One file. Loading waits for the first question, so that the process can close its other doors before it."""

    def __init__(self, path: Path, *, reads_graph: bool) -> None:
        self._path = path
        self._served: _Served | None = None
        self._engine = engine_for(DEFAULT_FORMAT)
        self._engine.import_libraries(for_reading=reads_graph)

    def answer(self, ask: Ask) -> Answer:
        """What was asked for, or why the model is refused."""
        try:
            return self._answer(ask)
        except NotServable as refusal:
            return Answer(refused=str(refusal))
        except (ModelLoadError, ModelFailed) as refusal:
            return Answer(refused=TOO_LARGE if refusal.is_out_of_memory else str(refusal))
        except Problem as problem:
            fault = problem.errors[0] if problem.errors else None
            words = (
                f"{fault.column}: expected {fault.expected}, received {fault.received}." if fault else problem.detail
            )
            return Answer(refused=f"The sample row can't be sent as a caller would send it: {words}")
        except MemoryError:
            return Answer(refused=TOO_LARGE)

    def _answer(self, ask: Ask) -> Answer:
        if ask.do == "read":
            return Answer(signature=self._engine.read_signature(self._path))
        if ask.spec is None:
            raise TypeError(f"{ask.do} needs a description")
        if self._served is None or self._served.spec != ask.spec:
            self._served = _Served(self._path, ask.spec)
        served = self._served
        if ask.do == "probe":
            return Answer(nullable=tuple(name for name in ask.names if served.stands_missing(name)))
        if ask.do == "test":
            return Answer(prediction=described(ask.spec, served.predict_sample()), row_us=served.row_us())
        return Answer()


class _Served:
    """The file loaded as the gateway loads it. Raises `ModelLoadError`."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        self.spec = spec
        self._predictor = Predictor(path, spec)

    def predict_sample(self) -> Prediction:
        """Through everything that a caller's row will pass. Raises `ModelLoadError` or `ModelFailed`."""
        return warm_up(self._predictor)

    def stands_missing(self, name: str) -> bool:
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
    if isinstance(prediction, Regression):
        return {"value": float(prediction.values[0])}
    probabilities = dict(zip(spec.classes, map(float, prediction.probabilities[0]), strict=True))
    return {"class": prediction.labels(spec)[0], "probabilities": probabilities}
