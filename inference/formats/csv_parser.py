"""CSV with a header row into a table: whole columns at a time, cell by cell only where a column doesn't read.

A body is read in pieces of a few thousand rows, so a large one costs the memory of its numbers, not of its texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.cells import BAD, TRUTH, Faults, expected, noted, parsed_number, read_text, shortened
from inference.formats.column_names import ColumnNames
from inference.formats.csv_reader import CsvForm, CsvText, DecimalMarks, Row, read_csv
from inference.row_warnings import RowWarnings
from inference.table import TEXT, Array, ColumnRule, Layout, Table, joined

_PIECE_ROWS = 4096
_FEW_ROWS = 16  # up to here cell by cell is quicker
_EXACT_FLOAT = 2.0**53  # whole numbers below survive a float


class CsvParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self._names = ColumnNames(layout)

    def table(self, body: bytes, charset: str | None, default: str = "") -> tuple[Table, CsvForm]:
        """The rows and what was recognised; without a charset that is recognised too, or is the default.

        Raises `Problem("malformed_body" | "invalid_rows")`.
        """
        text = read_csv(body, charset, self._names.names, default)
        faults = Faults()
        header = self._header(text.header, faults)
        pieces = _Pieces(self._layout, header, has_decimal_comma=text.form.has_decimal_comma, faults=faults)
        given = set(header)
        lacking = [rule for rule in self._layout.rules if rule.name not in given]
        if missing := [rule for rule in lacking if not rule.nullable]:
            faults.add_missing(1, missing, header, known=self._names.exact)
        if left_out := [rule for rule in lacking if rule.nullable]:
            faults.add_typos(1, left_out, header, known=self._names.exact)
        if len(left_out) == len(self._layout.rules):
            faults.add(1, "", "the model's columns", "a header with none of them")
        if faults:
            n_rows = sum(1 for _ in text.rows())
            raise faults.problem(max(n_rows, 1))
        return pieces.table(text), text.form

    def own_names(self, header: Sequence[str]) -> list[str]:
        """The header with the model's own names, for one that was read before."""
        return [self._names.find(name) or name.strip() for name in header]

    def _header(self, names: Row, faults: Faults) -> Row:
        if len(set(names)) == len(names) and self._names.exact.issuperset(names):
            return names
        for name, count in Counter(names).items():
            if count > 1 and name in self._names.exact:
                raise Problem("malformed_body", f'The header names the column "{shortened(name)}" twice.')
        aliases = self._names.aliases(names, 1, faults)
        own_name = {sent: column for column, sent in aliases.items()}
        return [own_name.get(name, name if name in self._names.exact else name.strip()) for name in names]


class _Pieces:
    """Reads the rows below one header, a few thousand at a time."""

    def __init__(self, layout: Layout, header: Row, *, has_decimal_comma: bool, faults: Faults) -> None:
        self._layout = layout
        self._width = len(header)
        place = {name: index for index, name in enumerate(header)}
        self._places = [place.get(rule.name) for rule in layout.rules]
        self._careful_order = [
            (layout.rules[index], self._places[index], *_unremarkable(layout.rules[index]))
            for index in layout.field_order
        ]
        self._marks = DecimalMarks() if has_decimal_comma else None
        self._faults = faults
        self._warnings = RowWarnings()

    def table(self, text: CsvText) -> Table:
        tables: list[Table] = []
        n_rows = 0
        rows = text.rows()
        while piece := list(islice(rows, _PIECE_ROWS)):
            table = self._piece_table(piece, first_row=n_rows + 1)
            if table is not None:
                tables.append(table)
            n_rows += len(piece)
        if self._faults:
            raise self._faults.problem(n_rows)
        if not n_rows:
            raise Problem("invalid_rows", "The CSV has a header but no rows.")
        if self._marks is not None and (conflicts := self._marks.conflicts()):
            raise _two_marks(conflicts, n_rows)
        if text.n_dropped:
            self._warnings.add(n_rows + 1, "", "empty_rows_dropped", "a value in some cell", text.n_dropped)
        table = joined(tables)
        table.warnings = self._warnings if self._warnings else None
        return table

    def _piece_table(self, rows: list[Row], *, first_row: int) -> Table | None:
        """None where there are faults."""
        if self._faults or len(rows) < _FEW_ROWS or any(len(row) != self._width for row in rows):
            return self._careful_table(rows, first_row)
        cells = list(zip(*rows, strict=True))
        columns = []
        for rule, place in zip(self._layout.rules, self._places, strict=True):
            column = _missing(rule, len(rows)) if place is None else self._column(rule, cells[place], first_row)
            if column is None:
                return self._careful_table(rows, first_row)
            columns.append(column)
        return self._layout.table_from_columns(columns)

    def _column(self, rule: ColumnRule, cells: Sequence[str], first_row: int) -> Array | None:
        """A whole column at once; None where one of its cells needs a closer look."""
        if rule.type == "string":
            return _texts(rule, cells)
        if rule.type == "bool":
            return _truths(rule, cells)
        text = "".join(cells)
        if self._marks is not None:
            self._note_marks(self._marks, rule.name, text, cells, first_row)
        return _numbers(rule, cells, text, has_decimal_comma=self._marks is not None)

    def _note_marks(self, marks: DecimalMarks, column: str, text: str, cells: Sequence[str], first_row: int) -> None:
        for mark in ",.":
            if mark in text and not marks.knows(column, mark):
                index = next(index for index, cell in enumerate(cells) if mark in cell)
                marks.note(column, cells[index], first_row + index)

    def _careful_table(self, rows: list[Row], first_row: int) -> Table | None:
        """Row by row, so that faults come in the order a reader looks for them."""
        cells = [self._row_cells(row, number) for number, row in enumerate(rows, start=first_row)]
        return None if self._faults else self._layout.table_from_rows(cells)

    def _row_cells(self, row: Row, number: int) -> tuple[Any, ...]:
        """The row's cells in the layout's order; if there are faults, the tuple means nothing."""
        if len(row) != self._width:
            self._faults.add(number, "", f"{self._width} cells", f"{len(row)} cells")
            return ()
        marks, warnings = self._marks, self._warnings
        cells = []
        for rule, place, low, high in self._careful_order:
            cell = "" if place is None else row[place]
            value = read_text(rule, cell, has_decimal_comma=marks is not None)
            if low is None or not isinstance(value, (int, float)) or not low <= value <= high:
                value = noted(rule, value, number, warnings)
            if value is BAD:
                self._add_bad(number, rule, cell)
                if self._faults.has_more:
                    return ()
            elif marks is not None and rule.type in {"float", "int"}:
                marks.note(rule.name, cell, number)
            cells.append(value)
        return tuple(cells)

    def _add_bad(self, number: int, rule: ColumnRule, cell: str) -> None:
        if not self._faults.is_listing:
            self._faults.count(number)
            return
        text = cell.strip()
        received = f'text "{shortened(cell)}"' if text else "an empty cell"
        self._faults.add(number, rule.name, expected(rule, parsed_number(text)), received)


