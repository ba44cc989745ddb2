"""What server processes cost: CPU time and memory of a process and its descendants."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from contract.parent_death import die_with_parent
from runtime import processes as runtime_processes

STOP_S = 15
MIB = 2**20


class ServerProcess:
    """One server with all its processes, in a process group of its own; its output goes to a file."""

    def __init__(self, name: str, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log_dir: Path) -> None:
        self.name = name
        self.log_path = log_dir / f"{name.replace(', ', '-')}.log"
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]

    def members(self) -> list[psutil.Process]:
        """The process and its descendants, as far as they live."""
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        return []

    def cpu_s(self) -> float:
        """utime + stime of all its processes, of those that ended too."""
        total = 0.0
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mib(self) -> float:
        """Resident memory of all its processes; pages they share are counted once for each."""
        total = 0
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / MIB

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is still there after `STOP_S`."""
        if self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        runtime_processes.signal_all(runtime_processes.group_members(self._process.pid), signal.SIGKILL)
        self._process.wait()


def clean_environment(**variables: str) -> dict[str, str]:
    """The variables a server starts with: nobody's `.env`, one thread a library unless it says otherwise."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "POSTGRES_BIN") if name in os.environ}
    return kept | {"ENV_FILE": os.devnull, "PYTHONUNBUFFERED": "1"} | variables
