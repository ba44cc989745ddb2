"""Names that are equal to the eye: of columns in a request, of categories in a cell.

The same text is spelt differently by different systems: composed or decomposed accents, full and half width, other
kinds of blank, marks that nobody sees. Case counts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

# Zero-width space, word joiner, byte order mark, soft hyphen. Joiners between letters and emoji do show: they stay.
_INVISIBLE: Final = dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0x00AD))
_REMEMBERED_CHARACTERS: Final = 200  # longer ones are a stranger's, and would fill the memory
_BLANK: Final = frozenset({"Zs", "Zl", "Zp"})


def fold(text: str) -> str:
    """The one spelling for all that look like it."""
    return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else _folded(text)


def _folded(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    shown = "".join(map(_plain_character, text.translate(_INVISIBLE)))
    return unicodedata.normalize("NFC", shown).strip(" ")


_remembered = lru_cache(maxsize=4096)(_folded)


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    """A blank of any kind is a space; full and half width become the usual width."""
    if unicodedata.category(character) in _BLANK or character in "\t\r\n\v\f":
        return " "
    kind, _, code = unicodedata.decomposition(character).partition(" ")
    return chr(int(code, 16)) if kind in {"<wide>", "<narrow>"} else character


class Names:
    """Finds the name that a text stands for: itself, else the only one that looks like it."""

    def __init__(self, names: Iterable[str]) -> None:
        self.exact = frozenset(names)
        self._by_look: dict[str, tuple[str, ...]] = {}
        for name in sorted(self.exact):
            look = fold(name)
            self._by_look[look] = (*self._by_look.get(look, ()), name)

    def find(self, text: str) -> str | None:
        """None for a stranger, and for a text that looks like two of the names and is neither."""
        if text in self.exact:
            return text
        alike = self.alike(text)
        return alike[0] if len(alike) == 1 else None

    def alike(self, text: str) -> tuple[str, ...]:
        """All names that look like the text."""
        return self._by_look.get(fold(text), ())
