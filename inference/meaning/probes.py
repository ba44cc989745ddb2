"""Rows to try a model on before it is saved: the owner's own, and made-up ones within what is known of the columns.

The same description gives the same rows again, so that what was found can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from contract.model_spec import Cell, Column, ModelSpec

LEAST_ROWS: Final = 300
MOST_OWNED: Final = 200
_MOST_OF_A_KIND: Final = 200
_SEED: Final = 20260
_SCALES: Final = (1.0, 10.0, 100.0, 0.1)
_INT_LIMIT: Final = 2**31 - 1

Row = dict[str, Cell]


@dataclass(frozen=True)
class Probes:
    """`rows`: the first `n_owned` are the owner's."""

    rows: tuple[Row, ...]
    n_owned: int


def make_probes(spec: ModelSpec, sample_rows: Sequence[Row] = ()) -> Probes:
    """`sample_rows`: those of the sample CSV; of many, a spread of `MOST_OWNED` is taken."""
    step = max(1, len(sample_rows) // MOST_OWNED)
    owned = [spec.sample, *islice(sample_rows, 0, None, step)][: MOST_OWNED + 1]
    made = [*_one_at_a_time(spec)]
    n_random = max(LEAST_ROWS - len(owned) - len(made), LEAST_ROWS // 3)
    return Probes((*owned, *made, *islice(_mixtures(spec, owned), n_random)), len(owned))


def _one_at_a_time(spec: ModelSpec) -> Iterator[Row]:
    """The baselines; then each category, limit and gap beside them, a bounded number of each."""
    base: Row = {column.name: _baseline(column, spec) for column in spec.columns}
    yield base
    categories = ((c, text) for c in spec.columns for text in c.categories or ())
    yield from islice(({**base, c.name: _category(c, text)} for c, text in categories), _MOST_OF_A_KIND)
    limits = ((c, limit) for c in spec.columns for limit in (c.min, c.max) if limit is not None)
    yield from islice(({**base, c.name: _number(c, limit)} for c, limit in limits), _MOST_OF_A_KIND)
    yield from islice(({**base, c.name: None} for c in spec.columns if c.nullable), _MOST_OF_A_KIND)


def _baseline(column: Column, spec: ModelSpec) -> Cell:
    return column.baseline if column.baseline is not None else spec.sample.get(column.name)


def _mixtures(spec: ModelSpec, owned: Sequence[Row]) -> Iterator[Row]:
    """Without end. What is known of a column bounds it; of an unknown one, values around its baseline are tried."""
    random = np.random.default_rng(_SEED)
    known = {c.name: [row[c.name] for row in owned if row.get(c.name) is not None] for c in spec.columns}
    while True:
        scale = _SCALES[int(random.integers(len(_SCALES)))]
        yield {c.name: _random_cell(c, known[c.name], scale, random, spec) for c in spec.columns}


def _random_cell(column: Column, known: list[Cell], scale: float, random: np.random.Generator, spec: ModelSpec) -> Cell:
    if column.type == "bool":
        return bool(random.integers(2))
    if column.type == "string":
        texts: Sequence[Cell] = column.categories or known or [_baseline(column, spec) or ""]
        return texts[int(random.integers(len(texts)))]
    if column.categories:
        return _category(column, column.categories[int(random.integers(len(column.categories)))])
    if column.min is not None and column.max is not None:
        return _number(column, random.uniform(column.min, column.max))
    middle = _baseline(column, spec)
    center = float(middle) if isinstance(middle, int | float) else 0.0
    return _number(column, center + random.normal() * scale * max(1.0, abs(center)))


def _category(column: Column, text: str) -> Cell:
    """Those of a column of numbers are whole numbers, written as text."""
    return text if column.type == "string" else _number(column, int(text))


def _number(column: Column, value: float) -> Cell:
    """A float is exact in float32 as well, so that no rounding comes between a model and what it was made from."""
    if column.type == "int":
        return round(min(max(value, -_INT_LIMIT), _INT_LIMIT))
    return float(np.float32(value))
