"""Text that can be stored: JSON and a graph can spell characters that PostgreSQL and UTF-8 have no place for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether it has no NUL, which PostgreSQL's text can't have, and no half of a surrogate pair, which UTF-8 can't."""
    return _UNSTORABLE.search(text) is None


def unstorable_texts(document: object) -> Iterator[str]:
    """Every such text in parsed JSON, keys included, however deep it lies."""
    left = [document]
    while left:
        item = left.pop()
        if isinstance(item, str):
            if not is_storable(item):
                yield item
        elif isinstance(item, dict):
            left += [*item.values(), *item]
        elif isinstance(item, list | tuple):
            left += item


def escaped(text: str, most: int = 60) -> str:
    """It as JSON spells it, so that it can be shown: such characters as their codes. Shortened."""
    shown = _UNSTORABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
