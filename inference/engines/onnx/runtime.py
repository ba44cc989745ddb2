"""ONNX Runtime: how a file is opened, and what its errors say in plain words."""

from __future__ import annotations

import re
from pathlib import Path

import onnxruntime as ort

from inference.engines.base import ModelFailed, ModelLoadError

SILENT = 4  # fatal only: what goes wrong in a run is raised, and printing it too would put payloads in the log

_LOAD_CHARACTERS, _RUN_CHARACTERS = 400, 200


def open_session(path: Path) -> ort.InferenceSession:
    """One thread: requests are spread over processes, not over threads inside one of them. Raises `ModelLoadError`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    if not path.is_file():
        raise ModelLoadError("The model file is not in the model store.")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's exceptions have no other common parent
        raise _load_error(error, path) from None


def run_error(error: Exception) -> ModelFailed:
    """What a run's failure says."""
    text = _shortened(re.sub(r"\S+\.(cc|h|cpp):\d+ .*?\) ", "", _without_codes(error)), _RUN_CHARACTERS)
    return ModelFailed(f"The model could not compute: {text}", is_out_of_memory=_is_out_of_memory(error))


def _load_error(error: Exception, path: Path) -> ModelLoadError:
    """Why the file can't be loaded; where it lies is nobody's business."""
    if _is_out_of_memory(error):
        return ModelLoadError("The model needs more memory than there is.", is_out_of_memory=True)
    # ONNX Runtime quotes names out of the file, which need not be text; it then fails to decode its own message.
    if type(error).__name__ == "InvalidProtobuf" or isinstance(error, UnicodeDecodeError):
        return ModelLoadError("The file is damaged or cut off: it can't be read as an ONNX model.")
    text = re.sub(r"(?:/\S+/)?\S+\.(?:cc|h):\d+ \S+ ?", "", _without_codes(error))
    text = text.replace(f"Load model from {path} failed:", "").replace(str(path), "the file")
    if found := re.search(r"([\w.]+):(\w+)\(-?\d+\) is not a registered function/op", text):
        return ModelLoadError(f"The model uses the operator {found[2]} of {found[1]}, which is not part of ONNX.")
    if found := re.search(r"[Oo]pset (\d+) is under development.*?(?:till|up to) opset (\d+)", text, re.DOTALL):
        return ModelLoadError(
            f"The model was saved for ONNX opset {found[1]}; this console reads up to {found[2]}. "
            f"Export it again with target_opset={found[2]} (opset_version={found[2]} in PyTorch)."
        )
    reason = _shortened(text, _LOAD_CHARACTERS) or type(error).__name__
    return ModelLoadError(f"ONNX Runtime can't load the model: {reason}")


def _is_out_of_memory(error: Exception) -> bool:
    words = ("bad allocation", "bad_alloc", "Failed to allocate memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def _without_codes(error: Exception) -> str:
    return re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())


def _shortened(text: str, most: int) -> str:
    """In one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"
