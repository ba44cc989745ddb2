"""What the inspection child does with the file, inside its limits: read, check, probe, test."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from gateway.inspection_messages import Answer, Ask
from gateway.modelspec import Cell, ModelSpec
from gateway.signature import (
    NotServable,
    Port,
    Signature,
    contradictions,
    is_zipmap,
    read_ports,
    table_layout,
    task_of,
)

TOO_LARGE = "The model needs more memory than an inspection may take."
SPEED_ROUNDS = 50
SPEED_TIME_S = 0.05
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class Inspector:
    """One file. Loading waits for the first question, so that the process can close its other doors before it."""

    def __init__(self, path: Path, *, reads_graph: bool) -> None:
        self._path = path
        self._session: ort.InferenceSession | None = None
        self._reads_graph = reads_graph
        if reads_graph:  # onnx and protobuf take longer to import than the rest of the inspection
            import gateway.graph  # noqa: F401

    def answer(self, ask: Ask) -> Answer:
        """What was asked for, or why the model is refused."""
        try:
            return self._answer(ask)
        except NotServable as refusal:
            return Answer(refused=str(refusal))
        except MemoryError:
            return Answer(refused=TOO_LARGE)

    def _answer(self, ask: Ask) -> Answer:
        if ask.do == "read":
            return Answer(signature=self._read())
        if ask.spec is None:
            raise TypeError(f"{ask.do} needs a description")
        if ask.do == "check":
            return self._check(ask.spec)
        if ask.do == "probe":
            return Answer(nullable=self._probe(ask.spec, ask.names))
        return self._test(ask.spec)

    @property
    def session(self) -> ort.InferenceSession:
        if self._session is None:
            self._session = load(self._path)
        return self._session

    def _signature(self) -> Signature:
        return Signature(inputs=read_ports(self.session.get_inputs()), outputs=read_ports(self.session.get_outputs()))

    def _read(self) -> Signature:
        """Everything the graph tells, for a description that is still to be made."""
        from gateway import graph

        model = graph.read_graph(self._path)
        signature = self._signature()
        layout = table_layout(signature)
        label = signature.label_output
        labels = graph.class_labels(model, label.name) if label else None
        score = signature.score_output
        if labels is None and label is not None and score is not None and is_zipmap(score):
            labels = graph.class_labels(model, score.name)
        width = graph.matrix_width(model, signature.inputs[0].name) if layout == "matrix" else None
        return Signature(
            inputs=signature.inputs,
            outputs=signature.outputs,
            labels=labels[0] if labels else None,
            has_integer_labels=labels[1] if labels else label is not None and label.kind == "int",
            likely_width=width,
            treats_missing=graph.treats_missing(model),
        )

    def _check(self, spec: ModelSpec) -> Answer:
        if faults := contradictions(self._signature(), spec):
            raise NotServable(" ".join(faults))
        return Answer()

    def _probe(self, spec: ModelSpec, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if self._stands_missing(spec, name))

    def _stands_missing(self, spec: ModelSpec, name: str) -> bool:
        try:
            numbers = self._numbers(spec, {**spec.sample, name: None})
        except NotServable:
            return False
        return bool(np.isfinite(numbers).all())

    def _test(self, spec: ModelSpec) -> Answer:
        numbers = self._numbers(spec, spec.sample)
        if not np.isfinite(numbers).all():
            raise NotServable(f"The model answers the sample row with {numbers.tolist()}, which is no usable number.")
        prediction = described(spec, numbers)
        return Answer(prediction=prediction, row_us=self._row_us(spec))

    def _numbers(self, spec: ModelSpec, row: dict[str, Cell]) -> Any:
        """Probabilities of one row, or its one value, as a 1-d array. Raises `NotServable`."""
        signature = self._signature()
        score = signature.score_output
        if score is None or table_layout(signature) is None or not task_of(signature, stated=spec.task):
            raise NotServable("The model's outputs are none that can be served.")
        try:
            result = self.session.run([score.name], feeds(signature, spec, row))[0]
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises a type of its own for every kind of failure
            raise NotServable(f"The model can't predict the sample row: {runtime_words(error)}") from None
        numbers = np.array(list(result[0].values())) if is_zipmap(score) else np.asarray(result).reshape(-1)
        expected = 1 if spec.task == "regression" else len(spec.classes)
        if len(numbers) != expected:
            what = "value" if spec.task == "regression" else "classes"
            raise NotServable(
                f"The model gives {len(numbers)} numbers for one row; the description says {expected} {what}."
            )
        return numbers.astype(float)

    def _row_us(self, spec: ModelSpec) -> float:
        """Median time of one row, in microseconds, over at most `SPEED_TIME_S`."""
        signature = self._signature()
        prepared = feeds(signature, spec, spec.sample)
        times: list[float] = []
        end = time.perf_counter() + SPEED_TIME_S
        while not times or (len(times) < SPEED_ROUNDS and time.perf_counter() < end):
            started = time.perf_counter()
            self.session.run(None, prepared)
            times.append(time.perf_counter() - started)
        return sorted(times)[len(times) // 2] * 1e6


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
        raise NotServable(load_words(error)) from None


def load_words(error: Exception) -> str:
    text = runtime_words(error)
    if "bad allocation" in text or "bad_alloc" in text:
        return TOO_LARGE
    if isinstance(error, ort_errors.InvalidProtobuf):
        return "The file is damaged or cut off: it can't be read as an ONNX model."
    if found := re.search(r"([\w.]+):(\w+)\(-?\d+\) is not a registered function/op", text):
        return f"The model uses the operator {found[2]} of {found[1]}, which is not part of ONNX."
    if found := re.search(r"opset (\d+) is under development.*?(?:till|up to) opset (\d+)", text, re.DOTALL):
        return f"The model was saved for ONNX opset {found[1]}; this console reads up to {found[2]}. Export it again."
    return f"ONNX Runtime can't load the model: {text}"


def runtime_words(error: Exception) -> str:
    """ONNX Runtime's own sentence, without its codes and source paths, cut to a readable length."""
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    text = re.sub(r"(?:/\S+/)?\S+\.(?:cc|h):\d+ \S+ ?", "", text)
    return " ".join(text.split())[:400] or type(error).__name__


def feeds(signature: Signature, spec: ModelSpec, row: dict[str, Cell]) -> dict[str, Any]:
    """One row as the graph takes it; a missing number is NaN, a missing text is empty."""
    if spec.input == "matrix":
        port = signature.inputs[0]
        return {port.name: as_array(port, [row.get(column.name) for column in spec.columns]).reshape(1, -1)}
    return {
        port.name: as_array(port, [row.get(port.name)]).reshape([1] * len(port.dims or (1,)))
        for port in signature.inputs
    }


def as_array(port: Port, cells: list[Cell]) -> Any:
    gap: Cell = "" if port.kind == "string" else math.nan if port.kind == "float" else 0
    return np.array([gap if cell is None else cell for cell in cells], dtype=_NUMPY[port.type])


def described(spec: ModelSpec, numbers: Any) -> dict[str, Any]:
    """The prediction as the gateway's JSON has it."""
    if spec.task == "regression":
        return {"value": float(numbers[0])}
    return {
        "class": spec.classes[int(np.argmax(numbers))],
        "probabilities": dict(zip(spec.classes, map(float, numbers), strict=True)),
    }
