"""ONNX Runtime: how a file is opened, and what its failures say."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime as ort

from inference.engines.base import ModelFailed, ModelLoadError
from inference.engines.onnx.load_errors import is_out_of_memory, load_error, shortened, without_codes

_SILENT = 4  # fatal only: what goes wrong in a run is raised, and printing it too would put payloads in the log

_RUN_CHARACTERS = 200


def open_session(path: Path) -> ort.InferenceSession:
    """One thread: requests are spread over processes, not over threads inside one of them. Raises `ModelLoadError`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    if not path.is_file():
        raise ModelLoadError("The model file is not in the model store.")
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        session.disable_fallback()  # to another provider, which it prints
        return session
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's exceptions have no other common parent
        raise load_error(error, path) from None


def run_error(error: Exception) -> ModelFailed:
    """What a run's failure says."""
    text = shortened(re.sub(r"\S+\.(cc|h|cpp):\d+ .*?\) ", "", without_codes(error)), _RUN_CHARACTERS)
    return ModelFailed(f"The model could not compute: {text}", is_out_of_memory=is_out_of_memory(error))
