"""The model's columns in words, for the specifications page and other descriptions of an API."""

from __future__ import annotations

import msgspec

from contract.model_spec import TYPE_WORDS, Cell, ColumnType, ModelSpec


class ColumnNote(msgspec.Struct, frozen=True):
    """One column. `values` tells what the training data held: a range or categories. Others are mostly accepted too."""

    name: str
    type: ColumnType
    expected: str
    is_required: bool
    values: str
    unit: str
    example: Cell


def describe_columns(spec: ModelSpec) -> list[ColumnNote]:
    """In the model's order. A column that isn't required may be left out, null, or an empty CSV cell."""
    return [
        ColumnNote(
            name=column.name,
            type=column.type,
            expected=TYPE_WORDS[column.type],
            is_required=not column.nullable,
            values=", ".join(column.categories) if column.categories else _range(column.min, column.max),
            unit=column.unit or "",
            example=spec.sample.get(column.name),
        )
        for column in spec.columns
    ]


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"from {low:g}"
    return f"up to {high:g}" if high is not None else ""
