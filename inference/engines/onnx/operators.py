"""Which operators a graph uses, read from the file's bytes alone: may this model run inside a gateway worker?

Only standard operators without control flow do, whose results are no larger than what they are given: a loop can
take for ever, and a size that is read from the data can ask for all memory there is. The fields are those of
onnx.proto; attributes are skipped unread, because whatever has a graph inside is refused by its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

STANDARD_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
CONTROL_FLOW: Final = frozenset({"Loop", "Scan", "If", "SequenceMap"})
SIZED_BY_DATA: Final = frozenset(
    {
        *(
            "ConstantOfShape",
            "Expand",
            "Tile",
            "Range",
            "Resize",
            "Upsample",
            "Pad",
            "CenterCropPad",
            "OneHot",
            "Col2Im",
        ),
        *("MaxUnpool", "AffineGrid", "DFT", "STFT", "MelWeightMatrix", "HannWindow", "HammingWindow", "BlackmanWindow"),
    }
)

_GRAPH, _FUNCTIONS = 7, 25  # of a model
_NODE = 1  # of a graph
_OPERATOR, _DOMAIN = 4, 7  # of a node
_VARINT, _EIGHT_BYTES, _DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


class Unreadable(Exception):
    """The bytes are no protocol buffer."""


def obstacle_to_inline(model: bytes) -> str:
    """Why a model must have a process of its own, in words; "" if it need not."""
    try:
        for number, content in _fields(memoryview(model)):
            if number == _FUNCTIONS:
                return "it has functions of its own"
            if number == _GRAPH and (found := _obstacle_in_graph(content)):
                return found
    except (Unreadable, IndexError, UnicodeDecodeError):
        return "its graph can't be read"
    return ""


def _obstacle_in_graph(graph: memoryview) -> str:
    for number, node in _fields(graph):
        if number != _NODE:
            continue
        names = {number: str(content, "utf-8") for number, content in _fields(node) if number in {_OPERATOR, _DOMAIN}}
        operator, domain = names.get(_OPERATOR, ""), names.get(_DOMAIN, "")
        if domain not in STANDARD_DOMAINS:
            return f"it uses {operator} of {domain}, which is no standard operator"
        if operator in CONTROL_FLOW:
            return f"it uses {operator}, which may take any time"
        if operator in SIZED_BY_DATA:
            return f"it uses {operator}, which may take any memory"
    return ""


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a message; numbers are passed over."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind == _DELIMITED:
            length, position = _varint(message, position)
            if length > end - position:
                raise Unreadable
            yield key >> 3, message[position : position + length]
            position += length
        elif kind in {_EIGHT_BYTES, _FOUR_BYTES}:
            position += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise Unreadable


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise Unreadable
