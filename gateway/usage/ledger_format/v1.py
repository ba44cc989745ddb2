"""Version 1 of the ledger file. Little-endian: a page of header, then cells of 64 bytes.

The header, protected by a checksum over the fields before it:

    0   "PAKLEDGR"     8  version (1)     12  size of a cell     16  number of cells
    20  the ledger's name, 32 characters  52  the worker's id, 32 characters     84  checksum (CRC-32)

Behind it, written while the worker runs:

    128  which cell's API is being computed on the event loop, as the index of its first count (0: none)
    136  api_id (16 characters) and version of the model that is being loaded (0: none)

A cell is one API on one day:

    0  api_id, 16 ASCII characters     16  day (proleptic ordinal; 0: cell unused)
    24 count of 200   32 count of 4xx   40 count of 5xx   48 reserved, 16 bytes of zero
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from datetime import date
from typing import Final

from gateway.db.statements.ledgers import CellCount
from gateway.usage.ledger_format.contents import MAGIC, Damaged, LedgerContents

VERSION: Final = 1
HEADER_BYTES: Final = 4096
CELL_BYTES: Final = 64
CELLS: Final = 4032
FILE_BYTES: Final = HEADER_BYTES + CELLS * CELL_BYTES

IN_CALL: Final = 128 // 8  # as the index of a 64-bit word
LOADING: Final = 136
WORDS_A_CELL: Final = CELL_BYTES // 8
DAY_WORD: Final = 2
FIRST_COUNT_WORD: Final = 3
API_ID: Final = re.compile(rb"[a-z0-9]{16}")

_HEADER = struct.Struct("<8sIII32s32s")
_CHECKSUM = struct.Struct("<I")
_SUSPECTS = struct.Struct("<Q16sQ")
_CELL = struct.Struct("<16sQQQQ16s")
_LAST_DAY: Final = date.max.toordinal()
_COUNT_LIMIT: Final = 1 << 62


def header(name: str, worker_id: str) -> bytes:
    fields = _HEADER.pack(MAGIC, VERSION, CELL_BYTES, CELLS, name.encode(), worker_id.encode())
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def cell_count(data: bytes | mmap.mmap, index: int) -> CellCount:
    label, day, *counts, _ = _CELL.unpack_from(data, HEADER_BYTES + index * CELL_BYTES)
    return CellCount(label.decode(), date.fromordinal(day), *counts)


def read(data: bytes, name: str) -> LedgerContents:
    """Raises `Damaged`."""
    worker_id = _worker_of(data, name)
    if len(data) != FILE_BYTES:
        raise Damaged(f"it has {len(data)} bytes instead of {FILE_BYTES}", _readable(data), worker_id)
    fault = _first_fault(data)
    if fault is not None:
        raise Damaged(fault, _readable(data), worker_id)
    return LedgerContents(worker_id, _readable(data), tuple(_suspects(data)))


def _worker_of(data: bytes, name: str) -> str:
    """The owner named in the header. Raises `Damaged` if the header can't be believed."""
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise Damaged(f"it ends inside its header, after {len(data)} bytes")
    _, _, cell_bytes, cells, own_name, worker_id = _HEADER.unpack_from(data)
    if _CHECKSUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size]):
        raise Damaged("its header has a wrong checksum")
    if (cell_bytes, cells, own_name) != (CELL_BYTES, CELLS, name.encode()):
        raise Damaged("its header belongs to another file")
    return str(worker_id.decode())


def _suspects(data: bytes) -> list[tuple[str, int | None]]:
    called, label, version_id = _SUSPECTS.unpack_from(data, IN_CALL * 8)
    found: list[tuple[str, int | None]] = []
    cell = (called - FIRST_COUNT_WORD) * 8
    if HEADER_BYTES <= cell < FILE_BYTES and API_ID.fullmatch(data[cell : cell + 16]):
        found.append((data[cell : cell + 16].decode(), None))
    if version_id and API_ID.fullmatch(label):
        found.append((label.decode(), version_id))
    return found


def _readable(data: bytes) -> tuple[CellCount, ...]:
    whole_cells = max(0, len(data) - HEADER_BYTES) // CELL_BYTES
    indices = range(min(whole_cells, CELLS))
    return tuple(cell_count(data, index) for index in indices if _cell_fault(data, index) == "")


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
    if day > _LAST_DAY or not API_ID.fullmatch(label):
        return "has no readable label"
    return "has impossible counts" if max(counts) >= _COUNT_LIMIT else ""
