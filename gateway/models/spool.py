"""Bodies and answers that are too large for memory: a file without a name, gone with the last that has it open."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path


class Spool:
    """Bytes on disk. `size` is how many were appended by this process, or said to be there by another.

    A thread may append while another closes: the file then stays open until the thread is done, because its
    descriptor's number could be given to another file meanwhile.
    """

    __slots__ = ("_writing", "fd", "size")

    def __init__(self, directory: Path) -> None:
        """Raises OSError when the disk is full or the folder can't be written."""
        self.fd, self.size = -1, 0
        self._writing = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.fd, name = tempfile.mkstemp(dir=directory)
        os.unlink(name)

    def append(self, content: bytes | bytearray) -> None:
        """Raises OSError when the disk is full."""
        left = memoryview(content)
        with self._writing:
            while left:
                written = os.write(self.fd, left)
                self.size += written
                left = left[written:]

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self.fd, size, start)

    def close(self) -> None:
        """Free the disk; while a thread appends, the last reference does it. Safe to call again."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1
        finally:
            self._writing.release()

    def __del__(self) -> None:
        self.close()
