"""What the caller of a prediction should hear of its rows although they were answered."""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

import msgspec

from contract.model_spec import Cell

WarningCode = Literal["unknown_category", "out_of_range", "inexact_number", "empty_rows_dropped"]

WARNINGS_LISTED: Final = 100


class RowWarning(msgspec.Struct, frozen=True):
    """One of them. `row` counts from 1; `column` is empty where a whole row is meant."""

    row: int
    column: str
    code: WarningCode
    expected: str
    value: Cell


class RowWarnings:
    """Lists the first hundred of a request, and counts all by column and code."""

    def __init__(self) -> None:
        self.listed: list[RowWarning] = []
        self.counts: Counter[tuple[str, WarningCode]] = Counter()

    def __bool__(self) -> bool:
        return bool(self.counts)

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def is_listing(self) -> bool:
        return len(self.listed) < WARNINGS_LISTED

    def add(self, row: int, column: str, code: WarningCode, expected: str, value: Cell) -> None:
        """`expected` matters only while it `is_listing`."""
        self.counts[column, code] += 1
        if self.is_listing:
            self.listed.append(RowWarning(row, column, code, expected, value))
