"""Counting: one worker's open ledgers, a cell for each API and day, and their way into the database.

A request takes its cell when it comes in and counts in it before its answer is sent. Everything else happens once a
second, beside the requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import structlog

from contract.fault_points import fault_point
from gateway.db.connection import Database
from gateway.db.statements.ledgers import DayCount, LedgerClosed, close_ledger, write_counts
from gateway.db.statements.workers import mark_gone
from gateway.usage.ledger_file import FIRST_COUNT_WORD, LedgerFile

COUNT_200: Final = 0
COUNT_4XX: Final = 1
COUNT_5XX: Final = 2

_log = structlog.get_logger("gateway.usage.ledger")
_WORDS_A_CELL = 8


class Cell:
    """Where the requests of one API on one day are counted: `counts[index + COUNT_...] += 1`."""

    __slots__ = ("counts", "index", "ledger")

    def __init__(self, ledger: LedgerFile, index: int) -> None:
        self.ledger = ledger
        self.counts = ledger.counts
        self.index = index


class LedgerSet:
    """All ledgers of one worker: one file a day, another when it is full. The last one takes new cells."""

    def __init__(
        self, directory: Path, worker_id: str, zone: ZoneInfo, *, now: Callable[[], float] = time.time
    ) -> None:
        """Make the first file. Raises OSError if that can't be done: a worker without a ledger can't answer."""
        self.directory = directory
        self.worker_id = worker_id
        self._zone = zone
        self._now = now
        self._cells: dict[str, Cell] = {}
        self._written: dict[str, np.ndarray] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files = [LedgerFile(directory, worker_id)]
        self._day, self._day_ends = self._today()
        self._writing = asyncio.Lock()

    @property
    def names(self) -> set[str]:
        return {file.name for file in self._files}

    @property
    def requests_in_flight(self) -> int:
        return sum(file.in_use for file in self._files)

    @property
    def counts_waiting(self) -> int:
        """Requests that are counted, but not in the database yet."""
        return sum(_total(file.words()) - _total(self._written.get(file.name)) for file in self._files)

    def cell(self, api_id: str) -> Cell | None:
        """The cell of today, or None when none can be had: then the request must not be answered."""
        if self._now() >= self._day_ends:
            self._turn_day()
        return self._cells.get(api_id) or self._new_cell(api_id)

    @contextmanager
    def loading(self, api_id: str, version_id: int) -> Iterator[None]:
        """Around what may crash this process: who adopts the ledger then knows which model it was."""
        file = self._files[-1] if self._files else None
        if file is not None:
            file.note_loading(api_id, version_id)
        try:
            yield
        finally:
            if file is not None and file in self._files:
                file.note_loading("", 0)

    def _new_cell(self, api_id: str) -> Cell | None:
        index = self._files[-1].add_cell(api_id, self._day)
        if index is None:
            if not self._add_file():
                return None
            index = self._files[-1].add_cell(api_id, self._day)
            if index is None:
                return None
        cell = self._cells[api_id] = Cell(self._files[-1], index)
        return cell

    def _today(self) -> tuple[date, float]:
        """The day in the installation's time zone, and when it ends."""
        day = datetime.fromtimestamp(self._now(), self._zone).date()
        tomorrow = datetime.combine(day + timedelta(days=1), datetime.min.time(), self._zone)
        return day, tomorrow.timestamp()

    def _turn_day(self) -> None:
        """A new file each day, so that cells don't pile up. If the disk refuses one, the old one takes the new day."""
        self._day, self._day_ends = self._today()
        self._cells.clear()
        if self._files[-1].used_cells:
            self._add_file()

    def rotate(self) -> None:
        """Requests from now on count in another file; the present one is closed once nobody counts in it."""
        if self._add_file():
            self._cells.clear()

    def _add_file(self) -> bool:
        try:
            self._files.append(LedgerFile(self.directory, self.worker_id))
        except OSError as error:
            _log.error("ledger_not_made", directory=str(self.directory), error=str(error))
            return False
        return True

    # --- into the database ---

    async def write_out(self, database: Database) -> None:
        """Bring the database up to date and close the ledgers that are done with.

        Raises `DatabaseAway`, `NoInterface`: then nothing is lost, the next call writes the same and more.
        """
        async with self._writing:
            for file in tuple(self._files):
                await self._write_out_file(database, file)
            for file in self._done_with():
                await self._close(database, file)

    async def leave(self, database: Database) -> None:
        """The worker's orderly end, in one transaction: last counts, ledgers closed, its row marked gone.

        Raises `DatabaseAway`, `NoInterface`; then `release` leaves the files to an adopter.
        """
        async with self._writing, database.transaction() as connection:
            for file in self._files:
                await close_ledger(connection, file.name, self.worker_id, file.day_counts())
            await mark_gone(connection, self.worker_id, "left")
            fault_point("leave.sent")
        fault_point("leave.committed")
        self._cells.clear()
        for file in self._files:
            file.remove()
        self._files.clear()

    def release(self) -> None:
        """Give up all locks, as dying would."""
        self._cells.clear()
        for file in self._files:
            file.release()
        self._files.clear()

    async def _write_out_file(self, database: Database, file: LedgerFile) -> None:
        changed, seen = self._changed(file)
        if not changed:
            return
        try:
            async with database.transaction() as connection:
                await write_counts(connection, file.name, self.worker_id, changed)
                fault_point("write-out.sent")
            fault_point("write-out.committed")
        except LedgerClosed:
            self._abandon(file)
        else:
            self._written[file.name] = seen

    def _changed(self, file: LedgerFile) -> tuple[list[DayCount], np.ndarray]:
        """The cells that changed since they were last written out, and a copy of all."""
        # A copy first: the counts go on rising while the transaction runs.
        seen = np.array(file.words(), dtype=np.uint64).reshape(-1, _WORDS_A_CELL)
        written = self._written.get(file.name)
        is_changed = np.ones(len(seen), dtype=bool)
        if written is not None:
            is_changed[: len(written)] = (seen[: len(written)] != written).any(axis=1)
        return [file.day_count(int(index)) for index in np.flatnonzero(is_changed)], seen

    def _done_with(self) -> list[LedgerFile]:
        """Files of past days in which no request in flight will count any more."""
        in_use = {cell.ledger.name for cell in self._cells.values()}
        return [file for file in self._files[:-1] if file.in_use == 0 and file.name not in in_use]

    async def _close(self, database: Database, file: LedgerFile) -> None:
        async with database.transaction() as connection:
            await close_ledger(connection, file.name, self.worker_id, file.day_counts())
        self._files.remove(file)
        self._written.pop(file.name, None)
        file.remove()

    def _abandon(self, file: LedgerFile) -> None:
        """The database says that our open ledger is closed: it was restored, or edited by hand.

        Writing there would be counted twice or never; so the file is kept aside for a person, and a new one begun.
        """
        _log.error("ledger_closed_by_others", ledger=file.name)
        if file is self._files[-1] and not self._add_file():
            return
        self._cells = {api_id: cell for api_id, cell in self._cells.items() if cell.ledger is not file}
        if file.in_use:
            return
        self._files.remove(file)
        self._written.pop(file.name, None)
        file.set_aside()


def _total(words: memoryview | np.ndarray | None) -> int:
    """The sum of all counts in the words of some cells."""
    if words is None:
        return 0
    cells = np.asarray(words, dtype=np.uint64).reshape(-1, _WORDS_A_CELL)
    return int(cells[:, FIRST_COUNT_WORD : FIRST_COUNT_WORD + 3].sum())
