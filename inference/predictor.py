"""One loaded version of one model: its description, its engine's session, and what is compiled once for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from contract.model_spec import DEFAULT_FORMAT, ModelSpec
from inference.engines import ModelFailed, ModelLoadError, engine_for
from inference.row_wise import row_by_row
from inference.table import Layout, LayoutError, Prediction, Table

__all__ = ["ModelFailed", "ModelLoadError", "Predictor"]

_T = TypeVar("_T")


class Predictor:
    """Loads the file at once. May be shared by threads. It knows no request format: those compile themselves for it."""

    def __init__(self, path: Path, spec: ModelSpec, fmt: str = DEFAULT_FORMAT) -> None:
        """Raises `ModelLoadError`."""
        self.spec = spec
        engine = engine_for(fmt)
        self.platform = engine.platform
        session = engine.load(path, spec)
        is_row_wise = spec.meaning is not None and spec.meaning.is_row_wise
        self.predict: Callable[[Table], Prediction] = row_by_row(session.predict) if is_row_wise else session.predict
        """Raises `ModelFailed`. Blocking; the GIL is free while the model computes."""
        try:
            self.layout = Layout(spec, session.dtypes)
        except LayoutError as error:
            raise ModelLoadError(str(error)) from None
        self._prepared: dict[type[Any], Any] = {}

    def prepared(self, kind: type[_T]) -> _T:
        """What is compiled once for each model: `kind(spec, layout)`, made when it is first asked for."""
        try:
            made: _T = self._prepared[kind]
        except KeyError:
            made = self._prepared[kind] = kind(self.spec, self.layout)  # type: ignore[call-arg]  # kinds share this form
        return made
