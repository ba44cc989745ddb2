"""Where drills take place: servers of their own that may be killed, and a finished installation to copy.

Making an installation takes a quarter of a minute; a copy of its database and of its model store takes a moment.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg import sql

from contract.connections import broker_url, database_url
from contract.settings import read_settings
from drills.apis import DrillApi
from runtime import processes
from runtime.embedded import EmbeddedServers
from testkit.live_installation import LiveInstallation, fresh_variables

_COPIED = ("models", "static")
_KEPT = ("PATH", "HOME", "LANG", "POSTGRES_BIN", "VALKEY_BIN", "TEST_RUN_DIR")


class Site(LiveInstallation):
    """One drill's installation: two official APIs, a trial of 100, and demo models that are not launched."""

    def __init__(self, variables: dict[str, str], apis: list[DrillApi], *, template: str | None = None) -> None:
        super().__init__(variables, template=template)
        self.apis = apis

    @property
    def official(self) -> DrillApi:
        return next(api for api in self.apis if api.type == "official")

    @property
    def neighbour(self) -> DrillApi:
        """Another official API; its model has a second version."""
        return [api for api in self.apis if api.type == "official"][1]

    @property
    def trial(self) -> DrillApi:
        return next(api for api in self.apis if api.type == "trial")

    def counts(self, api: DrillApi) -> dict[int, int]:
        """What is counted: status class (200, 400, 500) -> requests."""
        query = "SELECT sum(count_200), sum(count_4xx), sum(count_5xx) FROM apimgmt_requeststat WHERE api_id = %s"
        return dict(zip((200, 400, 500), (int(number or 0) for number in self.psql(query, [api.id])[0]), strict=True))

    # Steps at which a process is to die (`contract.fault_points`).

    @property
    def faults(self) -> Path:
        return Path(self.env["DRILL_FAULTS"])

    def arm(self, step: str) -> None:
        (self.faults / step).touch()

    def disarm(self, step: str) -> None:
        (self.faults / step).unlink(missing_ok=True)

    def is_armed(self, step: str) -> bool:
        return (self.faults / step).exists()

    # Backups, as copies on the same server; the database must be away.

    def copy_database(self, name: str) -> None:
        with self.server() as server:
            self._copy(server, self.database, f"{self.database}_{name}")

    def restore_database(self, name: str) -> None:
        """What `copy_database` kept takes the database's place."""
        with self.server() as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.database)))
            self._copy(server, f"{self.database}_{name}", self.database)

    @staticmethod
    def _copy(server: psycopg.Connection[tuple[Any, ...]], source: str, copy: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        server.execute(statement.format(sql.Identifier(copy), sql.Identifier(source)))

    @contextmanager
    def second_gateway(self, *, shares_ledgers: bool = False) -> Iterator[LiveInstallation]:
        """A further group of gateway workers, on another port, as on a further machine: only models are shared."""
        var_dir = self.environment.var_dir
        if not shares_ledgers:
            var_dir = var_dir.with_name(f"{var_dir.name}-second")
            var_dir.mkdir()
            (var_dir / "models").symlink_to(self.environment.model_store_dir)
        beside = LiveInstallation(fresh_variables(self.env, var_dir), database=self.database)
        try:
            yield beside.start("gateway")
        finally:
            beside.stop()


class Testbed:
    """All drills of one run. `folder` is theirs alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.servers = EmbeddedServers(
            read_settings(kept | {"VAR_DIR": str(folder / "servers"), "ENV_FILE": os.devnull}), _say
        )
        self._base = kept | {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_urlsafe(40),
            "KEY_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "DEMO_PASSWORD": secrets.token_urlsafe(9),
        }
        self._finished: Site | None = None

    def start(self) -> None:
        """Start the servers and make the installation that the drills copy."""
        self.servers.start()
        self._finished = Site(self._variables("finished"), [])
        self._finished.start("gateway")
        done = self._finished.run(sys.executable, "-m", "drills.prepare")
        self._finished.apis = [DrillApi(**api) for api in json.loads(done.stdout)]
        self._finished.stop()

    def stop(self) -> None:
        if self._finished is not None:
            self._finished.close()
        data = self.folder / "servers" / "postgres"
        place = data.resolve()
        self.servers.stop()
        if data.is_symlink():  # root's PostgreSQL may keep its data elsewhere
            shutil.rmtree(place)

    @property
    def valkey_pid(self) -> int:
        server = self.servers.valkey
        if server is None or server.pid is None:
            raise RuntimeError("the broker is not running")
        return server.pid

    def kill_postgres(self) -> None:
        """SIGKILL to every process of the database server."""
        victims = self._postgres_processes()
        processes.signal_all([victim.pid for victim in victims], signal.SIGKILL)
        psutil.wait_procs(victims, timeout=10)

    @contextmanager
    def frozen_postgres(self) -> Iterator[None]:
        """It takes connections, as the kernel does that for it, and answers nothing."""
        pids = [one.pid for one in self._postgres_processes()]
        processes.signal_all(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            processes.signal_all(pids, signal.SIGCONT)

    def _postgres_processes(self) -> list[psutil.Process]:
        server = self.servers.postgres
        if server is None or server.pid is None:
            raise RuntimeError("the database is not running")
        main = psutil.Process(server.pid)
        return [*main.children(recursive=True), main]  # backends are sessions of their own

    @contextmanager
    def site(self, *names: str, **variables: str) -> Iterator[Site]:
        """A fresh copy, with these processes running."""
        finished = self._finished
        if finished is None:
            raise RuntimeError("the ground was not started")
        made = self._variables(f"site{next(self._numbers)}") | variables
        for name in _COPIED:
            shutil.copytree(finished.environment.var_dir / name, Path(made["VAR_DIR"]) / name, symlinks=True)
        faults = Path(made["VAR_DIR"]) / "faults"
        faults.mkdir()
        made["DRILL_FAULTS"] = str(faults)
        site = Site(made, finished.apis, template=finished.database)
        try:
            if names:
                site.start(*names)
            yield site
        finally:
            site.close()

    def _variables(self, name: str) -> dict[str, str]:
        environment = self.servers.env
        number = next(self._numbers)
        broker = urlsplit(broker_url(environment))._replace(path=f"/{number % 60}").geturl()
        servers = {"DATABASE_URL": database_url(environment), "REDIS_URL": broker}
        return fresh_variables(self._base | servers, self.folder / name)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
