"""The engine for ONNX files. ONNX Runtime and the onnx package are imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from contract.model_spec import ModelSpec
from inference.engines.base import RawSession, Session
from inference.engines.onnx import operators
from inference.signature import Signature


class OnnxEngine:
    """See `inference.engines.base.Engine`."""

    format = "onnx"
    platform = "onnxruntime_onnx"

    def import_libraries(self, *, for_reading: bool = False) -> None:
        import_module("inference.engines.onnx.session")
        if for_reading:  # onnx and protobuf take longer to import than all the rest
            import_module("inference.engines.onnx.reading")

    def read_signature(self, path: Path) -> Signature:
        from inference.engines.onnx.reading import read_signature

        return read_signature(path)

    def obstacle_to_inline(self, content: bytes) -> str:
        return operators.obstacle_to_inline(content)

    def load(self, path: Path, spec: ModelSpec) -> Session:
        from inference.engines.onnx.session import OnnxSession

        return OnnxSession(path, spec)

    def load_raw(self, path: Path, spec: ModelSpec) -> RawSession:
        from inference.engines.onnx.session import OnnxRawSession

        return OnnxRawSession(path, spec)
