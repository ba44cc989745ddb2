"""Learn a model's columns from a sample CSV: types, ranges, categories, baselines, gaps and an example row.

Cells are read as a request's are, by the same reader; only gaps are wider, because tools write "no value" in many ways.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from django.utils.translation import gettext as _

from apimgmt.registry.metadata import LARGEST_WHOLE, DescriptionRefused, StatedColumn, unstorable_sentence
from apimgmt.registry.storable import unstorable_texts
from contract.model_spec import Cell, ColumnType
from contract.problems import Problem
from inference.formats.cells import parsed_number
from inference.formats.csv_reader import CsvText, DecimalMarks, read_csv
from inference.meaning.expected import MISSING_WORDS
from inference.names import Names

MAX_SAMPLE_BYTES = 50_000_000
MAX_SAMPLE_ROWS = 100_000
MOST_CATEGORIES = 30
RANGE_ROWS = 200
"""From so many values on, a range that was learnt is worth a warning beyond it."""
YES_NO = {"true": True, "false": False}


@dataclass(frozen=True)
class Learnt:
    """A sample CSV: its columns in its order, the row to show as an example, all rows; the target apart, as text."""

    columns: tuple[StatedColumn, ...]
    sample: dict[str, Cell]
    rows: tuple[dict[str, Cell], ...]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """What is known of the columns before the sample is read.

    `names`: as the model or its owner has them. `as_text`: columns that the model takes as text, None: all.
    `categories`: what the graph itself lists; such a cell is no gap, whatever it looks like.
    """

    names: tuple[str, ...] = ()
    as_text: frozenset[str] | None = frozenset()
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def is_text(self, name: str) -> bool:
        return self.as_text is None or name in self.as_text


@dataclass
class _Seen:
    """One column while rows are read. The narrowest type that all its cells fit wins."""

    name: str
    categories: frozenset[str]
    cells: list[str] = field(default_factory=list)
    gaps: int = 0

    def take(self, cell: str) -> None:
        if self.is_gap(cell):
            self.gaps += 1
        else:
            self.cells.append(cell)

    def is_gap(self, cell: str) -> bool:
        return cell.strip() in MISSING_WORDS and cell not in self.categories

    def column(self, *, comma_is_point: bool, is_text: bool) -> StatedColumn:
        """What was learnt. What is neither yes/no nor a number is text. Raises `DescriptionRefused`."""
        values, kind = _texts(self.cells) if is_text else _typed(self.cells, comma_is_point)
        nullable = True if self.gaps else None
        if kind is None or not values:
            return StatedColumn(self.name, nullable=nullable)
        if kind in {"float", "int"}:
            if comma_is_point:
                self._check_marks()
            numbers = [value for value in values if isinstance(value, int | float)]
            middle = median(numbers)
            baseline: Cell = (
                round(middle) if kind == "int" else float(f"{middle:.12g}")
            )  # 1.865, not 1.8650000000000002
            is_known = len(numbers) >= RANGE_ROWS
            low, high = min(numbers), max(numbers)
            return StatedColumn(self.name, kind, None, low, high, baseline, nullable, is_range_known=is_known)
        baseline = Counter(values).most_common(1)[0][0]
        return StatedColumn(self.name, kind, _categories(values, kind), baseline=baseline, nullable=nullable)

    def _check_marks(self) -> None:
        marks = DecimalMarks()
        for number, cell in enumerate(self.cells):
            marks.note(self.name, cell, number)
        for column, ((_first, one), (_second, other)) in marks.conflicts():
            words = {"name": column, "one": one, "other": other}
            message = _("The sample's column %(name)s has two decimal marks: %(one)s and %(other)s.")
            raise DescriptionRefused("sample", [message % words])


def learn_columns(content: bytes, *, target: str | None, known: Known | None = None) -> Learnt:
    """What a CSV with a header tells. `target` is left out. A column has the known name that it looks like.

    Raises `DescriptionRefused`.
    """
    known = known or Known()
    if len(content) > MAX_SAMPLE_BYTES:
        raise DescriptionRefused("sample", [_("The sample is too large. A few hundred rows are enough.")])
    header, rows, comma_is_point = _table(content, Names([*known.names, *([target] if target else ())]))
    kept = [index for index, name in enumerate(header) if name and name != target]
    targets = _targets([row[header.index(target)].strip() for row in rows], comma_is_point) if target in header else ()
    if not kept:
        raise DescriptionRefused("sample", [_("The sample has no column besides what is predicted.")])
    seen = [_Seen(header[index], known.categories.get(header[index], frozenset())) for index in kept]
    rows = [[row[index] for index in kept] for row in rows]
    for row in rows:
        for column, cell in zip(seen, row, strict=True):
            column.take(cell)
    columns = tuple(column.column(comma_is_point=comma_is_point, is_text=known.is_text(column.name)) for column in seen)
    values = tuple(_values(seen, columns, row, comma_is_point) for row in rows)
    return Learnt(columns, _example(seen, columns, rows, comma_is_point), values, targets)


def _targets(cells: list[str], comma_is_point: bool) -> tuple[str, ...]:
    """As text; numbers with a decimal point."""
    numbers = [cell.replace(",", ".") for cell in cells]
    are_numbers = all(cell in MISSING_WORDS or parsed_number(cell) is not None for cell in numbers)
    return tuple(numbers if comma_is_point and are_numbers else cells)


def _example(
    seen: list[_Seen], columns: tuple[StatedColumn, ...], rows: list[list[str]], comma_is_point: bool
) -> dict[str, Cell]:
    """The first row without a gap, else the first one."""

    def has_gap(row: list[str]) -> bool:
        return any(column.is_gap(cell) for column, cell in zip(seen, row, strict=True))

    row = next((row for row in rows if not has_gap(row)), rows[0])
    return _values(seen, columns, row, comma_is_point)


def _values(
    seen: list[_Seen], columns: tuple[StatedColumn, ...], row: list[str], comma_is_point: bool
) -> dict[str, Cell]:
    return {
        column.name: None if one.is_gap(cell) else _typed_cell(cell, column.type, comma_is_point)
        for one, column, cell in zip(seen, columns, row, strict=True)
    }


def _table(content: bytes, names: Names) -> tuple[list[str], list[list[str]], bool]:
    """Header and rows, and whether numbers may have a decimal comma. Raises `DescriptionRefused`."""
    try:
        text = read_csv(content, None, names)
        header = [names.find(name) or name.strip() for name in text.header]
        _check_header(header)
        rows = _rows(text, len(header))
        if b"\0" in content:  # which UTF-16 has in every line
            _check_storable([header, *rows])
        return header, rows, text.form.has_decimal_comma
    except Problem as problem:
        raise DescriptionRefused("sample", [_not_read(content, problem)]) from None


def _not_read(content: bytes, problem: Problem) -> str:
    """Why the sample is no CSV."""
    if not content.strip():
        return _("The sample is empty. It needs a header and at least one row.")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _("The sample is not UTF-8 text (byte %d). Save it as CSV UTF-8.") % error.start
    return _("The sample is not CSV: %s") % problem.detail


def _check_storable(lines: list[list[str]]) -> None:
    if unstorable := next(unstorable_texts(lines), None):
        raise DescriptionRefused("sample", [unstorable_sentence(unstorable)])


def _check_header(header: list[str]) -> None:
    if not any(header):
        raise DescriptionRefused("sample", [_("The sample is empty. It needs a header and at least one row.")])
    counts = Counter(header)
    # A first column without a name is the row number that data frames write; two are a fault.
    if twice := [name for name, count in counts.items() if count > 1]:
        raise DescriptionRefused("sample", [_("The sample's header has %s twice.") % (twice[0] or _("an empty name"))])


def _rows(text: CsvText, width: int) -> list[list[str]]:
    rows = []
    for cells in islice(text.rows(), MAX_SAMPLE_ROWS):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != width:
            words = {"line": text.line, "found": len(cells), "expected": width}
            raise DescriptionRefused(
                "sample", [_("Line %(line)d of the sample has %(found)d cells, the header %(expected)d.") % words]
            )
        rows.append(cells)
    if not rows:
        raise DescriptionRefused("sample", [_("The sample has no rows below its header.")])
    return rows


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
    if kind in {"int", "float"}:
        number = parsed_number(text.replace(",", ".") if comma_is_point else text)
        is_whole = isinstance(number, int) and abs(number) < LARGEST_WHOLE
        if number is None or not math.isfinite(number) or (kind == "int" and not is_whole):
            raise ValueError(cell)
        return number if kind == "int" else float(number)
    return cell


def _categories(values: list[Cell], kind: ColumnType) -> tuple[str, ...] | None:
    """Few different texts that come again are categories; names and free text are not."""
    distinct = {str(value) for value in values}
    if kind != "string" or len(distinct) > MOST_CATEGORIES or (len(distinct) == len(values) and len(values) > 3):
        return None
    return tuple(sorted(distinct))
