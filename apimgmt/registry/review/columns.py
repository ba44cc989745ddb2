"""The columns of a model under review: what was found as editable cells, and the cells as values again."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from apimgmt.registry.drafts import Found
from apimgmt.registry.meaning import SampleRows
from apimgmt.registry.metadata import LARGEST_WHOLE, Metadata
from apimgmt.registry.review.fields import Field, field
from apimgmt.registry.spec_builder import CARRIED
from contract.model_spec import Cell, Column, ColumnType
from inference.inputs import port_of
from inference.names import Names

# Above this the table is shown and not editable: correct a metadata file instead.
MOST_EDITABLE_COLUMNS = 1000
MOST_NAMED = 10  # categories, in an error
YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass
class Row:
    """One column as it stands in the form. `column` and `sampled` are what was found."""

    key: str
    name: Field
    type: ColumnType
    types: tuple[ColumnType, ...]
    nullable: bool
    can_be_missing: bool
    baseline: Field
    categories: Field
    unit: Field
    sample: Field
    column: Column
    sampled: Cell
    source: str
    type_error: str = ""

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.name, self.baseline, self.categories, self.unit, self.sample

    @property
    def errors(self) -> list[str]:
        return [error for error in (self.type_error, *(one.error for one in self.fields)) if error]


def column_rows(found: Found) -> list[Row]:
    """A row for each column, in the model's order."""
    return [_row(found, f"column-{index}", column) for index, column in enumerate(found.spec.columns)]


def _row(found: Found, key: str, column: Column) -> Row:
    spec = found.spec
    kind = port_of(found.signature, spec.input, column.name).kind
    return Row(
        key=key,
        name=field(f"{key}-name", column.name),
        type=column.type,
        types=CARRIED[kind],
        nullable=column.nullable,
        can_be_missing=kind in {"float", "string"},
        baseline=field(f"{key}-baseline", cell_text(column.baseline)),
        categories=field(f"{key}-categories", _joined(column.categories or ()), is_fixed=column.is_closed),
        unit=field(f"{key}-unit", column.unit or ""),
        sample=field(f"{key}-sample", cell_text(spec.sample.get(column.name))),
        column=column,
        sampled=spec.sample.get(column.name),
        source=found.sources.get(f"column {column.name}", ""),
    )


def take_columns(rows: Sequence[Row], posted: Mapping[str, str], *, can_rename: bool) -> None:
    """Put what was posted into the cells."""
    for row in rows:
        if f"{row.key}-type" not in posted:
            continue  # a table too long to edit, or a form that was cut short: what was found stands
        for one in row.fields:
            if can_rename or one is not row.name:
                one.take(posted)
        chosen = posted[f"{row.key}-type"]
        row.type = next((kind for kind in row.types if kind == chosen), row.type)
        row.nullable = row.can_be_missing and f"{row.key}-nullable" in posted


def columns_document(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], dict[str, Cell]]:
    """Columns and sample row as a metadata file has them. Writes what is wrong beside its cell."""
    columns, sample = [], {}
    counts = Counter(row.name.text for row in rows)
    for row in rows:
        for one in row.fields:
            one.check_storable()
        row.name.check_name(_("The column needs a name."), is_twice=counts[row.name.text] > 1)
        sample[row.name.text] = _value(row, row.sample, row.sampled, may_be_empty=row.nullable)
        columns.append(_column(row, _value(row, row.baseline, row.column.baseline, may_be_empty=True)))
    return columns, sample


def owned_rows(rows: Sequence[Row], owned: SampleRows) -> SampleRows:
    """The owner's rows under the corrected names and types. Writes beside its type what a column's cells are not."""
    converted = tuple({row.column.name: _converted(row, cells) for row in rows} for cells in owned.rows)
    return SampleRows(converted, owned.targets).renamed({row.column.name: row.name.text for row in rows})


def _converted(row: Row, cells: Mapping[str, Cell]) -> Cell:
    cell = cells.get(row.column.name)
    if cell is None or row.type == row.column.type:
        return cell
    try:
        return parsed_cell(_number_text(cell), row.type)
    except ValueError:
        row.type_error = row.type_error or _("The sample has %s in this column.") % cell_text(cell)
        return None


def _number_text(cell: Cell) -> str:
    """5.0 as "5", and true as "1", so that it can be read as another type."""
    is_whole = isinstance(cell, bool) or (isinstance(cell, float) and cell.is_integer())
    return str(int(cell)) if is_whole and isinstance(cell, bool | float) else cell_text(cell)


def _column(row: Row, baseline: Cell) -> dict[str, Any]:
    column: dict[str, Any] = {"name": row.name.text, "type": row.type, "nullable": row.nullable}
    if baseline is not None:
        column["baseline"] = baseline
    if row.type == "string" and (categories := _categories(row)):
        column["categories"] = categories
    if row.type in {"float", "int"}:
        column |= {name: value for name in ("min", "max") if (value := getattr(row.column, name)) is not None}
    if row.unit.text:
        column["unit"] = row.unit.text
    return column


def _categories(row: Row) -> list[str]:
    known = row.column.categories or ()
    if row.categories.is_as_found:
        return list(known)
    names = Names(known)
    try:
        typed = [text for text in _split(row.categories.text) if text or "" in known]
    except csv.Error:  # Python reads no cell of more than 128 KB
        row.categories.error = _("A category is too long.")
        return []
    categories = [names.find(text) or text for text in typed]  # blanks of theirs are not seen
    if len(set(categories)) < len(categories):
        row.categories.error = _("A category is there twice.")
    return categories


def _value(row: Row, cell: Field, found: Cell, *, may_be_empty: bool) -> Cell:
    """One cell as a value of the row's type; an empty one is missing, or empty text. Notes an error beside the cell."""
    if cell.is_as_found and found is not None and row.type == row.column.type:
        return found
    if not cell.text and may_be_empty:
        return None
    own = row.column.categories or ()
    if row.type == "string" and row.column.is_closed:
        category = Names(own).find(cell.text)
        if category is None:
            cell.error = _("Expected one of %s.") % ", ".join(own[:MOST_NAMED])
        return category
    try:
        return parsed_cell(cell.text, row.type)
    except ValueError:
        expected = {"float": _("a number"), "int": _("a whole number"), "bool": _("true or false")}[row.type]
        cell.error = _("Expected %s.") % expected
        return None


def parsed_cell(text: str, kind: ColumnType) -> Cell:
    """Raises ValueError for text that is no value of this type."""
    if kind == "string":
        return text
    if kind == "bool":
        if text.lower() not in YES_NO:
            raise ValueError(text)
        return YES_NO[text.lower()]
    if "_" in text:
        raise ValueError(text)
    if kind == "int":
        number = int(text)
        if abs(number) >= LARGEST_WHOLE:
            raise ValueError(text)
        return number
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def cell_text(value: Cell) -> str:
    """A cell as a person types it."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(categories: tuple[str, ...]) -> str:
    """Parted by commas; quoted where one holds a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(categories)
    return line.getvalue()


def _split(line: str) -> list[str]:
    return [item.strip() for item in next(csv.reader([line.replace("\n", " ")], skipinitialspace=True), [])]


def with_learnt_ranges(metadata: Metadata, rows: Sequence[Row]) -> Metadata:
    """A range can't be edited here, so the owner has not stated what a few rows showed."""
    columns = zip(metadata.columns or (), rows, strict=True)
    return replace(
        metadata, columns=tuple(replace(one, is_range_known=row.column.is_range_known) for one, row in columns)
    )
