"""CSV with a header row into a table: whole columns at a time, cell by cell only where a column doesn't read.

A body is read in pieces of a few thousand rows, so a large one costs the memory of its numbers, not of its texts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.cells import BAD, TRUTH, Faults, expected, parsed_number, read_text, shortened
from inference.table import TEXT, Array, ColumnRule, Layout, Table, joined

_BOM = b"\xef\xbb\xbf"
_NO_CHARACTERS = frozenset("\x80\xa0\uf8f0\uf8f1\uf8f2\uf8f3")
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_PIECE_ROWS = 4096
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_FEW_ROWS = 16  # up to here cell by cell is quicker
_EXACT_FLOAT = 2.0**53  # whole numbers below survive a float

_Row = list[str]


class CsvForm(msgspec.Struct, frozen=True):
    """What was recognised of a CSV."""

    charset: str
    separator: str

    def __str__(self) -> str:
        decimal = "comma" if self.separator == ";" else "point"
        return f"charset={self.charset}; separator={_SEPARATORS[self.separator]}; decimal={decimal}"

    def records(self, body: bytes) -> list[_Row]:
        """Header and rows as text, for a body that was read in this form before. Blank lines are no rows."""
        return [record for record in _records(body, _encoding(self.charset), self.separator) if record]


def recognised_charset(body: bytes) -> str:
    """UTF-8 unless the bytes can't be; then what Excel writes on a Japanese Windows. Told by X-Csv-Dialect.

    Raises `Problem("malformed_body")` with the position where it is neither.
    """
    if body.startswith(_UTF16_BOMS):
        return "utf-16"
    if body.isascii() or body.startswith(_BOM):
        return "utf-8"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        if _is_cp932(body):
            return "cp932"
        words = f"The body is neither utf-8 nor cp932: invalid byte at position {error.start}."
        raise Problem("malformed_body", words) from None
    return "utf-8"


def _is_cp932(body: bytes) -> bool:
    """Python also lets pass bytes that stand for no character in it, as private ones."""
    try:
        return not _NO_CHARACTERS.intersection(body.decode("cp932"))
    except UnicodeDecodeError:
        return False


def _encoding(charset: str) -> str:
    return "utf-8-sig" if charset == "utf-8" else charset


class CsvParser:
    """Compiled once per loaded model."""

    def __init__(self, spec: ModelSpec, layout: Layout) -> None:
        self._layout = layout
        self._names = {rule.name for rule in layout.rules}

    def table(self, body: bytes, charset: str | None) -> tuple[Table, CsvForm]:
        """The rows and what was recognised; without a charset that is recognised too.

        Raises `Problem("malformed_body" | "invalid_rows")`.
        """
        if not body.removeprefix(_BOM).strip():
            raise Problem("malformed_body", "The body is empty.")
        charset = charset or recognised_charset(body)
        encoding = _encoding(charset)
        try:
            return self._read(body, encoding, charset)
        except UnicodeError:  # its own position is counted from the piece it was found in
            start = _first_undecodable(body, encoding)
            raise Problem("malformed_body", f"The body is not {charset}: invalid byte at position {start}.") from None

    def _read(self, body: bytes, encoding: str, charset: str) -> tuple[Table, CsvForm]:
        separator = self._separator(body, encoding)
        records = _records(body, encoding, separator)
        header = self._header(next(records, []))
        faults = Faults()
        pieces = _Pieces(self._layout, header, has_decimal_comma=separator == ";", faults=faults)
        lacking = [rule for rule in self._layout.rules if rule.name not in header]
        if missing := [rule for rule in lacking if not rule.nullable]:
            faults.add_missing(1, missing, header, known=self._names)
        if left_out := [rule for rule in lacking if rule.nullable]:
            faults.add_typos(1, left_out, header, known=self._names)
        if len(left_out) == len(self._names):
            faults.add(1, "", "the model's columns", "a header with none of them")
        if faults:
            n_rows = sum(1 for record in records if record)
            raise faults.problem(max(n_rows, 1))
        return pieces.table(records), CsvForm(charset, separator)

    def _separator(self, body: bytes, encoding: str) -> str:
        """The one that finds most of the model's columns in the header; a comma where it makes no difference."""

        def n_found(separator: str) -> int:
            try:
                names = next(_records(body, encoding, separator), [])
            except Problem:  # a header that this separator can't read
                return -1
            return len(self._names.intersection([*names, *(name.strip() for name in names)]))

        n_all = len(self._names)
        return next((sep for sep in _SEPARATORS if n_found(sep) == n_all), None) or max(_SEPARATORS, key=n_found)

    def _header(self, names: _Row) -> _Row:
        header = [name if name in self._names else name.strip() for name in names]
        if len(set(header)) < len(header):
            for name in header:
                if name in self._names and header.count(name) > 1:
                    raise Problem("malformed_body", f'The header names the column "{shortened(name)}" twice.')
        return header


