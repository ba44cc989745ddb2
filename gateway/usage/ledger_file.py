"""The file in which one gateway worker counts: its cells and its lock. `ledger_format.v1` has the layout.

The pages belong to the kernel, so what was counted outlives a killed process. The lock tells whether the owner lives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
from datetime import date
from pathlib import Path
from typing import Final

from contract.fault_points import fault_point
from gateway.db.statements.ledgers import CellCount
from gateway.usage.ledger_format import v1

SUFFIX: Final = ".ledger"
DRAFT_SUFFIX: Final = ".draft"
QUARANTINE_SUFFIX: Final = ".quarantine"

FILE_BYTES: Final = v1.FILE_BYTES
IN_CALL: Final = v1.IN_CALL  # index in `LedgerFile.counts`


class LedgerFile:
    """The owner's side: a mapped, locked file with free cells.

    `counts` are its 64-bit words; a caller adds to `counts[cell + 0..2]` (200, 4xx, 5xx), one aligned store each.
    `in_use` is the number of requests that will still count here; the file is not closed before they have.
    """

    __slots__ = ("_fd", "_map", "counts", "in_use", "name", "path", "used_cells", "worker_id")

    def __init__(self, directory: Path, worker_id: str) -> None:
        """Make a new file. Raises OSError when the disk is full or the folder can't be written."""
        self.name = secrets.token_hex(16)
        self.worker_id = worker_id
        self.path = directory / (self.name + SUFFIX)
        self.used_cells = 0
        self.in_use = 0
        draft = directory / (self.name + DRAFT_SUFFIX)
        # O_CLOEXEC (Python's default, said aloud): a child that inherited the lock would keep the file "alive".
        self._fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _allocate(self._fd)
            os.pwrite(self._fd, v1.header(self.name, worker_id), 0)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._map = mmap.mmap(self._fd, FILE_BYTES)
            fault_point("file.drafted")
            draft.rename(self.path)
            fault_point("file.named")
        except BaseException:
            os.close(self._fd)
            draft.unlink(missing_ok=True)
            raise
        self.counts = memoryview(self._map).cast("Q")

    def add_cell(self, api_id: str, day: date) -> int | None:
        """The index in `counts` of a new cell's first count, or None when the file is full.

        The label is complete before the first count: the day, written last, is what makes the cell exist.
        """
        label = api_id.encode()
        if self.used_cells >= v1.CELLS or not v1.API_ID.fullmatch(label):
            return None
        offset = v1.HEADER_BYTES + self.used_cells * v1.CELL_BYTES
        self._map[offset : offset + 16] = label
        fault_point("cell.labelled")
        self.counts[offset // 8 + v1.DAY_WORD] = day.toordinal()
        self.used_cells += 1
        return offset // 8 + v1.FIRST_COUNT_WORD

    def note_loading(self, api_id: str, version_id: int) -> None:
        """What is being loaded in this process; nothing with version 0."""
        self._map[v1.LOADING : v1.LOADING + 16] = api_id.encode().ljust(16)[:16]
        self.counts[(v1.LOADING + 16) // 8] = version_id

    def words(self) -> memoryview:
        """All 64-bit words of the used cells, `v1.WORDS_A_CELL` a cell."""
        start = v1.HEADER_BYTES // 8
        return self.counts[start : start + self.used_cells * v1.WORDS_A_CELL]

    def cell_counts(self) -> list[CellCount]:
        """Absolute counts of all used cells."""
        return [self.cell_count(index) for index in range(self.used_cells)]

    def cell_count(self, index: int) -> CellCount:
        """Absolute counts of one cell, by its number."""
        return v1.cell_count(self._map, index)

    def remove(self) -> None:
        """Delete the file; only after the database has closed the ledger. The lock goes last."""
        self.path.unlink(missing_ok=True)
        self.release()

    def set_aside(self) -> None:
        """Move the file where recovery does not look and a person can."""
        self.path.rename(self.path.with_suffix(QUARANTINE_SUFFIX))
        self.release()

    def release(self) -> None:
        """Give up the file and its lock, as dying would: another worker recovers it."""
        self.counts.release()
        self._map.close()
        os.close(self._fd)


def _allocate(fd: int) -> None:
    """Never sparse: a store into a hole on a full disk is SIGBUS, the end of the worker. Raises OSError."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, FILE_BYTES)
        return
    written = 0  # macOS
    while written < FILE_BYTES:
        written += os.pwrite(fd, bytes(FILE_BYTES - written), written)
    os.fsync(fd)  # a system that finds room only when it writes out finds it now
