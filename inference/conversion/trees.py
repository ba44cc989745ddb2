"""What converters leave in a graph of trees: tidied for serving, and read for the values at which it splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from inference.conversion.original import Column
from inference.table import Array

MATRIX: Final = "columns"
"""Name of the input of a converted model that takes one matrix."""


def tidied(model: onnx.ModelProto, columns: Sequence[Column]) -> onnx.ModelProto:
    """With every number of rows open, which converters state wrongly, and without maps in place of probabilities."""
    graph = model.graph
    maps = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    kept = [node for node in graph.node if node.op_type != "ZipMap"]
    del graph.node[:]
    graph.node.extend(kept)
    for output in graph.output:
        if output.name in maps:
            rename(graph, maps[output.name], output.name)
            output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, [None, None]))
        shape = output.type.tensor_type.shape
        rank = len(shape.dim)
        shape.Clear()
        for _position in range(max(rank, 1)):
            shape.dim.add()
    del graph.value_info[:]
    free_outputs(graph, {column.name for column in columns})
    return model


def rounded_down(thresholds: Array) -> Array:
    """For values that are exact in float32: of each threshold (float64) the largest float32 that is not above it."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    return np.where(nearest <= thresholds, nearest, np.nextafter(nearest, np.float32(-np.inf)))


def free_outputs(graph: GraphProto, taken: set[str]) -> None:
    """Call no output like one of the columns."""
    for output in graph.output:
        name = output.name
        while name in taken:
            name += "_"
        if name != output.name:
            rename(graph, output.name, name)
            output.name = name


def rename(graph: GraphProto, old: str, new: str) -> None:
    """A value inside the graph: what makes it and what takes it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == old:
                    names[position] = new


def with_codes(model: onnx.ModelProto, columns: Sequence[Column]) -> onnx.ModelProto:
    """With an input a column in place of the matrix: a category becomes its number, an unknown one a missing value."""
    graph = model.graph
    (matrix,) = [port.name for port in graph.input]
    taken = {column.name for column in columns}
    free_outputs(graph, taken)
    inner = {name: _apart(name, taken) for node in graph.node for name in (*node.input, *node.output)}
    outputs = {port.name for port in graph.output}
    for old, new in inner.items():
        if old != new and old not in outputs:
            rename(graph, old, new)
    matrix = inner.get(matrix, matrix)
    del graph.input[:]
    nodes, parts = [], []
    for position, column in enumerate(columns):
        kind = TensorProto.STRING if column.kind == "text" else TensorProto.FLOAT
        graph.input.append(helper.make_tensor_value_info(column.name, kind, [None, 1]))
        if not column.values:
            parts.append(column.name)
            continue
        parts.append(_apart(f"number_of_{position}", taken))
        keys: dict[str, Any] = {"keys_strings" if column.kind == "text" else "keys_floats": list(column.values)}
        nodes.append(
            helper.make_node(
                "LabelEncoder",
                [column.name],
                [parts[-1]],
                domain="ai.onnx.ml",
                values_floats=[float(number) for number in range(len(column.values))],
                default_float=float("nan"),
                **keys,
            )
        )
    nodes.append(helper.make_node("Concat", parts, [matrix], axis=1))
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *before])
    _raise_opset(model, "", 13)
    _raise_opset(model, "ai.onnx.ml", 3)
    return model


def _raise_opset(model: onnx.ModelProto, domain: str, least: int) -> None:
    """What stands in a converted graph of trees means the same in each of these versions."""
    for opset in model.opset_import:
        if opset.domain == domain:
            opset.version = max(opset.version, least)
            return
    model.opset_import.add(domain=domain, version=least)


def refusing_missing(model: onnx.ModelProto) -> onnx.ModelProto:
    """With NaN for every number of a row in which one is missing: no answer, in place of another than the library's."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | {port.name for port in graph.input}
    numbers = [port for port in graph.input if port.type.tensor_type.elem_type == TensorProto.FLOAT]
    nothing, axes = _apart("nothing", taken), _apart("axes", taken)
    graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), axes))
    parts = []
    for position, port in enumerate(numbers):
        parts.append(_apart(f"nothing_of_{position}", taken))
        zeros = _apart(f"zeros_of_{position}", taken)
        graph.node.append(helper.make_node("Sub", [port.name, port.name], [zeros]))
        graph.node.append(helper.make_node("ReduceSum", [zeros, axes], [parts[-1]], keepdims=1))
    graph.node.append(helper.make_node("Sum", parts, [nothing]))
    for output in graph.output:
        if output.type.tensor_type.elem_type == TensorProto.FLOAT:
            inner = _apart(f"{output.name}_of_whole_rows", taken)
            rename(graph, output.name, inner)
            graph.node.append(helper.make_node("Add", [inner, nothing], [output.name]))
    _raise_opset(model, "", 13)
    return model


def _apart(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def splits(model: onnx.ModelProto, n_columns: int) -> list[list[float]]:
    """The values that the trees of a graph compare each column with."""
    found: list[set[float]] = [set() for _ in range(n_columns)]
    for lists in _ensembles(model):
        for column, value, mode in _splits_of(lists):
            if mode != b"LEAF" and column < n_columns:
                found[column].add(value)
    return [sorted(values) for values in found]


def missing_as_zero(model: onnx.ModelProto, columns: frozenset[int]) -> None:
    """A missing value of these columns goes where 0 goes, at each split; of any column, it is in no category."""
    for lists in _ensembles(model):
        tracks = lists["nodes_missing_value_tracks_true"].ints
        for position, (column, value, mode) in enumerate(_splits_of(lists)):
            if mode == b"BRANCH_EQ":
                tracks[position] = 0
            elif column in columns and mode == b"BRANCH_LEQ":
                tracks[position] = int(value >= 0)


def _ensembles(model: onnx.ModelProto) -> Iterator[dict[str, onnx.AttributeProto]]:
    for node in model.graph.node:
        if "nodes_featureids" in (lists := _attributes(node)):
            yield lists


def _attributes(node: NodeProto) -> dict[str, onnx.AttributeProto]:
    return {attribute.name: attribute for attribute in node.attribute}


def _splits_of(lists: dict[str, onnx.AttributeProto]) -> Iterator[tuple[int, float, bytes]]:
    """Column, value and mode of each node of an ensemble. The values are float32, or doubles in a tensor."""
    values = lists["nodes_values"].floats if "nodes_values" in lists else _tensor(lists["nodes_values_as_tensor"])
    return zip(lists["nodes_featureids"].ints, values, lists["nodes_modes"].strings, strict=True)


def _tensor(attribute: onnx.AttributeProto) -> list[float]:
    numbers: list[float] = np.asarray(numpy_helper.to_array(attribute.t)).tolist()
    return numbers