def _unremarkable(rule: ColumnRule) -> tuple[float | None, float]:
    """Numbers that are taken without a second look: all where there is no check, none where there are categories."""
    if rule.check is None:
        return -math.inf, math.inf
    return (None, 0.0) if rule.check.categories is not None else (rule.check.low, rule.check.high)


def _two_marks(conflicts: list[tuple[str, list[tuple[int, str]]]], n_rows: int) -> Problem:
    """Each of the two cells is a fault, and names the other."""
    faults = Faults()
    found = [
        (row, column, cell, other_row, other)
        for column, (first, second) in conflicts
        for (row, cell), (other_row, other) in ((first, second), (second, first))
    ]
    for row, column, cell, other_row, other in sorted(found):
        wanted = f'one decimal mark in the column: row {other_row} has "{shortened(other)}"'
        faults.add(row, column, wanted, f'text "{shortened(cell)}"')
    return faults.problem(n_rows)


def _texts(rule: ColumnRule, cells: Sequence[str]) -> Array | None:
    if not rule.nullable and "" in cells:
        return None
    categories = rule.check.categories if rule.check is not None else None
    if categories is not None and not set(cells) - {""} <= categories.names.exact:
        return None
    return _array(cells, TEXT)


def _array(cells: Iterable[object], dtype: Any) -> Array:
    return np.array(list(cells), dtype)


def _missing(rule: ColumnRule, n_rows: int) -> Array:
    """A column that the header lacks and the model can do without."""
    return np.full(n_rows, "" if rule.dtype == TEXT else np.nan, rule.dtype)


def _truths(rule: ColumnRule, cells: Sequence[str]) -> Array | None:
    values = [TRUTH.get(cell.lower()) for cell in cells]
    return None if None in values else _array(values, rule.dtype)


def _numbers(rule: ColumnRule, cells: Sequence[str], text: str, *, has_decimal_comma: bool) -> Array | None:
    if not text.isascii() or "_" in text:  # Python would read other scripts' digits, and 1_000
        return None
    if has_decimal_comma and "," in text:
        cells = [cell.replace(",", ".") for cell in cells]
    values = _floats(cells)
    if values is None:
        return None
    n_missing = cells.count("")
    low, high = rule.plain_range
    is_in_range = (values >= low) & (values <= high)
    if len(cells) - np.count_nonzero(is_in_range) != n_missing or (n_missing and not rule.nullable):
        return None  # out of range, or the text nan, which is not how a missing value is written
    categories = rule.check.categories if rule.check is not None else None
    if categories is not None and not set(values[is_in_range].tolist()) <= (categories.numbers or set()):
        return None
    if rule.type == "int":
        given = values[is_in_range]
        if (given != np.floor(given)).any() or (np.abs(given) >= _EXACT_FLOAT).any():
            return None
    return values.astype(rule.dtype)


def _floats(cells: Sequence[str]) -> Array | None:
    """64-bit floats, NaN for an empty cell; None where a cell is no number."""
    try:
        return np.array(list(map(float, cells)))
    except ValueError:
        if "" not in cells:
            return None
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
