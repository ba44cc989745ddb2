"""A whole installation beside others: the Procfile's own commands against its own database, VAR_DIR and ports.

Tests and drills start their installations here, process by process, and kill, freeze and restart them. Nothing
starts before it is asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import psycopg
import redis
from psycopg import sql

from contract.parent_death import die_with_parent
from contract.settings import LOOPBACK, PROJECT_DIR, Settings, read_settings
from runtime import processes
from runtime.procfile import process_environment, read_procfile, shell_command

_SECONDS_TO_START = 120  # on a machine that does much else
_COMMAND_TIMEOUT_S = 120
_CELERY_WORKERS = 2  # console/workers.py


class InstallationFailed(AssertionError):
    """A process or command of the installation did not do what it must. `str()` has its words."""


class Service:
    """One process of the Procfile."""

    def __init__(self, installation: LiveInstallation, name: str) -> None:
        self.name = name
        self.log_path = installation.environment.log_dir / f"{name}.log"
        self._installation = installation
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process: the master of the gateway, of the worker or of the console."""
        return self._started().pid

    @property
    def pids(self) -> list[int]:
        """All living processes of it, children included."""
        return processes.group_members(self.pid) if self._process else []

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, **variables: str) -> None:
        """Start it, with these variables changed, and wait until it is ready."""
        if self.pids:
            raise InstallationFailed(f"{self.name} is still running")
        self._installation.environment.log_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                shell_command(read_procfile()[self.name]),
                cwd=PROJECT_DIR,
                env=self._installation.process_env | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )
        self.wait_ready()

    def wait_ready(self, timeout_s: float = _SECONDS_TO_START) -> None:
        is_ready = processes.wait_until(
            lambda: not self.is_running or self._installation.answers(self.name), timeout_s, 0.05
        )
        if not is_ready:
            raise InstallationFailed(f"{self.name} is not ready after {timeout_s} s:\n{self.log()}")
        if not self.is_running:
            raise InstallationFailed(f"{self.name} ended at once:\n{self.log()}")

    def stop(self, timeout_s: float = 12) -> int:
        """SIGTERM to the main process, as the supervisor does it; what stays is killed. Returns the exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.kill_all()

    def kill(self) -> None:
        """SIGKILL to the main process alone."""
        os.kill(self.pid, signal.SIGKILL)
        self._started().wait()

    def kill_all(self) -> int:
        """SIGKILL to every process of it at once. Returns the main process's exit code."""
        process = self._started()
        processes.signal_all(self.pids, signal.SIGKILL)
        code = process.wait()
        if not processes.wait_until(lambda: not self.pids, 5):
            raise InstallationFailed(f"processes of {self.name} stay: {self.pids}")
        return code

    def restart(self, **variables: str) -> None:
        self.stop()
        self.start(**variables)

    def log(self, start: int = 0) -> str:
        """What it wrote, from that byte on."""
        return self.log_path.read_bytes()[start:].decode(errors="replace") if self.log_path.exists() else ""

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise InstallationFailed(f"{self.name} was never started")
        return self._process


