"""Tensors of the Open Inference Protocol into a table, and arrays into tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from contract.model_spec import ColumnType, ModelSpec
from contract.problems import Problem
from inference.formats.cells import EXPECTED, Faults, expected, json_value, shortened
from inference.table import INT64_MAX, TEXT, Array, ColumnRule, Layout, Table, Type

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
_BEYOND_INT64: Final = 2.0**63  # a comparison with INT64_MAX is made in floats, where that is this very number
_LENGTH_BYTES: Final = 4  # before each element of BYTES
_KINDS: Final = {"f": "a number", "i": "a number", "u": "a number", "b": "true or false", "O": "text"}

Tensor = tuple[str, str, list[int], msgspec.Raw | memoryview]


class TensorParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self.datatypes = [column_datatype(rule.type, is_64_bit=rule.dtype.itemsize == 8) for rule in layout.rules]
        self._names = {rule.name for rule in layout.rules}
        self._is_numeric = all(rule.type in {"float", "int"} for rule in layout.rules)

    def table(self, tensors: Sequence[Tensor]) -> Table:
        """From one tensor per column, `[n]` or `[n, 1]`; or from one `[n, columns]` where all columns are numbers.

        Raises `Problem("malformed_body" | "invalid_rows")`.
        """
        if not tensors:
            raise Problem("invalid_rows", "`inputs` is empty: send one tensor per column.")
        if self._is_matrix(tensors):
            name, datatype, shape, data = tensors[0]
            block = _elements(name, datatype, shape, data).reshape(shape)
            return self._table({rule.name: block[:, index] for index, rule in enumerate(self._layout.rules)}, shape[0])
        columns: dict[str, Array] = {}
        n_rows = _rows(tensors[0])
        for tensor in tensors:
            name, datatype, shape, data = tensor
            if name in columns:
                raise Problem("malformed_body", f"Two inputs are called {_short(name)}.")
            if _rows(tensor) != n_rows:
                raise Problem("invalid_rows", f"The input {_short(name)} has {shape[0]} rows, the first has {n_rows}.")
            columns[name] = _elements(name, datatype, shape, data)
        return self._table(columns, n_rows)

    def _is_matrix(self, tensors: Sequence[Tensor]) -> bool:
        name, datatype, shape, _ = tensors[0]
        n_columns = len(self._layout.rules)
        is_one = len(tensors) == 1 and len(shape) == 2 and shape[1] == n_columns
        if not is_one or (n_columns == 1 and name in self._names):
            return False
        if not self._is_numeric:
            raise Problem("invalid_rows", "Not all columns are numbers: send one tensor per column.")
        return datatype in DATATYPES and DATATYPES[datatype].kind in "fiu"

    def _table(self, given: dict[str, Array], n_rows: int) -> Table:
        if n_rows == 0:
            raise Problem("invalid_rows", "The tensors have no row: send at least one.")
        checks = _Checks(n_rows)
        missing: list[ColumnRule] = []
        left_out: list[ColumnRule] = []
        columns: list[Array] = []
        for rule in self._layout.rules:
            array = given.get(rule.name)
            if array is not None:
                columns.append(checks.column(rule, array))
            elif rule.nullable:
                left_out.append(rule)
                columns.append(np.full(n_rows, "" if rule.dtype == TEXT else np.nan, rule.dtype))
            else:
                missing.append(rule)
        faults = Faults()
        faults.add_missing(1, missing, given, known=self._names)
        faults.add_typos(1, left_out, given, known=self._names)
        if len(left_out) == len(self._names):
            faults.add(1, "", "the model's columns", "tensors with none of their names")
        if faults:
            raise faults.problem(n_rows)
        checks.raise_faults()
        return self._layout.table_from_columns(columns)


def column_datatype(kind: ColumnType, *, is_64_bit: bool = True) -> str:
    """What the metadata says of a column. Others are taken too: a number is a number."""
    if kind == "float":
        return "FP64" if is_64_bit else "FP32"
    return {"int": "INT64", "string": "BYTES", "bool": "BOOL"}[kind]


class _Checks:
    """Checks whole columns, and tells the faults in the order of the rows."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._bad: list[tuple[ColumnRule, Array, Array]] = []

    def column(self, rule: ColumnRule, array: Array) -> Array:
        """As the model takes it; where there are faults, it means nothing."""
        if rule.type == "string":
            return self._checked(rule, array, _text_is_good(rule, array))
        if rule.type == "bool":
            return self._checked(rule, array, np.full(self._n_rows, array.dtype.kind == "b"))
        if array.dtype.kind not in "fiu":
            return self._checked(rule, array, np.zeros(self._n_rows, bool))
        if array.dtype.kind == "f":
            array = array.astype(np.float64)  # a narrower one would round the limits it is compared with to infinity
        is_good = (array >= rule.low) & (array <= rule.high)
        if array.dtype.kind == "f":
            is_missing = np.isnan(array)
            if rule.type == "int":
                is_good &= (np.floor(array) == array) & (array < _BEYOND_INT64)
            if rule.nullable:
                is_good |= is_missing
        return self._checked(rule, array, is_good)

    def _checked(self, rule: ColumnRule, array: Array, is_good: Array) -> Array:
        if not is_good.all():
            self._bad.append((rule, array, ~is_good))
            return array
        return array.astype(rule.dtype)

    def raise_faults(self) -> None:
        """Raises `Problem("invalid_rows")` if there are any."""
        if not self._bad:
            return
        faults = Faults()
        for row in np.flatnonzero(np.logical_or.reduce([bad for _, _, bad in self._bad])).tolist():
            if faults.has_more:
                faults.count(row + 1)
                continue
            for rule, array, bad in self._bad:
                if bad[row] and not faults.has_more:
                    faults.add(row + 1, rule.name, *_fault(rule, array[row]))
        raise faults.problem(self._n_rows)


