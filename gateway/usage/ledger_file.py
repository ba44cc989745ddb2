"""The file in which one gateway worker counts: its layout, its lock, and how a stranger reads it.

Layout, little-endian: a page of header, then cells of 64 bytes. In the header, behind its fixed fields:

    128  which cell's API is being computed on the event loop, as the index of its first count (0: none)
    136  api_id (16 characters) and version of the model that is being loaded (0: none)

A cell is one API on one day:

    0  api_id, 16 ASCII characters     16  day (proleptic ordinal; 0: cell unused)
    24 count of 200   32 count of 4xx   40 count of 5xx   48 reserved, 16 bytes of zero

The pages belong to the kernel, so what was counted outlives a killed process. The lock tells whether the owner lives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import secrets
import struct
import zlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from contract.fault_points import fault_point
from gateway.db.statements.ledgers import DayCount

SUFFIX: Final = ".ledger"
DRAFT_SUFFIX: Final = ".draft"
QUARANTINE_SUFFIX: Final = ".quarantine"

FORMAT_VERSION: Final = 1
HEADER_BYTES: Final = 4096
CELL_BYTES: Final = 64
CELLS: Final = 4032
FILE_BYTES: Final = HEADER_BYTES + CELLS * CELL_BYTES

IN_CALL: Final = 128 // 8  # index in `LedgerFile.counts`
_LOADING: Final = 136

_MAGIC: Final = b"PAKLEDGR"
_HEADER = struct.Struct("<8sIII32s32s")  # magic, format version, cell size, cells, ledger name, worker id
_CHECKSUM = struct.Struct("<I")
_SUSPECTS = struct.Struct("<Q16sQ")
_CELL = struct.Struct("<16sQQQQ16s")
_API_ID = re.compile(rb"[a-z0-9]{16}")
_NAME = re.compile(r"[0-9a-f]{32}")
_WORDS = CELL_BYTES // 8
FIRST_COUNT_WORD: Final = 3
_LAST_DAY: Final = date.max.toordinal()


class Damaged(Exception):
    """A ledger file can't be read in full. `counts` are the cells that can; `worker_id` is known if the header is."""

    def __init__(self, reason: str, counts: tuple[DayCount, ...] = (), worker_id: str | None = None) -> None:
        super().__init__(reason)
        self.counts = counts
        self.worker_id = worker_id


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
            os.pwrite(self._fd, _header(self.name, worker_id), 0)
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
        if self.used_cells >= CELLS or not _API_ID.fullmatch(label):
            return None
        offset = HEADER_BYTES + self.used_cells * CELL_BYTES
        self._map[offset : offset + 16] = label
        fault_point("cell.labelled")
        self.counts[offset // 8 + 2] = day.toordinal()
        self.used_cells += 1
        return offset // 8 + FIRST_COUNT_WORD

    def note_loading(self, api_id: str, version_id: int) -> None:
        """What is being loaded in this process; nothing with version 0."""
        self._map[_LOADING : _LOADING + 16] = api_id.encode().ljust(16)[:16]
        self.counts[(_LOADING + 16) // 8] = version_id

    def words(self) -> memoryview:
        """All 64-bit words of the used cells, 8 a cell."""
        start = HEADER_BYTES // 8
        return self.counts[start : start + self.used_cells * _WORDS]

    def day_counts(self) -> list[DayCount]:
        """Absolute counts of all used cells."""
        return [_day_count(self._map, index) for index in range(self.used_cells)]

    def day_count(self, index: int) -> DayCount:
        """Absolute counts of one cell, by its number."""
        return _day_count(self._map, index)

    def remove(self) -> None:
        """Delete the file; only after the database has closed the ledger. The lock goes last."""
        self.path.unlink(missing_ok=True)
        self.release()

    def set_aside(self) -> None:
        """Move the file where no adopter looks and a person can."""
        self.path.rename(self.path.with_suffix(QUARANTINE_SUFFIX))
        self.release()

    def release(self) -> None:
        """Give up the file and its lock, as dying would: an adopter takes it."""
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


def _header(name: str, worker_id: str) -> bytes:
    fields = _HEADER.pack(_MAGIC, FORMAT_VERSION, CELL_BYTES, CELLS, name.encode(), worker_id.encode())
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def _day_count(data: bytes | mmap.mmap, index: int) -> DayCount:
    label, day, *counts, _ = _CELL.unpack_from(data, HEADER_BYTES + index * CELL_BYTES)
    return DayCount(label.decode(), date.fromordinal(day), *counts)


@dataclass
class OwnerlessFile:
    """A ledger whose owner is proven dead: we hold its lock, and the path still names the file we locked."""

    path: Path
    fd: int

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> tuple[str, list[DayCount]]:
        """The dead worker's id and its absolute counts. Raises `Damaged`; never maps, so a cut file is no SIGBUS."""
        data = os.pread(self.fd, FILE_BYTES + 1, 0)
        worker_id = _worker_of(data, self.name)
        if len(data) != FILE_BYTES:
            raise Damaged(f"it has {len(data)} bytes instead of {FILE_BYTES}", _readable(data), worker_id)
        fault = _first_fault(data)
        if fault is not None:
            raise Damaged(fault, _readable(data), worker_id)
        return worker_id, list(_readable(data))

    def suspects(self) -> list[tuple[str, int | None]]:
        """Whose model was being computed or loaded at the end: (API, version). None: the version it served then."""
        data = os.pread(self.fd, FILE_BYTES, 0)
        if len(data) != FILE_BYTES:
            return []
        called, label, version_id = _SUSPECTS.unpack_from(data, IN_CALL * 8)
        found: list[tuple[str, int | None]] = []
        cell = (called - FIRST_COUNT_WORD) * 8
        if HEADER_BYTES <= cell < FILE_BYTES and _API_ID.fullmatch(data[cell : cell + 16]):
            found.append((data[cell : cell + 16].decode(), None))
        if version_id and _API_ID.fullmatch(label):
            found.append((label.decode(), version_id))
        return found

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def quarantine(self) -> Path:
        """Move the file aside, where no adopter looks and a person can."""
        aside = self.path.with_suffix(QUARANTINE_SUFFIX)
        self.path.rename(aside)
        return aside

    def close(self) -> None:
        os.close(self.fd)


def take_ownerless(path: Path) -> OwnerlessFile | None:
    """Lock a ledger file if nobody holds it. None: its owner lives, or another adopter has it or has finished it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return OwnerlessFile(path, fd)
    except (BlockingIOError, FileNotFoundError):
        pass  # in use, or adopted and removed between our open and our lock
    os.close(fd)
    return None


def is_ledger(path: Path) -> bool:
    return path.suffix == SUFFIX and _NAME.fullmatch(path.stem) is not None


def _worker_of(data: bytes, name: str) -> str:
    """The owner named in the header. Raises `Damaged` if the header can't be believed."""
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise Damaged(f"it ends inside its header, after {len(data)} bytes")
    magic, version, cell_bytes, cells, own_name, worker_id = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise Damaged("it does not begin like a ledger")
    if version != FORMAT_VERSION:
        raise Damaged(f"it has format {version}; this release reads format {FORMAT_VERSION}")
    if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size]):
        raise Damaged("its header has a wrong checksum")
    if (cell_bytes, cells, own_name) != (CELL_BYTES, CELLS, name.encode()):
        raise Damaged("its header belongs to another file")
    return str(worker_id.decode())


def _readable(data: bytes) -> tuple[DayCount, ...]:
    whole_cells = max(0, len(data) - HEADER_BYTES) // CELL_BYTES
    indices = range(min(whole_cells, CELLS))
    return tuple(_day_count(data, index) for index in indices if _cell_fault(data, index) == "")


def _first_fault(data: bytes) -> str | None:
    for index in range(CELLS):
        fault = _cell_fault(data, index)
        if fault:
            return f"its cell {index} {fault}"
    return None


def _cell_fault(data: bytes, index: int) -> str | None:
    """What is wrong with a cell, "" for a good one, None for an unused one (perhaps with a label half written)."""
    label, day, *counts, _ = _CELL.unpack_from(data, HEADER_BYTES + index * CELL_BYTES)
    if day == 0:
        return "has counts without a day" if any(counts) else None
    if day > _LAST_DAY or not _API_ID.fullmatch(label):
        return "has no readable label"
    return "has impossible counts" if max(counts) >= 1 << 62 else ""
