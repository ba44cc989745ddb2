"""Which column each name in a request stands for: a JSON row's keys, a CSV's header, the names of tensors.

An exact name first, then the only column that looks like it. A name that looks like a column is never passed over as a
stranger's: where it can't be matched, the request is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from inference.formats.cells import Faults, shortened
from inference.names import Names
from inference.table import Layout


class ColumnNames:
    """The model's column names. `exact`: as the model has them."""

    def __init__(self, layout: Layout) -> None:
        self.names = Names(rule.name for rule in layout.rules)
        self.exact = self.names.exact
        self.find = self.names.find

    def has_strangers_only(self, extra: Iterable[str]) -> bool:
        """Whether none of the names, which are no exact ones, looks like a column."""
        return not any(map(self.names.alike, extra))

    def aliases(self, given: Collection[str], row: int, faults: Faults) -> dict[str, str]:
        """Column -> the given name that stands for it, of columns that are not named exactly.

        Two names for one column, and a name that looks like several, are faults of the row.
        """
        found: dict[str, str] = {}
        for name in given:
            if name in self.exact or not (alike := self.names.alike(name)):
                continue
            column = alike[0]
            if len(alike) > 1:
                wanted = " or ".join(map(_spelt, alike))
                faults.add(row, name, f"exactly {wanted}", f"a column called {_spelt(name)}, which looks like both")
            elif column in found or column in given:
                faults.add(
                    row, column, "the column once", f"two: {_spelt(found.get(column, column))} and {_spelt(name)}"
                )
            else:
                found[column] = name
        return found


def _spelt(name: str) -> str:
    """So that names which look the same can be told apart."""
    return json.dumps(shortened(name))
