"""What a ledger file says, whatever its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.db.statements.ledgers import CellCount

MAGIC: Final = b"PAKLEDGR"
"""What a ledger file of any version begins with."""


@dataclass(frozen=True)
class LedgerContents:
    """Its owner, and the absolute counts of its cells.

    `suspects`: whose model was being computed or loaded at the end, as (API, version); no version: the one that the
    API served then.
    """

    worker_id: str
    counts: tuple[CellCount, ...]
    suspects: tuple[tuple[str, int | None], ...]


class Damaged(Exception):
    """A ledger file can't be read in full. `counts` are the cells that can; `worker_id` is known if the header is."""

    def __init__(self, reason: str, counts: tuple[CellCount, ...] = (), worker_id: str | None = None) -> None:
        super().__init__(reason)
        self.counts = counts
        self.worker_id = worker_id
