"""What the embedded servers have in common: a process, a port, a log, and how they start, stop and are cleared away."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from contract.parent_death import die_with_parent
from contract.settings import LOOPBACK, Settings
from runtime import processes
from runtime.programs import EmbeddedError, bare_environment

_START_TIMEOUT_S = 120  # a crashed PostgreSQL replays its log before it answers
_STOP_TIMEOUT_S = 10
_PORT_ATTEMPTS = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tuning:
    """How much the servers care: an installation keeps its data, a test run wants speed."""

    is_durable: bool = True
    max_connections: int = 200

    def postgres_options(self) -> dict[str, str]:
        options = {
            "max_connections": str(self.max_connections),
            "shared_buffers": "64MB",
            "max_wal_size": "256MB",
            "max_parallel_workers_per_gather": "0",  # short queries only; parallel ones also need much of /dev/shm
            "jit": "off",
            "log_checkpoints": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.is_durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
            options |= {"autovacuum": "off"}  # its processes are not ours to end when a test's database is dropped
        return options


class EmbeddedServer:
    """One embedded server: its process, its port, its log."""

    name = ""
    death_signal = signal.SIGTERM

    def __init__(self, env: Settings, tuning: Tuning, say: Say) -> None:
        self.env = env
        self.tuning = tuning
        self.say = say
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.env.log_dir / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Bring the server up, whatever an earlier run left behind. Raises `EmbeddedError`."""
        self.prepare()
        self.stop_leftover()
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = free_port(preferred=self._remembered_port() if attempt == 1 else None)
            self._launch()
            if self._wait_ready():
                self._remember_port()
                return
        raise EmbeddedError(f"{self.name} does not start; the end of {self.log_path}:\n{_tail(self.log_path)}")

    def stop(self) -> None:
        """Shut down cleanly; by force only when that takes too long."""
        if self._process is None:
            return
        if self.is_running():
            self._process.send_signal(self.death_signal)
            if not processes.wait_until(lambda: not self.is_running(), _STOP_TIMEOUT_S):
                self.say(f"{self.name} does not stop: killing it (it recovers at the next start).")
                processes.signal_all(processes.group_members(self._process.pid), signal.SIGKILL)
        self._process.wait()
        self._process = None

    def prepare(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        return {}

    def data_dir(self) -> Path:
        raise NotImplementedError

    def pid_file(self) -> Path:
        raise NotImplementedError

    def is_ready(self) -> bool:
        raise NotImplementedError

    def stop_leftover(self) -> None:
        """Stop a server that outlived its supervisor, and remove a pid file that names nobody of ours.

        PostgreSQL would take any living process of that number for itself, and not start: after a restart of a
        container the same small numbers are given out again.
        """
        pid = _first_number(self.pid_file())
        if pid is None:
            return
        if processes.is_alive(pid) and processes.working_directory(pid) == self.data_dir().resolve():
            self.say(f"{self.name} of an earlier run is still running (process {pid}): stopping it.")
            processes.signal_all([pid], self.death_signal)
            if not processes.wait_until(lambda: not processes.is_alive(pid), _STOP_TIMEOUT_S):
                processes.signal_all([pid], signal.SIGKILL)
                processes.wait_until(lambda: not processes.is_alive(pid), 5)
        self._await_orphans()
        self.pid_file().unlink(missing_ok=True)

    def _await_orphans(self) -> None:
        """After a `kill -9` of the server its children live for a moment, and hold its shared memory and files."""
        folder = self.data_dir().resolve()
        processes.wait_until(lambda: not processes.working_in(folder), _STOP_TIMEOUT_S)

    def _launch(self) -> None:
        with _opened_log(self.log_path) as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd="/",
                env=bare_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(self.death_signal),
                **self.identity(),
            )

    def _wait_ready(self) -> bool:
        """False when the process ended before it was ready, as it does when the port was taken meanwhile."""
        processes.wait_until(lambda: not self.is_running() or self.is_ready(), _START_TIMEOUT_S)
        if self.is_running() and self.is_ready():
            return True
        self.stop()
        return False

    def _port_file(self) -> Path:
        return self.env.var_dir / "run" / "ports.json"

    def _remembered_ports(self) -> dict[str, int]:
        try:
            ports = json.loads(self._port_file().read_text())
            return {str(name): int(port) for name, port in ports.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}  # it only saves other programs from learning a new port

    def _remembered_port(self) -> int | None:
        return self._remembered_ports().get(self.name)

    def _remember_port(self) -> None:
        self._port_file().write_text(json.dumps(self._remembered_ports() | {self.name: self.port}))


def make_private_folders(env: Settings) -> None:
    """VAR_DIR and what nobody else may read in it."""
    for folder in (env.var_dir, env.var_dir / "run", env.log_dir, env.secrets_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def free_port(*, preferred: int | None = None) -> int:
    """A port nobody listens on at this moment: the preferred one if it can be had."""
    for port in (preferred, 0) if preferred else (0,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise EmbeddedError(f"no free port on {LOOPBACK}")


def _opened_log(path: Path) -> IO[bytes]:
    """The log to append to; a long one is put aside at the start."""
    if path.exists() and path.stat().st_size > 10_000_000:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _tail(path: Path, lines: int = 8) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(empty)"


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
