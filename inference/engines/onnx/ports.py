"""ONNX Runtime's inputs and outputs: as ports, as array types, and in the order of a description's columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from contract.model_spec import ModelSpec
from inference.engines.base import ModelLoadError
from inference.signature import Kind, Port
from inference.table import TEXT, Type

_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"tensor\((float|double|float16)\)", "float"),
    (r"tensor\(u?int\d+\)", "int"),
    (r"tensor\(string\)", "string"),
    (r"tensor\(bool\)", "bool"),
    (r"seq\(map\((int64|string),tensor\(float\)\)\)", "map"),
)
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


def port(name: str, type_name: str, dims: tuple[int | None, ...] | None) -> Port:
    """A port of one of ONNX Runtime's types, such as `tensor(float)`."""
    kind: Kind = next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, type_name)), "other")
    return Port(name, type_name, dims, kind)


def read_ports(nodes: Sequence[Any]) -> tuple[Port, ...]:
    """From ONNX Runtime's NodeArg objects. A name, nothing, or a number below 1 stands for a size that is left open."""
    return tuple(port(node.name, node.type, _dims(node)) for node in nodes)


def _dims(node: Any) -> tuple[int | None, ...] | None:
    if not node.type.startswith("tensor("):
        return None
    return tuple(size if isinstance(size, int) and size > 0 else None for size in node.shape or ())


def dtype_of(port: Port) -> Type:
    """Raises `ModelLoadError` for an input that takes what no column can carry."""
    if port.type not in _DTYPES:
        raise ModelLoadError(f"The input {port.name} takes {port.type}, which no column can carry.")
    return _DTYPES[port.type]


def ordered_inputs(ports: Sequence[Port], spec: ModelSpec) -> list[Port]:
    """The inputs in the order of the columns, or the one matrix. Raises `ModelLoadError` where they don't fit."""
    for one in ports:
        _check_rows_are_open(one)
    if spec.input == "matrix":
        return [_matrix(ports, len(spec.columns))]
    by_name = {one.name: one for one in ports}
    for column in spec.columns:
        if column.name not in by_name:
            raise ModelLoadError(f"The model has no input called {column.name}.")
    if len(ports) > len(spec.columns):
        extra = next(name for name in by_name if name not in {column.name for column in spec.columns})
        raise ModelLoadError(f"The model takes {extra}, which is not among its columns.")
    for one in ports:
        if len(one.dims or ()) not in {1, 2} or one.width not in {None, 1}:
            raise ModelLoadError(f"The input {one.name} is not one column; this console serves tables.")
    return [by_name[column.name] for column in spec.columns]


def _check_rows_are_open(port: Port) -> None:
    if port.dims and port.dims[0] not in {None, 1}:  # one row at a time: such a version is computed row by row
        raise ModelLoadError(
            f"The input {port.name} takes exactly {port.dims[0]} rows at a time; export it with an open number."
        )


def _matrix(ports: Sequence[Port], n_columns: int) -> Port:
    if len(ports) != 1:
        raise ModelLoadError(f"The description says one matrix, the model takes {len(ports)} inputs.")
    [matrix] = ports
    n_dims = len(matrix.dims or ())
    if n_dims != 2:
        raise ModelLoadError(f"The input {matrix.name} has {n_dims} dimensions; a table has rows and columns.")
    if matrix.width not in {None, n_columns}:
        raise ModelLoadError(f"The description has {n_columns} columns, the model takes {matrix.width}.")
    return matrix
