"""Starting, finding and ending processes so that none outlives its installation.

Linux offers what this needs through `/proc` and `prctl`; elsewhere `ps` and `lsof` answer the same questions.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

INSTANCE_VARIABLE = "CONSOLE_INSTANCE"
"""Set in the environment of all that the supervisor starts from the Procfile: the mark by which leftovers are known."""

_HAS_PROC = sys.platform.startswith("linux")


def is_alive(pid: int) -> bool:
    """Whether the process runs. A zombie does not: where nobody reaps orphans, they stay for ever."""
    if _HAS_PROC:
        return _state_and_group(pid)[0] not in {"", "Z", "X"}
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def working_directory(pid: int) -> Path | None:
    """The process's current directory, or None if there is no such process or it may not be asked."""
    try:
        if _HAS_PROC:
            return Path(os.readlink(f"/proc/{pid}/cwd"))
        asked = subprocess.run(
            ["lsof", "-a", "-p", str(pid), "-d", "cwd", "-Fn"], capture_output=True, text=True, check=False
        )
        return next((Path(line[1:]) for line in asked.stdout.splitlines() if line.startswith("n")), None)
    except OSError:
        return None


def working_in(folder: Path) -> list[int]:
    """The living processes that work in this folder, as far as this user may see them; none where there is no /proc."""
    if not _HAS_PROC:
        return []
    return [pid for pid in _all_pids() if working_directory(pid) == folder and is_alive(pid)]


def group_members(group: int) -> list[int]:
    """The living processes of a process group."""
    if _HAS_PROC:
        return [pid for pid in _all_pids() if _in_group(pid, group)]
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [group]


def instance_members(instance: str) -> list[int]:
    """The living processes, of this user, that descend from a supervisor of this instance."""
    return marked_members(INSTANCE_VARIABLE, instance)


def marked_members(variable: str, value: str) -> list[int]:
    """The living processes of this user that were started with that variable; never the asking one."""
    mark = f"{variable}={value}"
    return [pid for pid, environment in _environments() if pid != os.getpid() and mark in environment and is_alive(pid)]


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end_all(find: Callable[[], list[int]], grace_s: float) -> bool:
    """SIGTERM for all that `find` finds, SIGKILL after `grace_s`. Returns whether all are gone."""
    signal_all(find(), signal.SIGTERM)
    if wait_until(lambda: not find(), grace_s):
        return True
    signal_all(find(), signal.SIGKILL)
    return wait_until(lambda: not find(), 3)


def wait_until(is_done: Callable[[], bool], timeout_s: float, step_s: float = 0.02) -> bool:
    """Ask again and again until it is done; False when it still isn't after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step_s)
    return True


def _all_pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _in_group(pid: int, group: int) -> bool:
    state, found = _state_and_group(pid)
    return found == group and state not in {"Z", "X"}


def _state_and_group(pid: int) -> tuple[str, int]:
    """The state letter and process group of `/proc/<pid>/stat`; `("", 0)` when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return fields[0], int(fields[2])


def _environments() -> Iterator[tuple[int, list[str]]]:
    if not _HAS_PROC:
        listed = subprocess.run(
            ["ps", "-axEww", "-o", "pid=", "-o", "command="], capture_output=True, text=True, check=False
        )
        for line in listed.stdout.splitlines():
            number, _, rest = line.strip().partition(" ")
            yield int(number), rest.split(" ")
        return
    for pid in _all_pids():
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            yield pid, Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
