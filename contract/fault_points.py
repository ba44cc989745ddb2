"""Where a drill ends a process on purpose, between two steps that must be exact when a machine does the same.

Inert unless DRILL_FAULTS names a folder, which nothing but a drill sets. A step is armed by a file of its name in that
folder; the first process that comes by removes the file and dies of SIGKILL, so each arming ends one process.
"""

from __future__ import annotations

import os
import signal

_FOLDER = os.environ.get("DRILL_FAULTS")
FAULTS_MAY_STRIKE = _FOLDER is not None  # asked where even an inert call is too much


def fault_point(step: str) -> None:
    """Die here, if a drill has armed this step."""
    if _FOLDER is None:
        return
    try:
        os.unlink(f"{_FOLDER}/{step}")
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