def _text_is_good(rule: ColumnRule, array: Array) -> Array:
    if array.dtype != TEXT:
        return np.zeros(len(array), bool)
    return np.ones(len(array), bool) if rule.nullable else array != ""


def _fault(rule: ColumnRule, value: Any) -> tuple[str, str]:
    """What was expected and what was received."""
    if isinstance(value, str):
        return EXPECTED[rule.type], f'text "{shortened(value)}"' if value else "empty text"
    plain = value.item()
    if isinstance(plain, bool):
        return EXPECTED[rule.type], "true" if plain else "false"
    if isinstance(plain, float) and not math.isfinite(plain):
        return EXPECTED[rule.type], f"number {plain}"
    return expected(rule, plain), f"number {plain}"


def _short(name: str) -> str:
    return shortened(name)


def _rows(tensor: Tensor) -> int:
    """How many rows a column's tensor has. Raises `Problem` for a shape that is no column."""
    name, _, shape, _ = tensor
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return shape[0]
    raise Problem("invalid_rows", f"The input {_short(name)} has the shape {shape[:8]}; a column is [n] or [n, 1].")


# --- in -------------------------------------------------------------------------------------------------------------


def _elements(name: str, datatype: str, shape: list[int], data: msgspec.Raw | memoryview) -> Array:
    """The flat elements. The size is compared before anything is made of it, so a lie costs nothing."""
    if datatype not in DATATYPES:
        known = ", ".join(DATATYPES)
        raise Problem(
            "malformed_body", f"The input {_short(name)}: the datatype {_short(datatype)} is none of {known}."
        )
    if not all(0 <= size <= INT64_MAX for size in shape):  # Python refuses to write out a very large number
        words = "a shape has no negative sizes, and none beyond 64 bits"
        raise Problem("malformed_body", f"The input {_short(name)}: {words}.")
    n_elements = math.prod(shape)
    if isinstance(data, memoryview):
        return _from_binary(name, datatype, n_elements, data)
    return _from_json(name, datatype, n_elements, data)


def _wrong_size(name: str, found: object, wanted: int) -> Problem:
    return Problem("malformed_body", f"The input {_short(name)} has {found} elements, its shape says {wanted}.")


def _from_binary(name: str, datatype: str, n_elements: int, data: memoryview) -> Array:
    if datatype == "BYTES":
        return _texts(name, _lengths_read(name, n_elements, data))
    dtype = DATATYPES[datatype]
    if len(data) != n_elements * dtype.itemsize:
        words = f"{len(data)} bytes are not the {n_elements} {datatype} elements that its shape says"
        raise Problem("malformed_body", f"The input {_short(name)}: {words}.")
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
            raise Problem("malformed_body", f"The input {_short(name)}: element {number} ends beyond its data.")
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
            words = f"The input {_short(name)}: element {index + 1} is not UTF-8."
            raise Problem("malformed_body", words) from None
    return texts


def _from_json(name: str, datatype: str, n_elements: int, data: msgspec.Raw) -> Array:
    flat = _flat(name, json_value(data), n_elements)
    kinds = set(map(type, flat))
    dtype = DATATYPES[datatype]
    if not kinds <= _TAKEN[dtype.kind]:
        index, value = next((i, v) for i, v in enumerate(flat) if type(v) not in _TAKEN[dtype.kind])
        words = f"element {index + 1} of the input {_short(name)} is not {_KINDS[dtype.kind]} as {datatype} says"
        raise Problem("malformed_body", f"The {words}: {shortened(str(value))}.")
    try:
        return _FROM_JSON[dtype.kind](flat, dtype)
    except (OverflowError, ValueError):
        raise Problem("malformed_body", f"The input {_short(name)}: a number does not fit {datatype}.") from None


def _flat(name: str, value: object, n_elements: int) -> list[Any]:
    """Data may be flat or nested like its shape; what matters is the number of elements."""
    if not isinstance(value, list):
        raise Problem("malformed_body", f"The data of the input {_short(name)} is not a list.")
    flat: list[Any] = value
    for _ in range(8):
        if not any(isinstance(item, list) for item in flat):
            break
        if not all(isinstance(item, list) for item in flat):
            raise Problem("malformed_body", f"The data of the input {_short(name)} is nested unevenly.")
        if len({len(item) for item in flat}) > 1:
            raise Problem("malformed_body", f"The data of the input {_short(name)} is ragged.")
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
