"""Places that all workers of a machine share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FileLocks:
    """So many places on this machine, each a locked file. A process that is killed gives its places back."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        self._paths = [directory / f"{name}-{index}.lock" for index in range(number)]

    def take(self) -> int | None:
        """A descriptor to close when done with it, or None if all are taken."""
        for path in self._paths:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            except BlockingIOError:
                os.close(fd)
        return None
