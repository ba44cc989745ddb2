"""What runs a model file: one folder an engine, and one line in `_ENGINES`."""

from __future__ import annotations

from inference.engines.base import Engine, ModelFailed, ModelLoadError, RawSession, Session
from inference.engines.onnx.engine import OnnxEngine

__all__ = ["Engine", "ModelFailed", "ModelLoadError", "RawSession", "Session", "engine_for", "import_libraries"]

_ENGINES: tuple[Engine, ...] = (OnnxEngine(),)

_BY_FORMAT = {engine.format: engine for engine in _ENGINES}


def engine_for(model_format: str) -> Engine:
    """Raises `ModelLoadError` for a format that no engine reads."""
    if model_format not in _BY_FORMAT:
        raise ModelLoadError(f"No engine reads the format {model_format}.")
    return _BY_FORMAT[model_format]


def import_libraries() -> None:
    """Import what the engines need to load models, before it would hold up something else."""
    for engine in _ENGINES:
        engine.import_libraries()
