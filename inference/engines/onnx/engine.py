"""ONNX files in ONNX Runtime: one input per column or one matrix; with or without ZipMap; text or integer labels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from contract.model_spec import ModelSpec, is_plain_integer
from inference.engines import ModelFailed, ModelLoadError
from inference.engines.onnx.row_buffers import RowRuns
from inference.table import TEXT, Array, Classification, Prediction, Regression, Table, Type, split

_DTYPES: dict[str, Type] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": TEXT,
}
_SILENT = 4  # fatal only: what goes wrong in a run is raised, and printing it too would put payloads in the log
# Sums of many float32 leaves end a little outside 0..1; scores that are no probabilities end far outside.
_LOWEST, _HIGHEST = -1e-4, 1 + 1e-4
_FEW = 64  # below this a Python loop is faster than two numpy reductions
_MESSAGE_CHARACTERS = 200


class OnnxEngine:
    """One session, one thread: requests are spread over worker processes, not over threads inside one of them."""

    def __init__(self, path: Path, spec: ModelSpec) -> None:
        """Raises `ModelLoadError`."""
        self._session = _open(path)
        ports = _input_ports(self._session.get_inputs(), spec)
        self.dtypes = tuple(_dtype(port) for port in ports) * (len(spec.columns) if spec.input == "matrix" else 1)
        self._input_names = [port.name for port in ports]
        self._flat_inputs = [len(_shape(port)) == 1 for port in ports]
        self._has_flat_inputs = any(self._flat_inputs)
        output_names, self._read = _reader(self._session.get_outputs(), spec)
        # The wrapper's own `run` searches a list once per input and, in one case, prints: 1 µs and more each request.
        run, options = self._session._sess.run, ort.RunOptions()
        options.log_severity_level = _SILENT
        self._run: Callable[[dict[str, Array]], list[Any]] = lambda feed: run(output_names, feed, options)
        self._takes_matrix = spec.input == "matrix"
        self._rows: RowRuns | None = None
        if len(set(self.dtypes)) == 1 and TEXT not in self.dtypes:
            self._rows = RowRuns(
                self._session,
                options,
                inputs=[(port.name, len(_shape(port))) for port in ports],
                output_names=output_names,
                width=len(spec.columns),
                dtype=self.dtypes[0],
            )

    def predict(self, table: Table) -> Prediction:
        """Raises `ModelFailed`; blocking, thread-safe, the GIL is free while the model computes."""
        rows, row = self._rows, table.row
        if rows is None or row is None:
            return self._read(self._outputs(table), table.n_rows)
        outputs = rows.run(row)
        if outputs is None:
            outputs = self._outputs(table)
            rows.learn(outputs)
        return self._read(outputs, 1)

    def _outputs(self, table: Table) -> list[Any]:
        try:
            return self._run(self._feed(table))
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's exceptions have no other common parent
            raise ModelFailed(f"The model could not compute: {_plain(error)}") from None

    def _feed(self, table: Table) -> dict[str, Array]:
        columns: Sequence[Array] = table.columns
        if table.matrix is not None:
            if self._takes_matrix:
                return {self._input_names[0]: table.matrix}
            columns = split(table.matrix)
        if self._has_flat_inputs:
            columns = [
                column.reshape(-1) if is_flat else column
                for column, is_flat in zip(columns, self._flat_inputs, strict=True)
            ]
        return dict(zip(self._input_names, columns, strict=True))


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    if not path.is_file():
        raise ModelLoadError("The model file is not in the model store.")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # as in predict
        message = _plain(error).replace(str(path), "the file")
        raise ModelLoadError(f"ONNX Runtime can't load the model: {message}") from None


def _plain(error: Exception) -> str:
    """ONNX Runtime's message in one line, without its own codes and source places."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"\S+\.(cc|h|cpp):\d+ .*?\) ", "", text)
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARACTERS else text[: _MESSAGE_CHARACTERS - 1] + "…"


# --- inputs ----------------------------------------------------------------------------------------------------------


def _input_ports(ports: Sequence[Any], spec: ModelSpec) -> list[Any]:
    """The graph's inputs in the order of the columns, or the one matrix."""
    for port in ports:
        _check_rows_are_open(port)
    if spec.input == "matrix":
        return [_matrix_port(ports, len(spec.columns))]
    by_name = {port.name: port for port in ports}
    for column in spec.columns:
        if column.name not in by_name:
            raise ModelLoadError(f"The model has no input called {column.name}.")
    if len(ports) > len(spec.columns):
        extra = next(name for name in by_name if name not in {column.name for column in spec.columns})
        raise ModelLoadError(f"The model takes {extra}, which is not among its columns.")
    for port in ports:
        if len(_shape(port)) not in {1, 2} or _width(port) not in {None, 1}:
            raise ModelLoadError(f"The input {port.name} is not one column; this console serves tables.")
    return [by_name[column.name] for column in spec.columns]


