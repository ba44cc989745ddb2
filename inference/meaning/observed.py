"""One output of a graph as it really came on the rows that were tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inference.table import Array

Kind = Literal["float", "int", "bool", "string", "maps", "other"]

_KINDS: dict[str, Kind] = {"f": "float", "i": "int", "u": "int", "b": "bool", "O": "string", "U": "string"}
LABEL_KINDS: frozenset[Kind] = frozenset({"int", "bool", "string"})


@dataclass(frozen=True)
class Observed:
    """`values`: `(n_rows, width)`, one line a row; no columns where what came is not one line a row.

    Of ZipMap's maps (`kind` "maps") the columns are its keys, in the order of `keys`.
    """

    name: str
    kind: Kind
    values: Array
    keys: tuple[bool | int | str, ...] = ()

    @property
    def width(self) -> int:
        return int(self.values.shape[1])

    @property
    def is_one_a_row(self) -> bool:
        return self.width == 1

    @property
    def column(self) -> Array:
        """The one column: `(n_rows,)`."""
        return self.values[:, 0]


def observe(name: str, raw: Any, n_rows: int) -> Observed:
    """What an engine gave for `n_rows` rows: an array, or a list of maps."""
    if isinstance(raw, list) and raw and isinstance(raw[0], dict):
        return _observe_maps(name, raw, n_rows)
    values = np.asarray(raw)
    kind = _KINDS.get(values.dtype.kind, "other")
    if values.ndim == 0 or values.shape[0] != n_rows or kind == "other" or values.ndim > 2:
        return Observed(name, "other", np.empty((n_rows, 0)))
    return Observed(name, kind, values.reshape(n_rows, -1))


def _observe_maps(name: str, maps: Sequence[dict[Any, float]], n_rows: int) -> Observed:
    keys = tuple(maps[0])
    if len(maps) != n_rows or any(one.keys() != maps[0].keys() for one in maps):
        return Observed(name, "other", np.empty((n_rows, 0)))
    values = np.array([[one[key] for key in keys] for one in maps], np.float32)
    return Observed(name, "maps", values, keys)


def labels_of(observed: Observed) -> list[bool | int | str]:
    """One label a row, as Python has it."""
    values: list[Any] = observed.column.tolist()
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
