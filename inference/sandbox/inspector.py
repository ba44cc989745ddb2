"""What the inspection child does with the file, inside its limits: read, check, probe, test."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.predictor import ModelFailed, ModelLoadError, Predictor
from inference.sandbox.inspection_messages import Answer, Ask
from inference.signature import NotServable, Signature, is_zipmap, read_ports, table_layout
from inference.table import Prediction, Regression

TOO_LARGE = "The model needs more memory than an inspection may take."
SPEED_ROUNDS = 50
SPEED_TIME_S = 0.05


class Inspector:
    """One file. Loading waits for the first question, so that the process can close its other doors before it."""

    def __init__(self, path: Path, *, reads_graph: bool) -> None:
        self._path = path
        self._served: _Served | None = None
        if reads_graph:  # onnx and protobuf take longer to import than the rest of the inspection
            import inference.engines.onnx.graph  # noqa: F401

    def answer(self, ask: Ask) -> Answer:
        """What was asked for, or why the model is refused."""
        try:
            return self._answer(ask)
        except NotServable as refusal:
            return Answer(refused=str(refusal))
        except (ModelLoadError, ModelFailed) as refusal:
            return Answer(refused=TOO_LARGE if is_out_of_memory(str(refusal)) else str(refusal))
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
            return Answer(signature=read(self._path))
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
        return self._predictor.warm_up()

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
        table = self._predictor.table_from_rows([self.spec.sample])
        times: list[float] = []
        end = time.perf_counter() + SPEED_TIME_S
        while not times or (len(times) < SPEED_ROUNDS and time.perf_counter() < end):
            started = time.perf_counter()
            self._predictor.predict(table)
            times.append(time.perf_counter() - started)
        return sorted(times)[len(times) // 2] * 1e6


def read(path: Path) -> Signature:
    """Everything the graph tells, for a description that is still to be made. Raises `NotServable`."""
    from inference.engines.onnx import graph

    model = graph.read_graph(path)
    session = load(path)
    inputs, outputs = read_ports(session.get_inputs()), read_ports(session.get_outputs())
    bare = Signature(inputs=inputs, outputs=outputs)
    layout = table_layout(bare)
    label, score = bare.label_output, bare.score_output
    labels = graph.class_labels(model, label.name) if label else None
    if labels is None and score is not None and is_zipmap(score):
        labels = graph.class_labels(model, score.name)
    return Signature(
        inputs=inputs,
        outputs=outputs,
        labels=labels[0] if labels else None,
        has_integer_labels=labels[1] if labels else label is not None and label.kind != "string",
        likely_width=graph.matrix_width(model, inputs[0].name) if layout == "matrix" else None,
        treats_missing=graph.treats_missing(model),
    )


def load(path: Path) -> ort.InferenceSession:
    """Raises `NotServable` with what is wrong in plain words."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a type of its own for every kind of failure
        raise NotServable(load_words(error, path)) from None


def load_words(error: Exception, path: Path) -> str:
    """Why ONNX Runtime can't load the file; where the file lies is nobody's business."""
    text = runtime_words(error).replace(f"Load model from {path} failed:", "").replace(str(path), "the file")
    if is_out_of_memory(text):
        return TOO_LARGE
    # ONNX Runtime quotes names out of the file, which need not be text.
    if isinstance(error, ort_errors.InvalidProtobuf | UnicodeDecodeError):
        return "The file is damaged or cut off: it can't be read as an ONNX model."
    if found := re.search(r"([\w.]+):(\w+)\(-?\d+\) is not a registered function/op", text):
        return f"The model uses the operator {found[2]} of {found[1]}, which is not part of ONNX."
    if found := re.search(r"opset (\d+) is under development.*?(?:till|up to) opset (\d+)", text, re.DOTALL):
        return f"The model was saved for ONNX opset {found[1]}; this console reads up to {found[2]}. Export it again."
    return f"ONNX Runtime can't load the model: {text}"


def is_out_of_memory(text: str) -> bool:
    return "bad allocation" in text or "bad_alloc" in text or "Failed to allocate memory" in text


def runtime_words(error: Exception) -> str:
    """ONNX Runtime's own sentence, without its codes and source paths, cut to a readable length."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    text = re.sub(r"(?:/\S+/)?\S+\.(?:cc|h):\d+ \S+ ?", "", text)
    return " ".join(text.split())[:400] or type(error).__name__


def described(spec: ModelSpec, prediction: Prediction) -> dict[str, Any]:
    """The one prediction as the gateway's JSON has it."""
    if isinstance(prediction, Regression):
        return {"value": float(prediction.values[0])}
    probabilities = dict(zip(spec.classes, map(float, prediction.probabilities[0]), strict=True))
    return {"class": prediction.labels(spec)[0], "probabilities": probabilities}
