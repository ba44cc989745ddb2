"""How a worker ended, in its own last words: a file into which the crash handler writes, beside its ledgers.

Only a crash writes there. A worker that was killed, by a person or by the kernel for its memory, leaves it empty: then
nothing is held against the model it was computing.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import time
from pathlib import Path
from typing import Final

_SUFFIX: Final = ".crash"
_OLD_S: Final = 60
_FIRST_WORDS: Final = b"Fatal Python error: "


class CrashNote:
    """The owner's side, from its start to its orderly end."""

    def __init__(self, directory: Path, worker_id: str) -> None:
        """Raises OSError when the folder can't be written."""
        self._path = directory / (worker_id + _SUFFIX)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a free lock: its worker is gone
        faulthandler.enable(self._fd, all_threads=False)

    def remove(self) -> None:
        """Nothing crashed."""
        faulthandler.disable()
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


def read_note(directory: Path, worker_id: str) -> str:
    """What ended the worker ("Segmentation fault"), or "" if it did not crash."""
    try:
        words = (directory / (worker_id + _SUFFIX)).read_bytes()
    except FileNotFoundError:
        return ""
    first = words.partition(b"\n")[0]
    return first.removeprefix(_FIRST_WORDS).decode(errors="replace") if first.startswith(_FIRST_WORDS) else ""


def clear_old_notes(directory: Path) -> None:
    """Those of dead workers; to be called when all their ledgers were recovered."""
    for path in directory.glob(f"*{_SUFFIX}"):
        try:
            if time.time() - path.stat().st_mtime > _OLD_S and _is_ownerless(path):
                path.unlink()
        except FileNotFoundError:
            continue  # another worker was quicker


def _is_ownerless(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
