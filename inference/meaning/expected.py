"""What the target of a labelled sample says, in the words of the description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from contract.model_spec import is_plain_integer
from inference.names import Names
from inference.table import Array

MISSING_WORDS: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "#N/A"})
"""How tables write that a value is missing, unless it is a category or class that is called so."""


class ExpectedClasses:
    """Reads the cells of a target as the names of classes."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = Names(names)
        self._numbers = {int(name): name for name in self._names.exact if is_plain_integer(name)}

    def read(self, text: str) -> str | None:
        """The class of this name, or of this number ("1.0" is 1); another text as it is; None for a gap."""
        name = self._names.find(text)
        if name is not None:
            return name
        return None if text in MISSING_WORDS else self._numbered(text)

    def _numbered(self, text: str) -> str:
        try:
            number = float(text)
        except ValueError:
            return text
        return self._numbers.get(int(number), text) if number.is_integer() else text


def expected_numbers(texts: Iterable[str]) -> Array | None:
    """The target of a regression, NaN for a gap; None where it is no number, or nowhere there."""
    try:
        numbers = np.array([np.nan if text in MISSING_WORDS else float(text) for text in texts])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers
