"""What a value should be beside its type: one of its column's categories, in its range, not too large to be exact.

Decided once for each column when a model is loaded. What is none of this is passed on with a warning, but for what is
not in a graph's own closed list: that the model can't compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from contract.model_spec import Column
from inference.names import Names

EXACT_DOUBLE: Final = 2**53
"""Up to here a whole number survives a 64-bit float, and so every reader of JSON and CSV."""


@dataclass(frozen=True, slots=True)
class Categories:
    """`numbers`: the same as numbers, of a column of numbers."""

    values: tuple[str, ...]
    is_closed: bool
    names: Names
    numbers: frozenset[float] | None

    @property
    def as_sent(self) -> frozenset[str] | frozenset[float]:
        """What needs no second look."""
        return self.names.exact if self.numbers is None else self.numbers

    def find(self, value: str | float) -> str | float | None:
        """As the model knows it: itself, or for a text the only category that looks like it. None: unknown."""
        if isinstance(value, str):
            return self.names.find(value)
        return value if self.numbers is not None and value in self.numbers else None


@dataclass(frozen=True, slots=True)
class ValueCheck:
    """Of one column. Numbers from `low` to `high` need no closer look, unless there are categories."""

    categories: Categories | None
    minimum: float | None
    maximum: float | None
    largest_exact: int | None
    low: float
    high: float

    def is_inexact(self, value: float) -> bool:
        """Whether it is a whole number that may have become another one on its way into the model."""
        largest = self.largest_exact
        if largest is None:
            return False
        if isinstance(value, float) and largest == EXACT_DOUBLE:
            return abs(value) >= largest  # it may have been rounded to it already
        return abs(value) > largest and float(value).is_integer()

    def is_out_of_range(self, value: float) -> bool:
        return (self.minimum is not None and value < self.minimum) or (
            self.maximum is not None and value > self.maximum
        )


def value_check(column: Column, dtype: np.dtype[Any]) -> ValueCheck | None:
    """None where nothing but the type matters."""
    if column.type == "bool":
        return None
    categories = _categories(column)
    is_number = column.type != "string"
    largest_exact = _largest_exact(dtype) if is_number else None
    has_range = is_number and column.is_range_known
    minimum, maximum = (column.min, column.max) if has_range else (None, None)
    if categories is None and largest_exact is None and minimum is None and maximum is None:
        return None
    beyond = np.inf if largest_exact is None else largest_exact - (largest_exact == EXACT_DOUBLE)
    return ValueCheck(
        categories,
        minimum,
        maximum,
        largest_exact,
        low=max(-beyond, -np.inf if minimum is None else minimum),
        high=min(beyond, np.inf if maximum is None else maximum),
    )


def _largest_exact(dtype: np.dtype[Any]) -> int | None:
    return 2 ** (int(np.finfo(dtype).nmant) + 1) if dtype.kind == "f" else None


def _categories(column: Column) -> Categories | None:
    if not column.categories:
        return None
    numbers = None
    if column.type != "string":
        try:
            numbers = frozenset(float(text) for text in column.categories)
        except ValueError:
            return None  # an owner's note on a column of numbers, as it could be stored once
    return Categories(column.categories, column.is_closed, Names(column.categories), numbers)
