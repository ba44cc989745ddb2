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

import structlog

from contract.fault_points import fault_point
from gateway.db.connection import Database, StatementRefused
from gateway.db.statements.ledgers import LedgerClosed
from gateway.db.statements.workers import mark_gone
from gateway.usage.ledger_file import LedgerFile
from gateway.usage.write_out import WriteOut

COUNT_200: Final = 0
COUNT_4XX: Final = 1
COUNT_5XX: Final = 2

_log = structlog.get_logger("gateway.usage.ledger")


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
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files: list[LedgerFile] = []
        self._write_outs: dict[str, WriteOut] = {}
        self._open_file()
        self.first_name = self._files[0].name
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
        return sum(write_out.counts_waiting for write_out in self._write_outs.values())

    def cell(self, api_id: str) -> Cell | None:
        """The cell of today, or None when none can be had: then the request must not be answered."""
        if self._now() >= self._day_ends:
            self._turn_day()
        return self._cells.get(api_id) or self._new_cell(api_id)

    @contextmanager
    def loading(self, api_id: str, version_id: int) -> Iterator[None]:
        """Around what may crash this process: who recovers the ledger then knows which model it was."""
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
        """The database was restored. It may lack what was written out, so all of it is written again; and requests
        from now on count in another file, while the present one is closed once nobody counts in it."""
        self.forget_written()
        if self._add_file():
            self._cells.clear()

    def forget_written(self) -> None:
        """The next write-out writes everything again."""
        for write_out in self._write_outs.values():
            write_out.forget()

    def _add_file(self) -> bool:
        try:
            self._open_file()
        except OSError as error:
            _log.error("ledger_not_made", directory=str(self.directory), error=str(error))
            return False
        return True

    def _open_file(self) -> None:
        file = LedgerFile(self.directory, self.worker_id)
        self._files.append(file)
        self._write_outs[file.name] = WriteOut(file, self.worker_id)

    # --- into the database ---

    async def write_out(self, database: Database) -> None:
        """Bring the database up to date and close the ledgers that are done with.

        Raises `DatabaseAway`, `NoInterface`: then nothing is lost, the next call writes the same and more. A ledger
        that is refused holds up no other: `StatementRefused` is raised at the end.
        """
        refusal: StatementRefused | None = None
        async with self._writing:
            for file in tuple(self._files):
                try:
                    await self._write_out_file(database, file)
                except StatementRefused as error:
                    refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def close(self, database: Database) -> None:
        """The worker's orderly end, in one transaction: last counts, ledgers closed, its row marked gone.

        Raises `DatabaseAway`, `NoInterface`; then `release` leaves the files to recovery. So does a ledger of which
        something is refused.
        """
        async with self._writing:
            async with database.transaction() as connection:
                refused = [file for file in self._files if await self._write_outs[file.name].close_within(connection)]
                await mark_gone(connection, self.worker_id, "left")
                fault_point("close.sent")
            fault_point("close.committed")
            self._cells.clear()
            for file in self._files:
                if file in refused:
                    _log.error("ledger_left_to_recovery", ledger=file.name)
                    file.release()
                else:
                    file.remove()
            self._forget_files()

    def release(self) -> None:
        """Give up all locks, as dying would."""
        self._cells.clear()
        for file in self._files:
            file.release()
        self._forget_files()

    async def _write_out_file(self, database: Database, file: LedgerFile) -> None:
        write_out = self._write_outs[file.name]
        try:
            await write_out.run(database)
        except LedgerClosed:
            self._abandon(file)
            return
        if self._is_done_with(file):
            await write_out.close(database)
            self._forget_file(file)
            file.remove()

    def _is_done_with(self, file: LedgerFile) -> bool:
        """Whether it is of a past day, and no request in flight will count in it any more."""
        in_use = {cell.ledger.name for cell in self._cells.values()}
        return file is not self._files[-1] and file.in_use == 0 and file.name not in in_use

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
        self._forget_file(file)
        file.set_aside()

    def _forget_file(self, file: LedgerFile) -> None:
        self._files.remove(file)
        del self._write_outs[file.name]

    def _forget_files(self) -> None:
        self._files.clear()
        self._write_outs.clear()