def _records(body: bytes, encoding: str, separator: str) -> Iterator[_Row]:
    """The records of a body. Raises UnicodeError, and `Problem("malformed_body")` with the line."""
    text = io.TextIOWrapper(io.BytesIO(body), encoding, newline="")
    reader = csv.reader(text, delimiter=separator, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise Problem("malformed_body", f"The body is not valid CSV: line {reader.line_num}: {error}.") from None


def _first_undecodable(body: bytes, encoding: str) -> int:
    """The position in the whole body; 0 where it lacks the mark that UTF-16 begins with."""
    is_marked = encoding == "utf-8-sig" and body.startswith(_BOM)
    try:
        body.decode("utf-8" if is_marked else encoding)
    except UnicodeDecodeError as error:
        return error.start
    return 0


class _Pieces:
    """Reads the records below one header, a few thousand at a time."""

    def __init__(self, layout: Layout, header: _Row, *, has_decimal_comma: bool, faults: Faults) -> None:
        self._layout = layout
        self._width = len(header)
        place = {name: index for index, name in enumerate(header)}
        self._places = [place.get(rule.name) for rule in layout.rules]
        self._careful_order = [(layout.rules[index], self._places[index]) for index in layout.field_order]
        self._has_decimal_comma = has_decimal_comma
        self._faults = faults

    def table(self, records: Iterator[_Row]) -> Table:
        tables: list[Table] = []
        n_rows = 0
        while piece := list(islice(records, _PIECE_ROWS)):
            rows = [record for record in piece if record]  # blank lines are no rows
            table = self._piece_table(rows, first_row=n_rows + 1) if rows else None
            if table is not None:
                tables.append(table)
            n_rows += len(rows)
        if self._faults:
            raise self._faults.problem(n_rows)
        if not n_rows:
            raise Problem("invalid_rows", "The CSV has a header but no rows.")
        return joined(tables)

    def _piece_table(self, rows: list[_Row], *, first_row: int) -> Table | None:
        """None where there are faults."""
        if self._faults or len(rows) < _FEW_ROWS or any(len(row) != self._width for row in rows):
            return self._careful_table(rows, first_row)
        cells = list(zip(*rows, strict=True))
        columns = []
        for rule, place in zip(self._layout.rules, self._places, strict=True):
            column = _missing(rule, len(rows)) if place is None else self._column(rule, cells[place])
            if column is None:
                return self._careful_table(rows, first_row)
            columns.append(column)
        return self._layout.table_from_columns(columns)

    def _column(self, rule: ColumnRule, cells: Sequence[str]) -> Array | None:
        """A whole column at once; None where one of its cells needs a closer look."""
        if rule.type == "string":
            return None if not rule.nullable and "" in cells else _array(cells, TEXT)
        if rule.type == "bool":
            return _truths(rule, cells)
        return _numbers(rule, cells, has_decimal_comma=self._has_decimal_comma)

    def _careful_table(self, rows: list[_Row], first_row: int) -> Table | None:
        """Row by row, so that faults come in the order a reader looks for them."""
        cells = [self._row_cells(row, number) for number, row in enumerate(rows, start=first_row)]
        return None if self._faults else self._layout.table_from_rows(cells)

    def _row_cells(self, row: _Row, number: int) -> tuple[Any, ...]:
        """The row's cells in the layout's order; if there are faults, the tuple means nothing."""
        if len(row) != self._width:
            self._faults.add(number, "", f"{self._width} cells", f"{len(row)} cells")
            return ()
        cells = []
        for rule, place in self._careful_order:
            cell = "" if place is None else row[place]
            value = read_text(rule, cell, has_decimal_comma=self._has_decimal_comma)
            if value is BAD:
                self._add_bad(number, rule, cell)
                if self._faults.has_more:
                    return ()
            cells.append(value)
        return tuple(cells)

    def _add_bad(self, number: int, rule: ColumnRule, cell: str) -> None:
        if not self._faults.is_listing:
            self._faults.count(number)
            return
        text = cell.strip()
        received = f'text "{shortened(cell)}"' if text else "an empty cell"
        self._faults.add(number, rule.name, expected(rule, parsed_number(text)), received)


def _array(cells: Iterable[object], dtype: Any) -> Array:
    return np.array(list(cells), dtype)


def _missing(rule: ColumnRule, n_rows: int) -> Array:
    """A column that the header lacks and the model can do without."""
    return np.full(n_rows, "" if rule.dtype == TEXT else np.nan, rule.dtype)


def _truths(rule: ColumnRule, cells: Sequence[str]) -> Array | None:
    values = [TRUTH.get(cell.lower()) for cell in cells]
    return None if None in values else _array(values, rule.dtype)


def _numbers(rule: ColumnRule, cells: Sequence[str], *, has_decimal_comma: bool) -> Array | None:
    text = "".join(cells)
    if not text.isascii() or "_" in text:  # Python would read other scripts' digits, and 1_000
        return None
    if has_decimal_comma and "," in text:
        cells = [cell.replace(",", ".") for cell in cells]
    values = _floats(cells)
    if values is None:
        return None
    n_missing = cells.count("")
    is_in_range = (values >= rule.low) & (values <= rule.high)
    if len(cells) - np.count_nonzero(is_in_range) != n_missing or (n_missing and not rule.nullable):
        return None  # out of range, or the text nan, which is not how a missing value is written
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
