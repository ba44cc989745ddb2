"""Bodies and answers that are too large for memory: a file without a name, gone with the last that has it open."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


class Spool:
    """Bytes on disk. `size` is how many were appended by this process, or said to be there by another."""

    __slots__ = ("fd", "size")

    def __init__(self, directory: Path) -> None:
        """Raises OSError when the disk is full or the folder can't be written."""
        self.fd, self.size = -1, 0
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.fd, name = tempfile.mkstemp(dir=directory)
        os.unlink(name)

    def append(self, content: bytes | bytearray) -> None:
        """Raises OSError when the disk is full."""
        left = memoryview(content)
        while left:
            written = os.write(self.fd, left)
            self.size += written
            left = left[written:]

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self.fd, size, start)

    def close(self) -> None:
        """Free the disk. Safe to call again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()
