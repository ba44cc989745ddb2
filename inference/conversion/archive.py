"""Reads a zip archive that a stranger packed: nothing is written anywhere, and what is read is bounded.

Raises `NotServable` for what no honest archive has: absolute paths, `..`, links, passwords, a name twice, and more
bytes or files than a model has.
"""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from inference.signature import NotServable

MOST_FILES: Final = 1000
MOST_BYTES: Final = 256 << 20
"""Unpacked, of all files together: what one model may have."""


_MOST_DIRECTORY_BYTES: Final = 1 << 20
"""Of the list at an archive's end: room for thousands of files. Reading a list of a million takes 15 s and 500 MB."""

_END, _LOCATOR_64, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_LONGEST_COMMENT: Final = 1 << 16


def opened(path: Path) -> zipfile.ZipFile:
    """The archive, once its list of files is known to be short. Raises `NotServable`."""
    try:
        if _directory_bytes(path) > _MOST_DIRECTORY_BYTES:
            raise NotServable("The zip archive has too many files for a model.")
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, struct.error):
        raise NotServable("The zip archive is damaged.") from None


def _directory_bytes(path: Path) -> int:
    """Size of the list of files, as the archive's end says it (APPNOTE.TXT 4.3.14 to 4.3.16), which is what is read."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _END.size - _LOCATOR_64.size - _LONGEST_COMMENT))
        tail = stream.read()
        place = tail.rindex(b"PK\x05\x06")  # ValueError: there is none
        directory: int = _END.unpack_from(tail, place)[5]
        before = place - _LOCATOR_64.size
        if before >= 0 and tail[before:].startswith(b"PK\x06\x07"):
            stream.seek(_LOCATOR_64.unpack_from(tail, before)[2])
            directory = _END_64.unpack(stream.read(_END_64.size))[8]
    return directory


class Archive:
    """The files of a zip archive, by their names as paths from its top."""

    def __init__(self, path: Path) -> None:
        self._zip = opened(path)
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(infos) > MOST_FILES:
            raise NotServable(f"The zip archive has {len(infos)} files; a model has at most {MOST_FILES}.")
        self._infos: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for info in infos:
            name = _checked_name(info)
            if name in self._infos:
                raise NotServable(f"The zip archive has the file {name} twice.")
            self._infos[name] = info
        if sum(info.file_size for info in infos) > MOST_BYTES:
            raise NotServable(f"The zip archive has more than {MOST_BYTES >> 20} MB when it is unpacked.")

    @property
    def names(self) -> list[PurePosixPath]:
        return list(self._infos)

    def read(self, name: PurePosixPath, *, at_most: int = MOST_BYTES) -> bytes:
        """The file's bytes; never more than the archive announced. Raises `NotServable`."""
        info = self._infos.get(name)
        if info is None:
            raise NotServable(f"The zip archive lacks the file {name}.")
        if info.file_size > at_most:
            raise NotServable(f"The file {name} in the zip archive is larger than such a file can be.")
        try:
            with self._zip.open(info) as stream:
                content = stream.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError, EOFError):
            raise NotServable(f"The file {name} in the zip archive can't be unpacked.") from None
        if len(content) != info.file_size:
            raise NotServable(f"The file {name} in the zip archive has another size than it says.")
        return content


def _checked_name(info: zipfile.ZipInfo) -> PurePosixPath:
    name = PurePosixPath(info.filename.replace("\\", "/"))
    if not name.parts or name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        raise NotServable(f"The zip archive has a file outside of itself: {info.filename}.")
    mode = info.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise NotServable(f"The zip archive has a link or a device: {info.filename}.")
    if info.flag_bits & 0x1:
        raise NotServable("The zip archive has a password. Pack it without one.")
    return name
