"""What runs a model file. One engine a file, one line in `_ENGINES`; its libraries are imported when first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from contract.model_spec import ModelSpec
from inference.table import Prediction, Table, Type

# format of a model file -> module and class that runs it
_ENGINES: dict[str, tuple[str, str]] = {
    "onnx": ("inference.engines.onnx.engine", "OnnxEngine"),
}


class ModelLoadError(Exception):
    """The file can't be served as it is described. `str()` is one plain sentence."""


class ModelFailed(Exception):
    """The model could not compute this prediction. `str()` is one plain sentence."""


class Engine(Protocol):
    """A loaded model. `dtypes`: the array type it takes each column in, in the order of `spec.columns`."""

    dtypes: tuple[Type, ...]

    def predict(self, table: Table) -> Prediction:
        """Blocking and safe to call from several threads. Raises `ModelFailed`."""


def load(path: Path, spec: ModelSpec, fmt: str) -> Engine:
    """Raises `ModelLoadError`, also for a format that no engine reads."""
    if fmt not in _ENGINES:
        raise ModelLoadError(f"No engine reads the format {fmt}.")
    module, name = _ENGINES[fmt]
    engine = cast(Callable[[Path, ModelSpec], Engine], getattr(import_module(module), name))
    return engine(path, spec)
