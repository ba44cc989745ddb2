"""PostgreSQL and Valkey for an installation that brings none: the programs out of two wheels, the data under VAR_DIR.

Only the programs are used; the wheels' Python packages are never imported (they open every parent directory, trust
everybody on the machine, and leave servers behind). The servers listen on 127.0.0.1 only, on ports chosen at start,
with random passwords. Each is a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone, which
stops them last; when the supervisor is killed, the kernel tells them to shut down cleanly, and what still runs or lies
about at the next start is put right there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

from contract.connections import forget_embedded_urls, write_embedded_urls
from contract.secret_files import kept_secret
from contract.settings import LOOPBACK, Settings
from runtime import processes
from runtime.programs import ELSEWHERE, EmbeddedError, RunAs, bare_environment, choose_run_as, valkey_program

DATABASE = ROLE = "console"
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


class _Server:
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
                self.say(f"{self.name} does not stop: ending it by force (it recovers at the next start).")
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
            self.say(f"{self.name} of an earlier run is still there (process {pid}): stopping it.")
            processes.signal_all([pid], self.death_signal)
            if not processes.wait_until(lambda: not processes.is_alive(pid), _STOP_TIMEOUT_S):
                processes.signal_all([pid], signal.SIGKILL)
                processes.wait_until(lambda: not processes.is_alive(pid), 5)
        self.pid_file().unlink(missing_ok=True)

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
                preexec_fn=processes.die_with_parent(self.death_signal),
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


class Postgres(_Server):
    """The embedded database."""

    name = "postgres"
    death_signal = signal.SIGINT  # "fast": ends the connections, writes a checkpoint, exits

    _run_as: RunAs | None = None

    @property
    def run_as(self) -> RunAs:
        if self._run_as is None:
            self._run_as = choose_run_as(self.env, self._link())
        return self._run_as

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}:{quote(self._password('postgres_role'))}@{LOOPBACK}:{self.port}/{DATABASE}"

    def data_dir(self) -> Path:
        return self._link()

    def pid_file(self) -> Path:
        return self.data_dir() / "postmaster.pid"

    def identity(self) -> dict[str, Any]:
        return self.run_as.identity

    def prepare(self) -> None:
        """Make the data directory on first use, in one step: an interrupted one is made anew."""
        if (self.data_dir() / "PG_VERSION").exists():
            self._check_version()
            return
        home = self._home()
        mark = hashlib.sha256(bytes(self.env.var_dir)).hexdigest()[:12]  # several installations may share this folder
        for old in home.glob(f"new-{mark}-*"):
            shutil.rmtree(old)
        draft = home / f"new-{mark}-{secrets.token_hex(4)}"
        self._initdb(draft)
        if home == self.env.var_dir / "run":
            draft.rename(self._link())
            return
        draft = draft.rename(home / f"postgres-{secrets.token_hex(4)}")
        self._link().symlink_to(draft)
        self.say(f"PostgreSQL can't run as root, and not under {self.env.var_dir}: its data lies in {draft}.")

    def command(self) -> list[str]:
        options = self.tuning.postgres_options() | {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return self.run_as.command("postgres", "-D", str(self.data_dir().resolve()), *settings)

    def is_ready(self) -> bool:
        """Connected with our own password, so this is our server, and the role and database exist."""
        try:
            with psycopg.connect(self._superuser_url(), autocommit=True, connect_timeout=5) as connection:
                self._ensure_database(connection)
        except psycopg.OperationalError:
            return False
        return True

    def _link(self) -> Path:
        return self.env.var_dir / "postgres"

    def _home(self) -> Path:
        """The folder in which the data directory is made; a draft under run/ is on the file system of its place."""
        if self.run_as.user is None:
            return self.env.var_dir / "run"
        return ELSEWHERE

    def _password(self, name: str) -> str:
        return kept_secret(self.env.secrets_dir / f"{name}_password", lambda: secrets.token_urlsafe(24))

    def _superuser_url(self) -> str:
        password = quote(self._password("postgres_superuser"))
        return f"postgres://postgres:{password}@{LOOPBACK}:{self.port}/postgres?require_auth=scram-sha-256"

    def _ensure_database(self, connection: psycopg.Connection[Any]) -> None:
        """An ordinary role owns the one database: what gets hold of the console's connection is not a superuser."""
        role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is None:
            password = sql.Literal(self._password("postgres_role"))
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}").format(role, password))
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))

    def _initdb(self, draft: Path) -> None:
        options = [
            f"--pgdata={draft}",
            "--username=postgres",
            "--pwfile=/dev/stdin",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8" if platform.system() == "Linux" else "--locale=C",
            *([] if self.tuning.is_durable else ["--no-sync"]),
        ]
        draft.mkdir(mode=0o700)
        if self.run_as.user is not None:
            os.chown(draft, self.run_as.user, -1)
        with self._password_pipe() as password:
            made = subprocess.run(
                self.run_as.command("initdb", *options),
                stdin=password,
                cwd="/",
                env=bare_environment(),
                capture_output=True,
                text=True,
                check=False,
                **self.identity(),
            )
        if made.returncode:
            raise EmbeddedError(f"initdb can't make the database's folder:\n{(made.stderr or made.stdout).strip()}")

    def _password_pipe(self) -> IO[bytes]:
        """The superuser's password as a standard input that the account of `initdb` may open; it never is a file."""
        reading, writing = os.pipe()
        if self.run_as.user is not None:
            os.fchown(reading, self.run_as.user, -1)
        with os.fdopen(writing, "w") as pipe:
            pipe.write(self._password("postgres_superuser") + "\n")
        return os.fdopen(reading, "rb")

    def _check_version(self) -> None:
        kept = (self.data_dir() / "PG_VERSION").read_text().strip()
        asked = subprocess.run(
            self.run_as.command("postgres", "--version"), capture_output=True, text=True, check=False, **self.identity()
        )
        ours = asked.stdout.rpartition(" ")[2].strip().partition(".")[0]
        if asked.returncode == 0 and ours != kept:
            raise EmbeddedError(
                f"the data in {self.data_dir()} was written by PostgreSQL {kept}, and this is {ours}: dump it with the "
                "old version and load it with the new one, or name the old programs in POSTGRES_BIN"
            )


