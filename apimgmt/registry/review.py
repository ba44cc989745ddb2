"""The second step's form: what was found as editable cells, and the corrected cells as metadata again."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext as _

from apimgmt.registry.drafts import Found
from apimgmt.registry.metadata import DescriptionRefused, Metadata, metadata_from
from apimgmt.registry.spec_builder import CARRIED
from contract.model_spec import Cell, Column, ColumnType
from inference.inputs import port_of
from inference.names import Names

# Above this the table is shown and not editable: correct a metadata file instead.
MOST_EDITABLE_COLUMNS = 1000
YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass
class Row:
    """One column as it stands in the form. Cells are text; `errors` are by cell."""

    key: str
    name: str
    type: ColumnType
    types: tuple[ColumnType, ...]
    nullable: bool
    can_be_missing: bool
    baseline: str
    categories: str
    unit: str
    sample: str
    column: Column
    source: str
    errors: dict[str, str] = field(default_factory=dict)


@dataclass
class Correction:
    """The whole form. `classes` is one label a line."""

    rows: list[Row]
    target: str
    classes: str
    can_rename_columns: bool
    can_rename_classes: bool
    errors: dict[str, str] = field(default_factory=dict)


def correction_of(found: Found, posted: Mapping[str, str] | None = None) -> Correction:
    """The form, filled with what was found or with what was posted."""
    spec, signature = found.spec, found.signature
    rows = [_row(found, f"column-{index}", column) for index, column in enumerate(spec.columns)]
    correction = Correction(
        rows=rows,
        target=spec.target,
        classes="\n".join(spec.classes),
        can_rename_columns=spec.input == "matrix",
        can_rename_classes=signature.labels is None or signature.has_integer_labels,
    )
    if posted is not None:
        _take(correction, posted)
    return correction


def _row(found: Found, key: str, column: Column) -> Row:
    spec = found.spec
    kind = port_of(found.signature, spec.input, column.name).kind
    return Row(
        key=key,
        name=column.name,
        type=column.type,
        types=CARRIED[kind],
        nullable=column.nullable,
        can_be_missing=kind in {"float", "string"},
        baseline=cell_text(column.baseline),
        categories=_joined(column.categories or ()),
        unit=column.unit or "",
        sample=cell_text(spec.sample.get(column.name)),
        column=column,
        source=found.sources.get(f"column {column.name}", ""),
    )


def _take(correction: Correction, posted: Mapping[str, str]) -> None:
    correction.target = " ".join(posted.get("target", "").split())
    if correction.can_rename_classes:
        correction.classes = posted.get("classes", correction.classes)
    for row in correction.rows:
        if f"{row.key}-type" not in posted:
            continue  # a table too long to edit, or a form that was cut short: what was found stands
        if correction.can_rename_columns:
            row.name = " ".join(posted.get(f"{row.key}-name", "").split())
        chosen = posted[f"{row.key}-type"]
        row.type = next((kind for kind in row.types if kind == chosen), row.type)
        row.nullable = row.can_be_missing and f"{row.key}-nullable" in posted
        row.baseline = posted.get(f"{row.key}-baseline", "").strip()
        row.categories = posted.get(f"{row.key}-categories", "").strip()
        row.unit = posted.get(f"{row.key}-unit", "").strip()
        row.sample = posted.get(f"{row.key}-sample", "").strip()


def metadata_of(correction: Correction, found: Found) -> Metadata | None:
    """The corrected form as metadata; None after writing what is wrong beside its cells."""
    columns, sample = [], {}
    for row in correction.rows:
        _check_name(correction, row)
        baseline = _parsed(row, "baseline", row.baseline, nullable=False)
        sample[row.name] = _parsed(row, "sample", row.sample, nullable=row.nullable)
        columns.append(_column(row, baseline))
    if not correction.target:
        correction.errors["target"] = _("Name what is predicted.")
    if correction.errors or any(row.errors for row in correction.rows):
        return None
    spec = found.spec
    document: dict[str, Any] = {
        "task": spec.task,
        "target": correction.target,
        "columns": columns,
        "input": spec.input,
        "sample": sample,
        "description": spec.description,
    }
    if spec.classes:
        document["classes"] = [line.strip() for line in correction.classes.splitlines() if line.strip()]
    if spec.score is not None:
        document["score"] = {"name": spec.score.name, "value": spec.score.value}
        if spec.score.rows is not None:
            document["score"]["rows"] = spec.score.rows
    try:
        return _with_learnt_ranges(metadata_from(document), correction)
    except DescriptionRefused as error:
        for fault in error.faults:
            correction.errors["classes" if fault.startswith("classes") else "columns"] = fault
        return None


def _with_learnt_ranges(metadata: Metadata, correction: Correction) -> Metadata:
    """A range can't be edited here, so the owner has not stated what a few rows showed."""
    columns = zip(metadata.columns or (), correction.rows, strict=True)
    return replace(
        metadata, columns=tuple(replace(one, is_range_known=row.column.is_range_known) for one, row in columns)
    )


def _check_name(correction: Correction, row: Row) -> None:
    if not row.name:
        row.errors["name"] = _("The column needs a name.")
    elif sum(other.name == row.name for other in correction.rows) > 1:
        row.errors["name"] = _("This name is there twice.")


def _column(row: Row, baseline: Cell) -> dict[str, Any]:
    column: dict[str, Any] = {"name": row.name, "type": row.type, "nullable": row.nullable}
    if baseline is not None:
        column["baseline"] = baseline
    if row.type == "string" and row.categories:
        known = Names(row.column.categories or ())
        categories = [known.find(text) or text for text in _split(row.categories)]  # blanks of theirs are not seen here
        if len(set(categories)) < len(categories):
            row.errors["categories"] = _("A category is there twice.")
        column["categories"] = categories
    if row.type in {"float", "int"}:
        column |= {name: value for name in ("min", "max") if (value := getattr(row.column, name)) is not None}
    if row.unit:
        column["unit"] = row.unit
    return column


def _parsed(row: Row, cell: str, text: str, *, nullable: bool) -> Cell:
    """One cell as a value of the row's type; an empty one is missing, or empty text. Notes an error beside the cell."""
    if not text and (nullable or cell == "baseline"):
        return None
    try:
        return parsed_cell(text, row.type)
    except ValueError:
        expected = {"float": _("a number"), "int": _("a whole number"), "bool": _("true or false")}[row.type]
        row.errors[cell] = _("Expected %s.") % expected
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
        return int(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def cell_text(value: Cell) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _joined(categories: tuple[str, ...]) -> str:
    """Parted by commas; quoted where one holds a comma."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(categories)
    return line.getvalue()


def _split(line: str) -> list[str]:
    return [
        item.strip() for item in next(csv.reader([line.replace("\n", " ")], skipinitialspace=True), []) if item.strip()
    ]
