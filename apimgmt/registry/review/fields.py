"""Text in fields of one line: what the file says comes back as it is, unless something else was typed."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.translation import gettext as _

from apimgmt.registry.metadata import unstorable_sentence
from apimgmt.registry.storable import is_storable

_LINES_AND_CONTROLS: Final = frozenset({"Cc", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"  # between letters of some scripts, and in emoji


@dataclass
class Field:
    """`found`: its text before the form. `is_fixed`: it is the graph's own, which nobody can change."""

    key: str
    found: str
    text: str
    error: str = ""
    is_fixed: bool = False

    @property
    def is_editable(self) -> bool:
        """If not, it is shown as text, and nothing that is posted for it counts."""
        return not self.is_fixed and fits_in_field(self.found)

    @property
    def is_as_found(self) -> bool:
        return self.text == self.found

    def take(self, posted: Mapping[str, str]) -> None:
        """Put in what was posted. Blanks around it are only part of a text that was found with them."""
        typed = posted.get(self.key)
        if typed is not None and self.is_editable:
            self.text = typed if typed == self.found else typed.strip()

    def check_storable(self) -> None:
        """Write what is wrong with a text that can't be stored."""
        if not is_storable(self.text):
            self.error = unstorable_sentence(self.text)

    def check_name(self, missing: str, *, is_twice: bool) -> None:
        """Write what is wrong with a name. `missing`: the sentence for none."""
        if not self.text:
            self.error = missing
        elif is_twice:
            self.error = _("This name is there twice.")
        elif not is_storable(self.text):
            self.error = unstorable_sentence(self.text)
        elif not self.is_as_found and has_unseen(self.text):
            self.error = _("The name has characters that can't be printed.")


def field(key: str, found: str, *, is_fixed: bool = False) -> Field:
    """As it stands before the form."""
    return Field(key, found, found, is_fixed=is_fixed)


def fits_in_field(text: str) -> bool:
    """Whether a browser sends it back as it is: it takes line breaks out, and nobody sees a control character."""
    return not any(unicodedata.category(character) in _LINES_AND_CONTROLS for character in text)


def has_unseen(text: str) -> bool:
    """Whether it has characters that nobody sees, but for blanks of every kind and joiners."""
    return not all(one.isprintable() or one in _JOINERS or unicodedata.category(one) == "Zs" for one in text)