def _check_rows_are_open(port: Any) -> None:
    if _shape(port)[:1] not in {(), (None,)}:
        raise ModelLoadError(
            f"The input {port.name} takes exactly {_shape(port)[0]} rows at a time; export it with an open number."
        )


def _matrix_port(ports: Sequence[Any], n_columns: int) -> Any:
    if len(ports) != 1:
        raise ModelLoadError(f"The description says one matrix, the model takes {len(ports)} inputs.")
    shape = _shape(ports[0])
    if len(shape) != 2:
        raise ModelLoadError(f"The input {ports[0].name} has {len(shape)} dimensions; a table has rows and columns.")
    if shape[1] not in {None, n_columns}:
        raise ModelLoadError(f"The description has {n_columns} columns, the model takes {shape[1]}.")
    return ports[0]


def _shape(port: Any) -> tuple[int | None, ...]:
    """None where the graph leaves a size open: a name, nothing, or a number below 1."""
    return tuple(size if isinstance(size, int) and size > 0 else None for size in port.shape or ())


def _dtype(port: Any) -> Type:
    if port.type not in _DTYPES:
        raise ModelLoadError(f"The input {port.name} takes {port.type}, which no column can carry.")
    return _DTYPES[port.type]


# --- outputs ---------------------------------------------------------------------------------------------------------

_Reader = Callable[[list[Any], int], Prediction]


def _reader(ports: Sequence[Any], spec: ModelSpec) -> tuple[list[str], _Reader]:
    """The outputs to ask for, and how to read what comes."""
    if spec.task == "regression":
        port = _value_port(ports)
        return [port.name], _read_values
    if len(spec.classes) < 2:
        raise ModelLoadError("A classification needs at least two classes.")
    label = _label_port(ports)
    maps = next((port for port in ports if port.type.startswith("seq(map(")), None)
    scores = maps or _probability_port(ports, spec)
    if label is not None and maps is None and _says_nothing(label, spec):
        label = None
    names = [scores.name] if label is None else [scores.name, label.name]
    return names, (_MapReader(spec.classes) if maps else _TensorReader(spec.classes)).read


def _says_nothing(label: Any, spec: ModelSpec) -> bool:
    """Integer labels that are not the text of the classes: see `_TensorReader`."""
    return label.type != "tensor(string)" and not all(is_plain_integer(name) for name in spec.classes)


def _is_float(port: Any) -> bool:
    return port.type in {"tensor(float)", "tensor(double)", "tensor(float16)"}


def _value_port(ports: Sequence[Any]) -> Any:
    tensors = [port for port in ports if _is_float(port)] or [port for port in ports if "int" in port.type]
    if not tensors:
        raise ModelLoadError("The description says regression, but no output is a number.")
    if (width := _width(tensors[0]) or 1) > 1:
        raise ModelLoadError(f"The output {tensors[0].name} gives {width} numbers a row; a regression gives one.")
    return tensors[0]


def _label_port(ports: Sequence[Any]) -> Any:
    labels = [port for port in ports if port.type in _DTYPES and not _is_float(port)]
    named = [port for port in labels if "label" in port.name.lower() or "class" in port.name.lower()]
    return next(iter(named or labels), None)


def _probability_port(ports: Sequence[Any], spec: ModelSpec) -> Any:
    tensors = [port for port in ports if _is_float(port)]
    if not tensors:
        raise ModelLoadError("The model gives no probabilities, only labels. Export a classifier that gives both.")
    widths = {len(spec.classes), 1, None} if len(spec.classes) == 2 else {len(spec.classes), None}
    fitting = [port for port in tensors if _width(port) in widths]
    if not fitting:
        raise ModelLoadError(
            f"The description has {len(spec.classes)} classes, the output {tensors[0].name} gives {_width(tensors[0])}."
        )
    named = [port for port in fitting if "prob" in port.name.lower()]
    exact = [port for port in named or fitting if _width(port) == len(spec.classes)]
    return (exact or named or fitting)[0]


def _width(port: Any) -> int | None:
    shape = _shape(port)
    return shape[1] if len(shape) == 2 else None


def _read_values(outputs: list[Any], n_rows: int) -> Prediction:
    values = np.asarray(outputs[0])
    if values.size != n_rows:
        raise ModelFailed(f"The model gave {values.size} values for {n_rows} rows.")
    values = values.reshape(n_rows)
    if not (math.isfinite(values[0]) if n_rows == 1 else np.isfinite(values).all()):
        raise ModelFailed("The model gave a value that is not a finite number.")
    return Regression(values)


