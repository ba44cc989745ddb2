"""Tensors of the Open Inference Protocol into a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from contract.model_spec import TYPE_WORDS, ColumnType, ModelSpec
from contract.problems import Problem
from inference.formats.cells import Faults, expected, shortened
from inference.formats.open_inference.elements import DATATYPES, Tensor, elements_of
from inference.table import TEXT, Array, ColumnRule, Layout, Table

_BEYOND_INT64: Final = 2.0**63  # a comparison with INT64_MAX is made in floats, where that is this very number


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
            block = elements_of(name, datatype, shape, data).reshape(shape)
            return self._table({rule.name: block[:, index] for index, rule in enumerate(self._layout.rules)}, shape[0])
        columns: dict[str, Array] = {}
        n_rows = _rows(tensors[0])
        for tensor in tensors:
            name, datatype, shape, data = tensor
            if name in columns:
                raise Problem("malformed_body", f"Two inputs are called {shortened(name)}.")
            if _rows(tensor) != n_rows:
                raise Problem(
                    "invalid_rows", f"The input {shortened(name)} has {shape[0]} rows, the first has {n_rows}."
                )
            columns[name] = elements_of(name, datatype, shape, data)
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
            raise Problem("invalid_rows", "The tensors have no rows: send at least one.")
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
        return TYPE_WORDS[rule.type], f'text "{shortened(value)}"' if value else "empty text"
    plain = value.item()
    if isinstance(plain, bool):
        return TYPE_WORDS[rule.type], "true" if plain else "false"
    if isinstance(plain, float) and not math.isfinite(plain):
        return TYPE_WORDS[rule.type], f"number {plain}"
    return expected(rule, plain), f"number {plain}"


def _rows(tensor: Tensor) -> int:
    """How many rows a column's tensor has. Raises `Problem` for a shape that is no column."""
    name, _, shape, _ = tensor
    if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
        return shape[0]
    raise Problem("invalid_rows", f"The input {shortened(name)} has the shape {shape[:8]}; a column is [n] or [n, 1].")