class LiveInstallation:
    """One installation. `env` are its variables, `environment` the same, read.

    `variables` must name the servers; on the one of DATABASE_URL the installation's own database is made, a copy of
    `template` if that is named. `database` names one that exists already instead, which `close` then leaves alone.
    """

    def __init__(self, variables: dict[str, str], *, template: str | None = None, database: str | None = None) -> None:
        self._server_url = variables["DATABASE_URL"]
        self._owns_database = database is None
        self.database = database or f"own_{secrets.token_hex(6)}"
        self.env = variables | {
            "DATABASE_URL": urlsplit(self._server_url)._replace(path=f"/{self.database}").geturl(),
            "GATEWAY_WORKERS": variables.get("GATEWAY_WORKERS", "2"),
            "DEMO": "1",
        }
        self.environment: Settings = read_settings(self.env)
        self.gateway = Service(self, "gateway")
        self.worker = Service(self, "worker")
        self.beat = Service(self, "beat")
        self.console = Service(self, "web")
        if self._owns_database:
            self._create_database(template)

    @property
    def services(self) -> dict[str, Service]:
        return {"gateway": self.gateway, "worker": self.worker, "beat": self.beat, "console": self.console}

    @property
    def process_env(self) -> dict[str, str]:
        """The variables of its processes: those of the Procfile's commands are filled in."""
        return process_environment(self.environment, self.env)

    @property
    def console_url(self) -> str:
        return self.environment.console_url

    @property
    def gateway_url(self) -> str:
        return self.environment.gateway_url

    def start(self, *names: str) -> Self:
        """Make sure that these run (all four without names): gateway, worker, beat, console."""
        for name in names or tuple(self.services):
            service = self.services[name]
            if service.is_running:
                service.wait_ready()
                continue
            if service.pids:  # its main process was killed before
                service.kill_all()
            if name == "console":
                self.collect_static()
            service.start()
        return self

    def stop(self) -> None:
        """Stop every process."""
        for name in ("console", "beat", "worker", "gateway"):
            self.services[name].stop()

    def close(self) -> None:
        """Stop everything and drop the database."""
        self.stop()
        if not self._owns_database:
            return
        with self.server() as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.database)))

    def manage(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """`manage.py` of this installation. Raises `InstallationFailed` with its words on a non-zero end."""
        return self.run(sys.executable, "manage.py", *arguments, check=check, **variables)

    def manage_json(self, *arguments: str) -> Any:
        """The same, its output read as JSON."""
        return json.loads(self.manage(*arguments).stdout)

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Any command with this installation's variables, in the checkout."""
        done = subprocess.run(
            command,
            cwd=PROJECT_DIR,
            env=self.process_env | variables,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise InstallationFailed(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def psql(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one statement in its database, committed; an empty list for a statement without rows."""
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def demo(self) -> None:
        """The demo's workspaces, users (password: `demo_password`) and models; once, later calls cost nothing."""
        if not self._has_demo:
            self.manage("demo")
            self._has_demo = True

    _has_demo = False

    @property
    def demo_password(self) -> str:
        return (self.environment.var_dir / "demo-password").read_text().strip()

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Nobody can reach its database meanwhile: open connections are cut, new ones refused."""
        name = sql.Identifier(self.database)
        with self.server() as server:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            try:
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND backend_type = 'client backend'",
                    [self.database],
                )
                yield
            finally:
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))

    def answers(self, name: str) -> bool:
        """Whether that service is ready for work."""
        if name == "gateway":
            return http_status(f"{self.gateway_url}/readyz") == 200
        if name == "web":
            return http_status(f"{self.console_url}/accounts/login/") == 200
        return name != "worker" or self._worker_waits()

    def _worker_waits(self) -> bool:
        """Both Celery workers stand in line for work at the broker."""
        number = int(urlsplit(self.env["REDIS_URL"]).path.strip("/") or 0)
        with redis.Redis.from_url(self.env["REDIS_URL"]) as client:
            waiting = [one for one in client.client_list() if one["cmd"] == "brpop" and int(one["db"]) == number]
        return len(waiting) >= _CELERY_WORKERS

    def collect_static(self) -> None:
        """The console's static files, as the release step collects them; once."""
        if not (self.environment.var_dir / "static" / "staticfiles.json").exists():
            self.manage("collectstatic", "--no-input", "--verbosity", "0")

    def _create_database(self, template: str | None) -> None:
        with self.server() as server:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database))
            if template:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            server.execute(statement)
        if template is None:
            self.manage("migrate", "--no-input", "--verbosity", "0", "--skip-checks")

    def server(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the server, but to another database than the installation's own."""
        return psycopg.connect(self._server_url, autocommit=True)


def worker_pids(gateway: Service) -> list[int]:
    """The gateway's worker processes, in the order of their slots."""
    found: list[tuple[int, int]] = []
    for child in psutil.Process(gateway.pid).children():
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            command = child.cmdline()
            if "gateway.processes.worker_main" in command:
                found.append((int(command[command.index("--slot") + 1]), child.pid))
    return [pid for _, pid in sorted(found)]


def http_status(url: str) -> int | None:
    """The status that a GET is answered with; None when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def fresh_variables(base: dict[str, str], var_dir: Path) -> dict[str, str]:
    """Variables for a further installation beside others: own VAR_DIR and ports."""
    return base | {
        "VAR_DIR": str(var_dir),
        "CONSOLE_PORT": str(unused_port()),
        "GATEWAY_PORT": str(unused_port()),
    }


def unused_port() -> int:
    """A port nobody listens on, from below the range out of which the kernel gives ports to outgoing connections.

    It is this process's until it ends: whoever asks next, here or in a process beside this one, gets another. Between
    the choice and the bind of the server it is for, and while that server restarts, the port itself says nothing.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe, contextlib.suppress(OSError):
            claim.bind(f"\0predictionapi-unused-port-{port}")  # an abstract name: gone with the process, no file left
            probe.bind((LOOPBACK, port))
            claim.detach()  # open as long as the process lives
            return port
        claim.close()
