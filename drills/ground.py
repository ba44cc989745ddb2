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
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from drills.apis import DrillApi
from runtime.connections import broker_url, database_url
from runtime.embedded import EmbeddedServers
from runtime.environment import PROJECT_DIR, read_environment
from runtime.installation import Installation, Service, fresh_variables

_COPIED = ("models", "static")
_KEPT = ("PATH", "HOME", "LANG", "POSTGRES_BIN", "VALKEY_BIN", "TEST_RUN_DIR")


class Site(Installation):
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
        """What the books say: status class (200, 400, 500) -> requests."""
        query = "SELECT sum(count_200), sum(count_4xx), sum(count_5xx) FROM apimgmt_requeststat WHERE api_id = %s"
        return dict(zip((200, 400, 500), (int(number or 0) for number in self.psql(query, [api.id])[0]), strict=True))

    def second_gateway(self) -> Service:
        """A further group of gateway workers on a port of its own, with a VAR_DIR of its own but the same models."""
        var_dir = self.environment.var_dir.with_name(self.environment.var_dir.name + "-second")
        var_dir.mkdir()
        (var_dir / "models").symlink_to(self.environment.model_store_dir)
        variables = fresh_variables(self.env, var_dir)
        beside = Beside(self, variables)
        return beside.gateway


class Beside(Installation):
    """Further processes on another installation's database."""

    def __init__(self, first: Installation, variables: dict[str, str]) -> None:
        self.first = first
        super().__init__(variables | {"DATABASE_URL": first.env["DATABASE_URL"]})

    def _create_database(self, template: str | None) -> None:
        self.database = self.first.database
        self.env["DATABASE_URL"] = self.first.env["DATABASE_URL"]


class Ground:
    """All drills of one run. `folder` is theirs alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.servers = EmbeddedServers(
            read_environment(kept | {"VAR_DIR": str(folder / "servers"), "ENV_FILE": os.devnull}), _say
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
        with self._finished.server() as server:
            server.execute("SELECT 1")
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

    @contextmanager
    def site(self, *names: str, **variables: str) -> Iterator[Site]:
        """A fresh copy, with these processes running."""
        finished = self._finished
        if finished is None:
            raise RuntimeError("the ground was not started")
        made = self._variables(f"site{next(self._numbers)}") | variables
        for name in _COPIED:
            shutil.copytree(finished.environment.var_dir / name, Path(made["VAR_DIR"]) / name, symlinks=True)
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


def worker_pids(gateway: Service) -> list[int]:
    """The gateway's worker processes, in the order of their slots."""
    children = [child for child in psutil.Process(gateway.pid).children() if "gateway.worker" in child.cmdline()]
    return [child.pid for child in sorted(children, key=lambda child: int(child.cmdline()[4]))]


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


__all__ = ["PROJECT_DIR", "Beside", "Ground", "Site", "worker_pids"]
