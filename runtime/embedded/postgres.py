"""The embedded PostgreSQL."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from contract.secret_files import kept_secret
from contract.settings import LOOPBACK
from runtime.embedded.server import EmbeddedServer
from runtime.programs import ELSEWHERE, EmbeddedError, RunAs, bare_environment, choose_run_as

DATABASE = ROLE = "console"


class Postgres(EmbeddedServer):
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
        """Make the data directory on first use, in one step: an interrupted one is made again."""
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
        self.say(f"PostgreSQL can't run as root with its data in {self.env.var_dir}: the data is in {draft}.")

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
            raise EmbeddedError(f"initdb can't create the database's folder:\n{(made.stderr or made.stdout).strip()}")

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
