"""How a ledger file is laid out, a module for each version that some release has written.

A new version gets a module of its own and a line in `READERS`; those before it stay, because an update finds what
workers of the release before left behind. All begin with the same twelve bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from gateway.usage.ledger_format import v1
from gateway.usage.ledger_format.contents import MAGIC, Damaged, LedgerContents

_BEGINNING = struct.Struct("<8sI")  # magic, version

READERS: Final[dict[int, Callable[[bytes, str], LedgerContents]]] = {v1.VERSION: v1.read}


def read(data: bytes, name: str) -> LedgerContents:
    """What the file of this name holds, whichever version it has. Raises `Damaged`."""
    if len(data) < _BEGINNING.size:
        raise Damaged(f"it ends inside its header, after {len(data)} bytes")
    magic, version = _BEGINNING.unpack_from(data)
    if magic != MAGIC:
        raise Damaged("it does not begin like a ledger")
    reader = READERS.get(version)
    if reader is None:
        known = ", ".join(map(str, READERS))
        raise Damaged(f"it has format {version}; this release reads format {known}")
    return reader(data, name)
