"""Learn a model's columns from a sample CSV: types, ranges, categories, baselines, gaps and an example row.

The standard library's csv is enough here, so that no data frame package is needed at run time.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

from django.utils.translation import gettext as _

from apimgmt.registry.metadata import DescriptionRefused, StatedColumn
from contract.model_spec import Cell, ColumnType

MAX_SAMPLE_BYTES = 50_000_000
MAX_SAMPLE_ROWS = 100_000
MOST_CATEGORIES = 30
# What common tools write for "no value".
MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "#N/A"})
DELIMITERS = (",", ";", "\t")
INTEGER = re.compile(r"[+-]?\d{1,18}")
YES_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class Learnt:
    """A sample CSV: its columns in its order, the row to show as an example, all rows; the target apart, as text."""

    columns: tuple[StatedColumn, ...]
    sample: dict[str, Cell]
    rows: tuple[dict[str, Cell], ...]
    targets: tuple[str, ...] = ()


@dataclass
class _Seen:
    """One column while rows are read. The narrowest type that all its cells fit wins."""

    name: str
    cells: list[str] = field(default_factory=list)
    gaps: int = 0

    def take(self, cell: str) -> None:
        if _is_gap(cell):
            self.gaps += 1
        else:
            self.cells.append(cell)

    def column(self, comma_is_point: bool, is_text: bool) -> StatedColumn:
        """What was learnt. Raises nothing: what is neither yes/no nor a number is text."""
        values, kind = _texts(self.cells) if is_text else _typed(self.cells, comma_is_point)
        nullable = True if self.gaps else None
        if kind is None or not values:
            return StatedColumn(self.name, nullable=nullable)
        if kind in {"float", "int"}:
            numbers = [value for value in values if isinstance(value, int | float)]
            middle = median(numbers)
            baseline: Cell = round(middle) if kind == "int" else float(middle)
            return StatedColumn(self.name, kind, None, min(numbers), max(numbers), baseline, nullable)
        baseline = Counter(values).most_common(1)[0][0]
        return StatedColumn(self.name, kind, _categories(values, kind), baseline=baseline, nullable=nullable)


def learn_columns(content: bytes, *, target: str | None, as_text: frozenset[str] = frozenset()) -> Learnt:
    """What a CSV with a header tells. `target` is left out; `as_text`: columns that the model takes as text.

    Raises `DescriptionRefused`.
    """
    if len(content) > MAX_SAMPLE_BYTES:
        raise DescriptionRefused("sample", [_("The sample is too large. A few hundred rows are enough.")])
    text = _decoded(content)
    header_line = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header_line.count)
    try:
        header, rows = _table(text, delimiter)
    except csv.Error as error:
        raise DescriptionRefused("sample", [_("The sample is not CSV: %s.") % error]) from None
    kept = [index for index, name in enumerate(header) if name and name != target]
    targets = tuple(row[header.index(target)].strip() for row in rows) if target in header else ()
    if not kept:
        raise DescriptionRefused("sample", [_("The sample has no column besides what is predicted.")])
    names, rows = [header[index] for index in kept], [[row[index] for index in kept] for row in rows]
    columns = _described(names, rows, delimiter == ";", as_text)
    values = tuple(_values(columns, row, delimiter == ";") for row in rows)
    return Learnt(columns, _example(columns, rows, delimiter == ";"), values, targets)


def has_column(content: bytes, name: str) -> bool:
    """Whether the sample's header has this column."""
    text = _decoded(content)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    return name in _table(text, delimiter)[0]


def _described(
    names: list[str], rows: list[list[str]], comma_is_point: bool, as_text: frozenset[str]
) -> tuple[StatedColumn, ...]:
    seen = [_Seen(name) for name in names]
    for row in rows:
        for column, cell in zip(seen, row, strict=True):
            column.take(cell)
    return tuple(column.column(comma_is_point, column.name in as_text) for column in seen)


def _example(columns: tuple[StatedColumn, ...], rows: list[list[str]], comma_is_point: bool) -> dict[str, Cell]:
    """The first row without a gap, else the first one."""
    row = next((row for row in rows if not any(_is_gap(cell) for cell in row)), rows[0])
    return _values(columns, row, comma_is_point)


def _values(columns: tuple[StatedColumn, ...], row: list[str], comma_is_point: bool) -> dict[str, Cell]:
    return {
        column.name: None if _is_gap(cell) else _typed_cell(cell, column.type, comma_is_point)
        for column, cell in zip(columns, row, strict=True)
    }


def _is_gap(cell: str) -> bool:
    return cell.strip() in MISSING_WORDS


def _decoded(content: bytes) -> str:
    """UTF-8 with or without BOM."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DescriptionRefused(
            "sample", [_("The sample is not UTF-8 text (byte %d). Save it as CSV UTF-8.") % error.start]
        ) from None


def _table(text: str, delimiter: str) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [name.strip() for name in next(reader, [])]
    if not any(header):
        raise DescriptionRefused("sample", [_("The sample is empty. It needs a header and at least one row.")])
    counts = Counter(header)
    # A first column without a name is the row number that data frames write; two are a fault.
    if twice := [name for name, count in counts.items() if count > 1]:
        raise DescriptionRefused("sample", [_("The sample's header has %s twice.") % (twice[0] or _("an empty name"))])
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            words = {"line": reader.line_num, "found": len(cells), "expected": len(header)}
            raise DescriptionRefused(
                "sample", [_("Line %(line)d of the sample has %(found)d cells, the header %(expected)d.") % words]
            )
        rows.append(cells)
        if len(rows) == MAX_SAMPLE_ROWS:
            break
    if not rows:
        raise DescriptionRefused("sample", [_("The sample has no rows below its header.")])
    return header, rows


def _texts(cells: list[str]) -> tuple[list[Cell], ColumnType | None]:
    return list(cells), "string"


def _typed(cells: list[str], comma_is_point: bool) -> tuple[list[Cell], ColumnType | None]:
    """The cells as values of the narrowest type that all of them fit; no type without any cell."""
    kinds: tuple[ColumnType, ...] = ("bool", "int", "float")
    for kind in kinds:
        try:
            return [_typed_cell(cell, kind, comma_is_point) for cell in cells], kind if cells else None
        except ValueError:
            continue
    return _texts(cells)


def _typed_cell(cell: str, kind: ColumnType | None, comma_is_point: bool) -> Cell:
    """Raises ValueError for a cell that is not of this type."""
    text = cell.strip()
    if kind == "bool":
        if text.lower() not in YES_NO:
            raise ValueError(cell)
        return YES_NO[text.lower()]
    if kind == "int":
        if not INTEGER.fullmatch(text):
            raise ValueError(cell)
        return int(text)
    if kind == "float":
        if "_" in text:
            raise ValueError(cell)
        number = float(text.replace(",", ".") if comma_is_point else text)
        if not math.isfinite(number):
            raise ValueError(cell)
        return number
    return cell


def _categories(values: list[Cell], kind: ColumnType) -> tuple[str, ...] | None:
    """Few different texts that come again are categories; names and free text are not."""
    distinct = {str(value) for value in values}
    if kind != "string" or len(distinct) > MOST_CATEGORIES or (len(distinct) == len(values) and len(values) > 3):
        return None
    return tuple(sorted(distinct))
