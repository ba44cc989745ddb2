"""ONNX files written node by node: what no training gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import TensorProto, helper, numpy_helper

from contract.model_spec import Cell, Column, ModelSpec

Made = tuple[ModelSpec, bytes]
"""A description, and the file it describes."""

_ELEMENTS = {
    "float": TensorProto.FLOAT,
    "double": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}
Port = tuple[str, str, Sequence[int | str | None]]


def graph(inputs: Sequence[Port], outputs: Sequence[Port], nodes: Sequence[Any], constants: Any = None) -> bytes:
    """An ONNX file of these nodes; `constants`: name -> numpy array."""
    stored = [
        numpy_helper.from_array(array, name)
        if array.dtype.kind in "biuf"
        else helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array.ravel())
        for name, array in (constants or {}).items()
    ]
    made = helper.make_graph(list(nodes), "made", [port(one) for one in inputs], [port(one) for one in outputs], stored)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def port(of: Port) -> Any:
    name, element, shape = of
    return helper.make_tensor_value_info(name, _ELEMENTS[element], shape)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(operator, list(inputs), list(outputs), **attributes)


def spec_of(columns: dict[str, str], sample: dict[str, Cell], **rest: Any) -> ModelSpec:
    """A description with these columns (name -> type, `?` at its end: may be missing); a regression unless told."""
    made = tuple(
        Column(name=name, type=kind.rstrip("?"), nullable=kind.endswith("?"))  # type: ignore[arg-type]
        for name, kind in columns.items()
    )
    return ModelSpec(**({"task": "regression", "input": "columns"} | rest), columns=made, sample=sample)
