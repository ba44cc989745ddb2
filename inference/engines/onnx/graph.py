"""What only the graph itself tells, not its signature: class labels, an open width, files it refers to.

Reads the ONNX protobuf, so it runs in the inspection child only: the bytes are a stranger's.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from contract.meaning import Label
from inference.signature import NotServable

DAMAGED = "The file is damaged or cut off: it begins like an ONNX model, but can't be read to its end."
METADATA_KEY = "prediction-api-console.metadata"
"""Of the ONNX file's own properties: what a metadata file would say, in a file that was converted."""
_LABEL_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_MISSING_OPS = {"Imputer", "IsNaN"}
_CHOOSING_OPS = {"ArrayFeatureExtractor", "Gather", "GatherElements"}  # pick a label out of a list of labels


def read_graph(path: Path) -> ModelProto:
    """The parsed file. Raises `NotServable` if it is no ONNX model, or not whole in itself."""
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError:
        raise NotServable(DAMAGED) from None
    if not model.HasField("graph") or not model.ir_version:
        raise NotServable("The file is not an ONNX model.")
    if files := sorted(external_files(model)):
        raise NotServable(
            f"The model keeps its weights in other files ({', '.join(files[:3])}), which are not part of the upload. "
            "Save it as one file (onnx.save with save_as_external_data=False)."
        )
    return model


def own_metadata(model: ModelProto) -> str:
    """A metadata file's text that the model carries; "" if it has none."""
    return next((entry.value for entry in model.metadata_props if entry.key == METADATA_KEY), "")


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """The graph and all graphs inside its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from graphs(attribute.g)
            for inner in attribute.graphs:
                yield from graphs(inner)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    for graph in graphs(model.graph):
        yield from graph.initializer
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def external_files(model: ModelProto) -> set[str]:
    """Names of files beside the model that hold its weights."""
    return {
        next((entry.value for entry in tensor.external_data if entry.key == "location"), "unnamed")
        for tensor in tensors(model)
        if tensor.data_location == TensorProto.EXTERNAL
    }


def treats_missing(model: ModelProto) -> bool:
    """Whether anything in the graph does something of its own with NaN."""
    return any(
        node.op_type in _MISSING_OPS
        or any(a.name == "nodes_missing_value_tracks_true" and any(a.ints) for a in node.attribute)
        for graph in graphs(model.graph)
        for node in graph.node
    )


def class_labels(model: ModelProto, output: str) -> tuple[Label, ...] | None:
    """Labels behind an output, in the order of the probabilities.

    Walks from the output towards the inputs: the first list of labels met is the one that the output chooses from.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    lists = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and (value := _attribute(node, "value")) is not None:
            lists[node.output[0]] = value.t
    waiting, seen = [output], {output}
    while waiting:
        node = made_by.get(waiting.pop(0))
        if node is None:
            continue
        if (found := _labels_of(node, lists)) is not None:
            return found
        waiting += [name for name in node.input if name not in seen]
        seen.update(node.input)
    return None


def _labels_of(node: NodeProto, lists: dict[str, TensorProto]) -> tuple[Label, ...] | None:
    for name in _LABEL_ATTRIBUTES:
        if (attribute := _attribute(node, name)) is not None:
            if attribute.strings:
                return tuple(label.decode("utf-8", "replace") for label in attribute.strings)
            if attribute.ints:
                return tuple(attribute.ints)
    if node.op_type in _CHOOSING_OPS and node.input[0] in lists:
        values = numpy_helper.to_array(lists[node.input[0]]).reshape(-1)
        if values.dtype.kind == "i":
            return tuple(values.tolist())
        if values.dtype.kind == "O":
            texts = (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values)
            return tuple(texts)
    return None


def matrix_width(model: ModelProto, matrix: str) -> int | None:
    """How many columns a matrix of open width needs, as its first users tell; None if they don't."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    names, widths = {matrix}, []
    for node in model.graph.node:
        if not names.intersection(node.input):
            continue
        if node.op_type in {"Cast", "Identity"}:
            names.update(node.output)
        elif (width := _width_of(node, shapes)) is not None:
            widths.append(width)
    return max(widths) if widths else None


def _width_of(node: NodeProto, shapes: dict[str, tuple[int, ...]]) -> int | None:
    lengths = {attribute.name: max(len(attribute.floats), len(attribute.ints)) for attribute in node.attribute}
    if node.op_type in {"Scaler", "Imputer"}:
        length = max(lengths.get("offset", 0), lengths.get("imputed_value_floats", 0))
        return length if length > 1 else None
    if node.op_type == "LinearClassifier":
        rows = max(1, lengths.get("intercepts", 1))
        return lengths["coefficients"] // rows
    if node.op_type == "LinearRegressor":
        targets = _attribute(node, "targets")
        count = int(targets.i) if targets is not None else 1
        return lengths["coefficients"] // count
    if node.op_type.startswith("TreeEnsemble") and (used := _attribute(node, "nodes_featureids")) is not None:
        return int(max(used.ints)) + 1  # columns behind the last used one don't show: a lower bound
    if node.op_type in {"MatMul", "Gemm"} and len(shape := shapes.get(node.input[1], ())) == 2:
        is_transposed = (turned := _attribute(node, "transB")) is not None and turned.i == 1
        return shape[1] if is_transposed else shape[0]
    if node.op_type in {"Sub", "Div"} and len(shape := shapes.get(node.input[1], ())) in {1, 2}:
        return shape[-1] if shape[-1] > 1 else None
    return None


def _attribute(node: NodeProto, name: str) -> AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)
