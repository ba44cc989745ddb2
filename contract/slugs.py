"""A model's name as paths may have it: small letters, digits and hyphens."""

from __future__ import annotations

import re
import unicodedata


def slug(name: str) -> str:
    """`Penguin species` -> `penguin-species`; "" where nothing of the name is left, as of a Japanese one."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"['`]", "", plain)).strip("-")[:100]