class _TensorReader:
    """Probabilities as one tensor, with or without a label beside it.

    Integer labels that are not the text of the classes say nothing about their order, so the class is then the
    one at the position of the highest probability. That is right whatever number the labels start from.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._n_classes = len(classes)
        self._by_text = {name: index for index, name in enumerate(classes)}
        self._by_number = {int(name): index for name, index in self._by_text.items() if is_plain_integer(name)}
        if len(self._by_number) != self._n_classes:
            self._by_number = {}

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        scores = outputs[0]
        if n_rows == 1 and len(outputs) == 1 and scores.shape == (1, self._n_classes):  # the usual request
            [row] = scores.tolist()
            _check_probabilities(row)
            return Classification([row.index(max(row))], scores)
        probabilities = _checked_probabilities(self._matrix(scores, n_rows))
        labels = outputs[1] if len(outputs) > 1 else None
        if labels is not None and labels.size != n_rows:
            raise ModelFailed(f"The model gave {labels.size} labels for {n_rows} rows.")
        return Classification(self._indexes(labels, probabilities), probabilities)

    def _matrix(self, scores: Array, n_rows: int) -> Array:
        shape = scores.shape
        if shape == (n_rows, self._n_classes):
            return scores
        if self._n_classes == 2 and shape in {(n_rows,), (n_rows, 1)}:
            positive = scores.reshape(n_rows)
            return np.column_stack([1 - positive, positive])
        raise ModelFailed(f"The model gave probabilities of shape {list(shape)} for {n_rows} rows.")

    def _indexes(self, labels: Array | None, probabilities: Array) -> list[int]:
        if labels is None:
            return _most_likely(probabilities)
        if labels.dtype.kind not in "iub":
            return _looked_up(labels, self._by_text)
        try:
            return [self._by_number[label] for label in _flat(labels)]
        except KeyError:
            return _most_likely(probabilities)


class _MapReader:
    """Probabilities as ZipMap gives them: one map from label to probability per row.

    The maps' keys are the labels: text is matched by text, numbers by their text too, else by position in ascending
    order, which is the order converters write them in.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._by_key: dict[Any, int] = {}

    def read(self, outputs: list[Any], n_rows: int) -> Prediction:
        maps = outputs[0]
        if len(maps) != n_rows:
            raise ModelFailed(f"The model gave {len(maps)} answers for {n_rows} rows.")
        by_key = self._by_key or self._learn(maps[0])
        try:
            scores = np.array([[one[key] for key in by_key] for one in maps], np.float32)
        except KeyError:
            raise ModelFailed("The model left out a class in one of its answers.") from None
        probabilities = _checked_probabilities(scores)
        if len(outputs) == 1 or np.size(outputs[1]) != n_rows:
            return Classification(_most_likely(probabilities), probabilities)
        return Classification(_looked_up(outputs[1], by_key), probabilities)

    def _learn(self, first: dict[Any, float]) -> dict[Any, int]:
        """Keys in the order of the classes; only the first answer can tell them."""
        by_text = {str(key): key for key in first}
        if by_text.keys() == set(self._classes):
            keys = [by_text[name] for name in self._classes]
        elif len(first) == len(self._classes) and all(isinstance(key, int) for key in first):
            keys = sorted(first)
        else:
            raise ModelFailed("The model's classes are not those of its description.")
        self._by_key = {key: index for index, key in enumerate(keys)}
        return self._by_key


def _most_likely(probabilities: Array) -> list[int]:
    indexes: list[int] = probabilities.argmax(axis=1).tolist()
    return indexes


def _looked_up(labels: Array, known: dict[Any, int]) -> list[int]:
    try:
        return [known[label] for label in _flat(labels)]
    except KeyError:
        raise ModelFailed("The model answered with a class that is not in its description.") from None


def _flat(labels: Array) -> list[Any]:
    values: list[Any] = (labels if labels.ndim == 1 else labels.ravel()).tolist()
    return values


def _checked_probabilities(scores: Array) -> Array:
    is_short = scores.size <= _FEW
    _check_probabilities(scores.ravel().tolist() if is_short else (scores.min(), scores.max()))  # both NaN if any is
    return scores


def _check_probabilities(values: Iterable[float]) -> None:
    """Not finite, or scores that are no probabilities, are refused: shown as probabilities they would be a lie."""
    for value in values:
        if not _LOWEST <= value <= _HIGHEST:  # True for NaN
            raise ModelFailed("The model gave probabilities that are not between 0 and 1.")
