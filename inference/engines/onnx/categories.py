"""Which categories a graph itself lists for a column, and whether it can take any other.

Walks from each encoder back to the input that it reads, through what only moves values. Reads a stranger's protobuf, so
it runs in the confined child only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onnx import AttributeProto, ModelProto, NodeProto, numpy_helper

_MOVING: Final = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
_CHOOSING: Final = frozenset({"Gather", "ArrayFeatureExtractor"})


@dataclass(frozen=True)
class GraphCategories:
    """`takes_others`: what is in no list is encoded all the same; else the model fails on it."""

    values: tuple[str | int, ...]
    takes_others: bool


@dataclass(frozen=True)
class _Place:
    """A column of an input: the whole of it, or one of a matrix."""

    name: str
    index: int = 0


def graph_categories(model: ModelProto) -> dict[tuple[str, int], GraphCategories]:
    """By input name and the column's position in it. A column that two encoders read has what both of them take."""
    walk = _Walk(model)
    found: dict[tuple[str, int], GraphCategories] = {}
    for node in model.graph.node:
        listed = _listed(node)
        place = walk.origin(node.input[0], 0) if listed is not None else None
        if listed is None or place is None:
            continue
        key = (place.name, place.index)
        known = found.get(key)
        found[key] = listed if known is None else _both(known, listed)
    return found


def _both(first: GraphCategories, second: GraphCategories) -> GraphCategories:
    if first.takes_others != second.takes_others:
        return second if first.takes_others else first
    return GraphCategories(tuple(one for one in first.values if one in second.values), first.takes_others)


def _listed(node: NodeProto) -> GraphCategories | None:
    if node.op_type != "OneHotEncoder":
        return None
    attributes = {attribute.name: attribute for attribute in node.attribute}
    values = _values(attributes.get("cats_strings")) or _values(attributes.get("cats_int64s"))
    zeros = attributes.get("zeros")
    return GraphCategories(values, zeros is None or zeros.i == 1) if values else None


def _values(attribute: AttributeProto | None) -> tuple[str | int, ...]:
    if attribute is None:
        return ()
    if attribute.strings:
        return tuple(value.decode("utf-8", "replace") for value in attribute.strings)
    return tuple(attribute.ints)


class _Walk:
    def __init__(self, model: ModelProto) -> None:
        self._inputs = {one.name: _width(one.type.tensor_type.shape.dim) for one in model.graph.input}
        self._made_by = {name: node for node in model.graph.node for name in node.output}
        self._constants = {one.name: one for one in model.graph.initializer}

    def origin(self, name: str, index: int) -> _Place | None:
        """Where column `index` of a tensor comes from; None if it was computed, or that can't be told."""
        for _ in range(1000):  # no graph that makes columns is deeper
            if name in self._inputs and name not in self._constants:
                return _Place(name, index)
            node = self._made_by.get(name)
            if node is None:
                return None
            if node.op_type in _MOVING:
                name = node.input[0]
            elif node.op_type in _CHOOSING:
                chosen = self._chosen(node, index)
                if chosen is None:
                    return None
                name, index = node.input[0], chosen
            elif node.op_type == "Concat":
                part = self._part(node, index)
                if part is None:
                    return None
                name, index = part
            else:
                return None
        return None

    def _chosen(self, node: NodeProto, index: int) -> int | None:
        positions = self._constants.get(node.input[1])
        if positions is None:
            return None
        values = numpy_helper.to_array(positions).reshape(-1).tolist()
        return int(values[index]) if index < len(values) else None

    def _part(self, node: NodeProto, index: int) -> tuple[str, int] | None:
        """Which of the tensors that stand side by side holds a column."""
        for name in node.input:
            width = self._width_of(name)
            if width is None:
                return None
            if index < width:
                return name, index
            index -= width
        return None

    def _width_of(self, name: str) -> int | None:
        if name in self._inputs:
            return self._inputs[name]
        node = self._made_by.get(name)
        if node is None:
            return None
        if node.op_type in {"Identity", "Cast"}:
            return self._width_of(node.input[0])
        if node.op_type in _CHOOSING and (positions := self._constants.get(node.input[1])) is not None:
            return int(numpy_helper.to_array(positions).size)
        if node.op_type == "Concat":
            widths = [self._width_of(one) for one in node.input]
            return None if None in widths else sum(width for width in widths if width is not None)
        return None


def _width(dims: object) -> int | None:
    sizes = [dim.dim_value for dim in dims]  # type: ignore[attr-defined]  # protobuf's repeated field
    if len(sizes) == 1:
        return 1
    return sizes[1] if len(sizes) == 2 and sizes[1] > 0 else None
