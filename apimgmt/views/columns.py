"""A model's input columns as pages list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apimgmt.views.labels import TYPE_WORDS
from contract.model_spec import Column, ModelSpec


@dataclass(frozen=True)
class ColumnRow:
    """One input column with its type in words."""

    column: Column
    type: str
    sample: Any


def column_rows(spec: ModelSpec) -> list[ColumnRow]:
    """One row a column, with its value in the sample row."""
    return [ColumnRow(column, str(TYPE_WORDS[column.type]), spec.sample.get(column.name)) for column in spec.columns]
