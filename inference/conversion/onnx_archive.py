"""An ONNX model in a zip archive, with the files that hold its weights: joined into one file.

PyTorch's exporter and `onnx.save(..., save_as_external_data=True)` write such files beside the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError

from inference.conversion.archive import MOST_BYTES, Archive
from inference.signature import NotServable


def joined(path: Path) -> bytes:
    """The one ONNX file of the archive with all of its weights in it. Raises `NotServable`."""
    archive = Archive(path)
    names = [name for name in archive.names if name.suffix.lower() == ".onnx" and not name.name.startswith("._")]
    if len(names) != 1:
        listed = ", ".join(map(str, names[:5])) or "none"
        raise NotServable(f"The zip archive must have one file that ends in .onnx, and has {listed}.")
    content: bytes = joined_model(archive, names[0]).SerializeToString()
    return content


def joined_model(archive: Archive, name: PurePosixPath) -> onnx.ModelProto:
    """The model of that name with the weights that lie beside it. Raises `NotServable`."""
    try:
        model = onnx.load_model_from_string(archive.read(name))
    except DecodeError:
        raise NotServable(f"The file {name} is damaged or cut off: it can't be read as an ONNX model.") from None
    files: dict[PurePosixPath, bytes] = {}
    size = 0
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            size += _take_in(tensor, archive, name.parent, files)
            if size > MOST_BYTES:  # many tensors may name the same bytes
                raise NotServable(f"The model's weights have more than {MOST_BYTES >> 20} MB together.")
    return model


def _take_in(
    tensor: onnx.TensorProto, archive: Archive, folder: PurePosixPath, files: dict[PurePosixPath, bytes]
) -> int:
    """Put the tensor's bytes into it. Returns how many they are."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location = PurePosixPath(where.get("location", "").replace("\\", "/"))
    if location.is_absolute() or ".." in location.parts or not location.parts:
        raise NotServable(f"The weights of {tensor.name} lie outside of the zip archive.")
    name = folder / location
    if name not in files:
        files[name] = archive.read(name)
    content = files[name]
    offset, length = _number(where, "offset", 0), _number(where, "length", len(content))
    part = content[offset : offset + length] if "length" in where else content[offset:]
    if "length" in where and len(part) != length:
        raise NotServable(f"The file {name} is cut off: the weights of {tensor.name} reach beyond its end.")
    tensor.raw_data = part
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return len(part)


def _number(where: dict[str, str], key: str, default: int) -> int:
    text = where.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotServable(f"The model's external data has no usable {key}: {text[:20]}.")
    return int(text)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _of_sparse(graph.sparse_initializer)
    for node in graph.node:
        yield from _of_node(node)


def _of_sparse(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    for sparse in tensors:
        yield from (sparse.values, sparse.indices)


def _of_node(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        yield from _of_sparse([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
        yield from _of_sparse(attribute.sparse_tensors)
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _of_graph(graph)
