"""One open ledger's way into the database: what it has already, what it refuses, and the rest."""

from __future__ import annotations

import numpy as np

from contract.fault_points import fault_point
from gateway.db.connection import Connection, Database, StatementRefused
from gateway.db.refusals import Refusals
from gateway.db.statements.ledgers import CellCount, RefusedCount, close_ledger, write_counts
from gateway.usage.ledger_file import LedgerFile
from gateway.usage.ledger_format.v1 import FIRST_COUNT_WORD, WORDS_A_CELL

_WHOLE_FILE = -1


class WriteOut:
    """Writes absolute counts of the cells that changed, so that writing twice or late changes nothing.

    A cell that the database refuses is left out and tried again later; the others are written meanwhile.
    """

    def __init__(self, file: LedgerFile, worker_id: str) -> None:
        self.file = file
        self._worker_id = worker_id
        self._written: np.ndarray | None = None
        self._refusals: Refusals[int] = Refusals()

    @property
    def counts_waiting(self) -> int:
        """Requests that are counted, but not in the database yet."""
        return _total(self._words()) - (0 if self._written is None else _total(self._written))

    async def run(self, database: Database) -> None:
        """Bring the database up to date. The first time it also learns whose ledger this is.

        Raises `LedgerClosed`, `DatabaseAway`, `NoInterface`; `StatementRefused` when everything but what is refused
        was written.
        """
        if self._refusals.is_due(_WHOLE_FILE):
            await self._write_changed(database)
        self._refusals.raise_first()

    async def close(self, database: Database) -> None:
        """Write out for the last time, and close the ledger in the database; the file can be removed then.

        Raises `DatabaseAway`, `NoInterface`; `StatementRefused` when it stays open.
        """
        async with database.transaction() as connection:
            refused = await self.close_within(connection)
        if refused:
            raise StatementRefused(refused[0].reason)

    async def close_within(self, connection: Connection) -> list[RefusedCount]:
        """`close` as part of a larger transaction. Returns what was refused: then the ledger stays open."""
        return await close_ledger(connection, self.file.name, self._worker_id, self.file.cell_counts())

    def forget(self) -> None:
        """Whatever was written may be lost: the next time all of it is written again."""
        self._written = None

    async def _write_changed(self, database: Database) -> None:
        # A copy first: the counts go on rising while the transaction runs.
        seen = self._words()
        before = np.zeros_like(seen)
        if self._written is not None:
            before[: len(self._written)] = self._written
        changed = [int(index) for index in np.flatnonzero((seen != before).any(axis=1))]
        tried = {index: self.file.cell_count(index) for index in changed if self._refusals.is_due(index)}
        if not tried and self._written is not None:
            return
        try:
            refused = await self._send(database, list(tried.values()))
        except StatementRefused as error:
            self._refusals.add(_WHOLE_FILE, str(error))
            return
        self._note(tried, refused)
        held_back = [index for index in changed if index in self._refusals]
        seen[held_back] = before[held_back]
        self._written = seen

    async def _send(self, database: Database, counts: list[CellCount]) -> list[RefusedCount]:
        async with database.transaction() as connection:
            refused = await write_counts(connection, self.file.name, self._worker_id, counts)
            fault_point("write-out.sent")
        fault_point("write-out.committed")
        return refused

    def _note(self, tried: dict[int, CellCount], refused: list[RefusedCount]) -> None:
        reasons = {refusal.count: refusal.reason for refusal in refused}
        self._refusals.discard(_WHOLE_FILE)
        for index, count in tried.items():
            if count in reasons:
                self._refusals.add(index, reasons[count])
            else:
                self._refusals.discard(index)

    def _words(self) -> np.ndarray:
        """A copy of all cells' words, a line each."""
        return np.array(self.file.words(), dtype=np.uint64).reshape(-1, WORDS_A_CELL)


def _total(cells: np.ndarray) -> int:
    return int(cells[:, FIRST_COUNT_WORD : FIRST_COUNT_WORD + 3].sum())
