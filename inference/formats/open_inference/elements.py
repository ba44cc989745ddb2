"""The elements of one tensor, from JSON or binary data and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from contract.problems import Problem
from inference.formats.cells import json_value, shortened
from inference.table import INT64_MAX, TEXT, Array, Type

DATATYPES: Final[dict[str, Type]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": TEXT,
}
_LENGTH_BYTES: Final = 4  # before each element of BYTES
_KINDS: Final = {"f": "a number", "i": "a number", "u": "a number", "b": "true or false", "O": "text"}

Tensor = tuple[str, str, list[int], msgspec.Raw | memoryview]


# --- in -------------------------------------------------------------------------------------------------------------


def elements_of(name: str, datatype: str, shape: list[int], data: msgspec.Raw | memoryview) -> Array:
    """The flat elements. The size is compared before anything is made of it, so a lie costs nothing."""
    if datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise _malformed(name, f"the datatype {shortened(datatype)} is not supported; supported are {known}")
    if not all(0 <= size <= INT64_MAX for size in shape):  # Python refuses to write out a very large number
        raise _malformed(name, "the sizes in a shape are not negative and fit 64 bits")
    n_elements = math.prod(shape)
    if isinstance(data, memoryview):
        return _from_binary(name, datatype, n_elements, data)
    return _from_json(name, datatype, n_elements, data)


def _malformed(name: str, words: str) -> Problem:
    return Problem("malformed_body", f"The input {shortened(name)}: {words}.")


def _wrong_size(name: str, found: object, wanted: int) -> Problem:
    return Problem("malformed_body", f"The input {shortened(name)} has {found} elements, its shape says {wanted}.")


def _from_binary(name: str, datatype: str, n_elements: int, data: memoryview) -> Array:
    if datatype == "BYTES":
        return _texts(name, _lengths_read(name, n_elements, data))
    dtype = DATATYPES[datatype]
    if len(data) != n_elements * dtype.itemsize:
        words = f"its shape says {n_elements} {datatype} elements, its data has {len(data)} bytes"
        raise _malformed(name, words)
    if datatype == "BOOL":  # a byte that is neither 0 nor 1 would be a broken truth
        return np.frombuffer(data, np.uint8).astype(bool)
    return np.frombuffer(data, dtype)


def _lengths_read(name: str, n_elements: int, data: memoryview) -> list[bytes]:
    elements: list[bytes] = []
    place = 0
    while place < len(data):
        start = place + _LENGTH_BYTES
        stop = start + int.from_bytes(data[place:start], "little")
        if start > len(data) or stop > len(data):
            number = len(elements) + 1
            raise _malformed(name, f"element {number} ends after the end of the data")
        if len(elements) == n_elements:
            raise _wrong_size(name, f"more than {n_elements}", n_elements)
        elements.append(bytes(data[start:stop]))
        place = stop
    if len(elements) != n_elements:
        raise _wrong_size(name, len(elements), n_elements)
    return elements


def _texts(name: str, elements: list[bytes]) -> Array:
    texts = np.empty(len(elements), TEXT)
    for index, element in enumerate(elements):
        try:
            texts[index] = element.decode()
        except UnicodeDecodeError:
            raise _malformed(name, f"element {index + 1} is not UTF-8") from None
    return texts


def _from_json(name: str, datatype: str, n_elements: int, data: msgspec.Raw) -> Array:
    flat = _flat(name, json_value(data), n_elements)
    kinds = set(map(type, flat))
    dtype = DATATYPES[datatype]
    if not kinds <= _TAKEN[dtype.kind]:
        index, value = next((i, v) for i, v in enumerate(flat) if type(v) not in _TAKEN[dtype.kind])
        words = f"element {index + 1} of the input {shortened(name)} is not {_KINDS[dtype.kind]} as {datatype} says"
        raise Problem("malformed_body", f"The {words}: {shortened(str(value))}.")
    try:
        return _FROM_JSON[dtype.kind](flat, dtype)
    except (OverflowError, ValueError):
        raise _malformed(name, f"a number does not fit {datatype}") from None


def _flat(name: str, value: object, n_elements: int) -> list[Any]:
    """Data may be flat or nested like its shape; what matters is the number of elements."""
    if not isinstance(value, list):
        raise Problem("malformed_body", f"The data of the input {shortened(name)} is not a list.")
    flat: list[Any] = value
    for _ in range(8):
        if not any(isinstance(item, list) for item in flat):
            break
        if not all(isinstance(item, list) for item in flat):
            raise Problem("malformed_body", f"The data of the input {shortened(name)} is nested unevenly.")
        if len({len(item) for item in flat}) > 1:
            raise Problem("malformed_body", f"The data of the input {shortened(name)} is ragged.")
        flat = [cell for item in flat for cell in item]
    if len(flat) != n_elements:
        raise _wrong_size(name, len(flat), n_elements)
    return flat


def _floats(flat: list[Any], dtype: Type) -> Array:
    """As 64-bit floats, whatever the width: the decimals that were sent are what is checked. null is missing."""
    return np.array([math.nan if value is None else value for value in flat], np.float64)


def _integers(flat: list[Any], dtype: Type) -> Array:
    """Wide first, because numpy would let a float that is too big wrap."""
    array = np.array([int(value) for value in flat], np.uint64 if dtype.kind == "u" else np.int64)
    if (array != array.astype(dtype)).any() or any(value != int(value) for value in flat):
        raise ValueError
    return array


_TAKEN: Final[dict[str, set[type]]] = {
    "f": {float, int, type(None)},
    "i": {int, float},
    "u": {int, float},
    "b": {bool},
    "O": {str},
}
_FROM_JSON: Final[dict[str, Callable[[list[Any], Type], Array]]] = {
    "f": _floats,
    "i": _integers,
    "u": _integers,
    "b": np.array,
    "O": lambda flat, dtype: _objects(flat),
}


def _objects(flat: list[Any]) -> Array:
    texts = np.empty(len(flat), TEXT)
    texts[:] = flat
    return texts


# --- out ------------------------------------------------------------------------------------------------------------


def json_elements(elements: list[Any] | Array) -> str:
    """A flat JSON list; numbers as the shortest decimal that reads back as the same float."""
    if isinstance(elements, list):
        return msgspec.json.encode(elements).decode()
    return f"[{','.join(map(str, elements))}]"


def binary_elements(elements: list[Any] | Array, datatype: str) -> bytes:
    """Raw little-endian elements; texts with their length before them."""
    if datatype != "BYTES":
        return np.asarray(elements, DATATYPES[datatype]).tobytes()
    texts = [str(element).encode() for element in elements]
    return b"".join(part for text in texts for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text))
