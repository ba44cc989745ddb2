"""The charset that a request names for its CSV."""

from __future__ import annotations

from contract.charsets import BY_NAME, CHARSETS
from contract.problems import Problem


def csv_charset(name: str | None) -> str | None:
    """The charset a CSV is said to be in; None where it is to be recognised. Raises `Problem`."""
    if name is None:
        return None
    charset = BY_NAME.get(name)
    if charset is None:
        known = ", ".join(CHARSETS)
        raise Problem("unsupported_media_type", f"The charset {name[:80]} is not supported; supported are {known}.")
    return charset
