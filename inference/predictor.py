"""One loaded version of one model: its description, its engine, and what every dialect has prepared for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contract.model_spec import Cell, ModelSpec
from contract.problems import Problem
from inference import formats
from inference.engines import ModelFailed, ModelLoadError, load
from inference.formats.json_parser import JsonParser
from inference.table import Layout, LayoutError, Prediction, Table

__all__ = ["ModelFailed", "ModelLoadError", "Predictor"]

_T = TypeVar("_T")


class Predictor:
    """Loads the file at once. May be shared by threads."""

    def __init__(self, path: Path, spec: ModelSpec, fmt: str = "onnx") -> None:
        """Raises `ModelLoadError`."""
        self.spec = spec
        engine = load(path, spec, fmt)
        self._engine = engine
        self.predict: Callable[[Table], Prediction] = engine.predict
        """Raises `ModelFailed`. Blocking; the GIL is free while the model computes."""
        try:
            self.layout = Layout(spec, engine.dtypes)
        except LayoutError as error:
            raise ModelLoadError(str(error)) from None
        self._prepared: dict[type[Any], Any] = {}

    def prepared(self, kind: type[_T]) -> _T:
        """What a dialect compiles once per model: `kind(spec, layout)`, made when it is first asked for."""
        try:
            made: _T = self._prepared[kind]
        except KeyError:
            made = self._prepared[kind] = kind(self.spec, self.layout)  # type: ignore[call-arg]  # kinds share this form
        return made

    def table_from_rows(self, rows: Sequence[Mapping[str, Cell]]) -> Table:
        """Checked like rows of a request. Raises `Problem("invalid_rows")`."""
        return self.prepared(JsonParser).table(msgspec.json.encode({"rows": rows}))

    def sample_table(self) -> Table:
        """The sample row. Raises `ModelLoadError` if it doesn't fit the columns."""
        try:
            return self.table_from_rows([self.spec.sample])
        except Problem as problem:
            raise ModelLoadError(f"The sample row does not fit the columns: {_first_fault(problem)}") from None

    def warm_up(self) -> Prediction:
        """Predict the sample row through every dialect, so that no caller pays for what happens only once.

        Returns what the model says of its sample. Raises `ModelFailed`; `ModelLoadError` if the sample doesn't fit.
        """
        prediction = self.predict(self.sample_table())
        formats.warm_up(self, prediction)
        return prediction


def _first_fault(problem: Problem) -> str:
    if not problem.errors:
        return problem.detail
    fault = problem.errors[0]
    return f"{fault.column}: expected {fault.expected}, received {fault.received}."
