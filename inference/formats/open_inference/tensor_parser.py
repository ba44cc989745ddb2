"""Tensors of the Open Inference Protocol into a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from contract.model_spec import TYPE_WORDS, ColumnType, ModelSpec
from contract.problems import Problem
from inference.formats.cells import BAD, Faults, expected, noted, shortened
from inference.formats.column_names import ColumnNames
from inference.formats.open_inference.elements import DATATYPES, Tensor, elements_of
from inference.row_warnings import RowWarnings
from inference.table import TEXT, Array, ColumnRule, Layout, Table

_BEYOND_INT64: Final = 2.0**63  # a comparison with INT64_MAX is made in floats, where that is this very number


class TensorParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self.datatypes = [column_datatype(rule.type, is_64_bit=rule.dtype.itemsize == 8) for rule in layout.rules]
        self._names = ColumnNames(layout)
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
        if not is_one or (n_columns == 1 and self._names.find(name) is not None):
            return False
        if not self._is_numeric:
            raise Problem("invalid_rows", "Not all columns are numbers: send one tensor per column.")
        return datatype in DATATYPES and DATATYPES[datatype].kind in "fiu"

    def _table(self, given: dict[str, Array], n_rows: int) -> Table:
        if n_rows == 0:
            raise Problem("invalid_rows", "The tensors have no rows: send at least one.")
        faults = Faults()
        given |= {column: given[name] for column, name in self._names.aliases(given, 1, faults).items()}
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
        faults.add_missing(1, missing, given, known=self._names.exact)
        faults.add_typos(1, left_out, given, known=self._names.exact)
        if len(left_out) == len(self._layout.rules):
            faults.add(1, "", "the model's columns", "tensors with none of their names")
        if faults:
            raise faults.problem(n_rows)
        warnings = checks.told()
        table = self._layout.table_from_columns(columns)
        if warnings:
            table.warnings = warnings
        return table


def column_datatype(kind: ColumnType, *, is_64_bit: bool = True) -> str:
    """What the metadata says of a column. Others are taken too: a number is a number."""
    if kind == "float":
        return "FP64" if is_64_bit else "FP32"
    return {"int": "INT64", "string": "BYTES", "bool": "BOOL"}[kind]


class _Checks:
    """Checks whole columns, and tells what there is to tell in the order of the rows."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._bad: list[tuple[ColumnRule, Array, Array]] = []
        self._odd: list[tuple[ColumnRule, Array, Array, Array]] = []

    def column(self, rule: ColumnRule, array: Array) -> Array:
        """As the model takes it; where there are faults, it means nothing. What `told` matches it writes in here."""
        if rule.type == "string":
            is_good = _text_is_good(rule, array)
            if not is_good.all():
                return self._refused(rule, array, is_good)
            return self._taken(rule, array, _is_unknown(rule, array))
        if rule.type == "bool":
            is_good = np.full(self._n_rows, array.dtype.kind == "b")
            return array.astype(rule.dtype) if is_good.all() else self._refused(rule, array, is_good)
        if array.dtype.kind not in "fiu":
            return self._refused(rule, array, np.zeros(self._n_rows, bool))
        return self._numbers(rule, array)

    def _numbers(self, rule: ColumnRule, array: Array) -> Array:
        if array.dtype.kind == "f":
            array = array.astype(np.float64)  # a narrower one would round the limits it is compared with to infinity
        low, high = rule.plain_range
        is_plain = (array >= low) & (array <= high)
        has_categories = rule.check is not None and rule.check.categories is not None
        if rule.type == "float" and not has_categories and is_plain.all():
            return array.astype(rule.dtype)
        is_good = is_plain if rule.check is None else (array >= rule.low) & (array <= rule.high)
        if array.dtype.kind == "f":
            is_missing = np.isnan(array)
            if rule.type == "int":
                is_good &= (np.floor(array) == array) & (array < _BEYOND_INT64)
            if rule.nullable:
                is_good |= is_missing
                is_plain |= is_missing
        if not is_good.all():
            return self._refused(rule, array, is_good)
        if has_categories:
            is_plain &= np.isnan(array) if array.dtype.kind == "f" else False
        return self._taken(rule, array, ~is_plain)

    def _refused(self, rule: ColumnRule, array: Array, is_good: Array) -> Array:
        self._bad.append((rule, array, ~is_good))
        return array

    def _taken(self, rule: ColumnRule, array: Array, is_odd: Array) -> Array:
        taken = array.astype(rule.dtype)
        if is_odd.any():
            self._odd.append((rule, array, is_odd, taken))
        return taken

    def told(self) -> RowWarnings:
        """Raises `Problem("invalid_rows")` where there are faults."""
        warnings = RowWarnings()
        masks = [bad for _, _, bad in self._bad] + [odd for _, _, odd, _ in self._odd]
        if not masks:
            return warnings
        faults = Faults()
        for row in np.flatnonzero(np.logical_or.reduce(masks)).tolist():
            self._look_at(row, faults, warnings)
        if faults:
            raise faults.problem(self._n_rows)
        return warnings

    def _look_at(self, row: int, faults: Faults, warnings: RowWarnings) -> None:
        for rule, array, is_bad in self._bad:
            if is_bad[row]:
                _add_fault(faults, row, rule, array)
        for rule, array, is_odd, taken in self._odd:
            if not is_odd[row]:
                continue
            value = noted(rule, _plain(array[row]), row + 1, warnings)
            if value is BAD:
                _add_fault(faults, row, rule, array)
            elif rule.type == "string":
                taken[row] = value


def _add_fault(faults: Faults, row: int, rule: ColumnRule, array: Array) -> None:
    if not faults.is_listing:
        faults.count(row + 1)
    else:
        faults.add(row + 1, rule.name, *_fault(rule, array[row]))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else value.item()


def _is_unknown(rule: ColumnRule, array: Array) -> Array:
    """Which texts are none of the column's categories exactly."""
    categories = rule.check.categories if rule.check is not None else None
    if categories is None:
        return np.zeros(len(array), bool)
    known = categories.names.exact
    return np.fromiter((text not in known for text in array), bool, len(array))


def _text_is_good(rule: ColumnRule, array: Array) -> Array:
    if array.dtype != TEXT:
        return np.zeros(len(array), bool)
    return np.ones(len(array), bool) if rule.nullable else array != ""


def _fault(rule: ColumnRule, value: Any) -> tuple[str, str]:
    """What was expected and what was received."""
    if isinstance(value, str):
        received = f'text "{shortened(value)}"' if value else "empty text"
        return expected(rule, value) if rule.type == "string" else TYPE_WORDS[rule.type], received
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