class Valkey(_Server):
    """The embedded broker. What it holds can be rebuilt, so a damaged file of its own never stops a start."""

    name = "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{quote(self._password())}@{LOOPBACK}:{self.port}/0"

    def data_dir(self) -> Path:
        return self.env.var_dir / "valkey"

    def pid_file(self) -> Path:
        return self.env.var_dir / "run" / "valkey.pid"

    def start(self) -> None:
        try:
            super().start()
        except EmbeddedError:
            aside = self.data_dir().with_name(f"valkey.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            if not any(self.data_dir().iterdir()) or aside.exists():
                raise
            self.data_dir().rename(aside)
            self.say(f"valkey can't read its file: put aside as {aside}; queued work is found again in the database.")
            super().start()

    def prepare(self) -> None:
        self.data_dir().mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str]:
        return [str(valkey_program(self.env)), str(self._write_config())]

    def is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:  # not listening yet, or still loading
            return False
        finally:
            client.close()

    def _password(self) -> str:
        return kept_secret(self.env.secrets_dir / "valkey_password", lambda: secrets.token_urlsafe(24))

    def _write_config(self) -> Path:
        """The settings go through a file of our own: a command line, and so a password in it, is public."""
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": json.dumps(str(self.data_dir())),
            "pidfile": json.dumps(str(self.pid_file())),
            "requirepass": self._password(),
            "databases": "64",
            "appendonly": "yes" if self.tuning.is_durable else "no",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        path = self.env.var_dir / "run" / "valkey.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())
        return path


@dataclass
class EmbeddedServers:
    """Those of the two servers that the environment doesn't name."""

    env: Settings
    say: Say
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        self.postgres = Postgres(self.env, self.tuning, self.say) if self.env.uses_embedded_database else None
        self.valkey = Valkey(self.env, self.tuning, self.say) if self.env.uses_embedded_broker else None

    @property
    def servers(self) -> list[Postgres | Valkey]:
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def start(self) -> None:
        """Start them and write down where they are. Raises `EmbeddedError`, with nothing left running."""
        make_private_folders(self.env)
        try:
            for server in self.servers:
                server.start()
        except BaseException:
            self.stop()
            raise
        self._write_urls()

    def stop(self) -> None:
        forget_embedded_urls(self.env)
        for server in self.servers:
            server.stop()

    def restart_dead(self) -> bool:
        """Start again what ended by itself. Returns whether an address had to change. Raises `EmbeddedError`."""
        is_moved = False
        for server in self.servers:
            if not server.is_running():
                self.say(f"{server.name} stopped unexpectedly: starting it again.")
                old_port = server.port
                server.start()
                is_moved = is_moved or server.port != old_port
        if is_moved:
            self._write_urls()
        return is_moved

    def _write_urls(self) -> None:
        urls = {}
        if self.postgres:
            urls["database_url"] = self.postgres.url
        if self.valkey:
            urls["redis_url"] = self.valkey.url
        write_embedded_urls(self.env, urls)


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
