"""Decoders of one JSON row, compiled for the columns of a model: a struct with one field a column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from inference.table import ColumnRule


class QuickDecoders(msgspec.Struct, frozen=True):
    """For rows that need no second look: usual values under exact names, and no key but these and `strangers`."""

    row: Any
    rows: Any
    strangers: tuple[str, ...]

    @property
    def n_strangers(self) -> int:
        return len(self.strangers)

    @classmethod
    def made(cls, rules: list[ColumnRule], strangers: tuple[str, ...]) -> QuickDecoders | None:
        """None where msgspec can't spell one of the names (quotes, backslashes)."""
        made = row_type(rules, map(_usual_value, rules), forbids_others=True, strangers=strangers)
        if made is None:
            return None
        return cls(msgspec.json.Decoder(made), msgspec.json.Decoder(_rows_type(made)), strangers)


def row_type(
    rules: list[ColumnRule], kinds: Iterable[Any], *, forbids_others: bool, strangers: tuple[str, ...] = ()
) -> type[msgspec.Struct] | None:
    """A struct with one field per column, then the strangers; None where msgspec can't spell a name."""
    fields: list[Any] = []
    for index, (rule, kind) in enumerate(zip(rules, kinds, strict=True)):
        optional = (f"f{index}", kind | None | UnsetType, UNSET)
        fields.append(optional if rule.nullable else (f"f{index}", kind))
    fields += [(f"s{index}", msgspec.Raw | UnsetType, UNSET) for index in range(len(strangers))]
    names = {f"f{index}": rule.name for index, rule in enumerate(rules)}
    names |= {f"s{index}": name for index, name in enumerate(strangers)}
    try:
        # gc=False: rows hold only atoms, so the collector need not walk 100,000 of them
        return msgspec.defstruct(
            "Row", fields, rename=names, gc=False, kw_only=True, forbid_unknown_fields=forbids_others
        )
    except ValueError:
        return None


def _rows_type(row_type: type[msgspec.Struct]) -> Any:
    rows = Annotated[list[row_type], msgspec.Meta(min_length=1)]  # type: ignore[valid-type]  # made at run time
    inputs = ("inputs", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)  # another format's key: not to be overlooked
    return msgspec.defstruct("Body", [("rows", rows), inputs], gc=False)


def _usual_value(rule: ColumnRule) -> Any:
    """The type of what needs no second look."""
    categories = rule.check.categories if rule.check is not None else None
    if categories is not None and categories.numbers is None:
        return Literal[categories.values]
    if categories is not None and categories.numbers is not None:
        return Literal[tuple(map(int, categories.numbers))]
    return _within(rule, *rule.plain_range)


def any_value(rule: ColumnRule) -> Any:
    """The type of what the model can be asked for. Limits are checked here, so the arrays can never overflow."""
    return _within(rule, rule.low, rule.high)


def _within(rule: ColumnRule, low: float, high: float) -> Any:
    if rule.type == "float":
        return Annotated[float, msgspec.Meta(ge=low, le=high)]
    if rule.type == "int":
        return Annotated[int, msgspec.Meta(ge=math.ceil(low), le=math.floor(high))]
    return {"bool": bool, "string": str}[rule.type]
