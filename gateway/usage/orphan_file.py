"""A ledger file that its worker left behind: found by its free lock, and read by its version."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.usage import ledger_format
from gateway.usage.ledger_file import QUARANTINE_SUFFIX, SUFFIX
from gateway.usage.ledger_format.contents import LedgerContents

_NAME = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES: Final = 64 * 1024 * 1024  # no version is longer: what is was not written by a worker


@dataclass
class OrphanFile:
    """A ledger whose owner is proven dead: we hold its lock, and the path still names the file we locked."""

    path: Path
    fd: int

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> LedgerContents:
        """What it says. Raises `Damaged`; never maps, so a file that is cut meanwhile is no SIGBUS."""
        size = min(os.fstat(self.fd).st_size, _MOST_BYTES)
        return ledger_format.read(os.pread(self.fd, size, 0), self.name)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def quarantine(self) -> Path:
        """Move the file aside, where recovery does not look and a person can."""
        aside = self.path.with_suffix(QUARANTINE_SUFFIX)
        self.path.rename(aside)
        return aside

    def close(self) -> None:
        os.close(self.fd)


def take_orphan(path: Path) -> OrphanFile | None:
    """Lock a ledger file if nobody holds it. None: its owner lives, or another worker recovers it or has done so."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_ino == path.stat().st_ino:
            return OrphanFile(path, fd)
    except (BlockingIOError, FileNotFoundError):
        pass  # in use, or recovered and removed between our open and our lock
    os.close(fd)
    return None


def is_ledger(path: Path) -> bool:
    return path.suffix == SUFFIX and _NAME.fullmatch(path.stem) is not None
