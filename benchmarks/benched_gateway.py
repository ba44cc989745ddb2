"""The gateway that is measured: a database with APIs in it, the files of their models, and the real processes."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg

from benchmarks.bench_models import BenchModel
from benchmarks.load import Target
from benchmarks.processes import ServerProcess, clean_environment
from contract.settings import PROJECT_DIR, Settings, read_settings
from runtime.embedded.postgres import Postgres
from runtime.embedded.server import Tuning, free_port, make_private_folders
from runtime.processes import wait_until
from testkit.seeder import Seeder

LOOPBACK_NETWORK = "127.0.0.0/8"
_READY_S = 60.0


@dataclass(frozen=True)
class BenchApi:
    """One operating API."""

    id: str
    key: str
    model: BenchModel
    port: int

    def target(self) -> Target:
        """One row as JSON."""
        body = msgspec.json.encode({"rows": [self.model.spec.sample]})
        return Target(self.port, self.path, body, {"x-api-key": self.key, "content-type": "application/json"})

    @property
    def path(self) -> str:
        return f"/apis/{self.id}/predict"


class DatabaseServer:
    """The project's embedded PostgreSQL, as `make run` starts it, for all installations of one bench."""

    def __init__(self, var_dir: Path) -> None:
        self._env = read_settings({"VAR_DIR": str(var_dir / "database")})
        self._server = Postgres(self._env, Tuning(), lambda text: print(text, file=sys.stderr))

    def start(self) -> None:
        make_private_folders(self._env)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def create(self, name: str, *, template: str | None = None) -> str:
        """A new database; returns its address."""
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return urlsplit(self._server.url)._replace(path=f"/{name}").geturl()


class BenchedGateway:
    """One database and one gateway on it, with a VAR_DIR and a port of its own."""

    def __init__(
        self,
        name: str,
        database_url: str,
        var_dir: Path,
        *,
        workers: int,
        project_dir: Path | None = None,
        memory_mb: int = 512,
    ) -> None:
        """`project_dir`: a working tree of this project, of another commit. `memory_mb`: for models, a worker."""
        self.name = name
        self._project_dir = project_dir or PROJECT_DIR
        self._url = database_url
        self._variables = clean_environment(
            DATABASE_URL=database_url,
            REDIS_URL="redis://127.0.0.1:1/0",  # the gateway doesn't know it; a migration doesn't need it
            VAR_DIR=str(var_dir / name),
            GATEWAY_PORT=str(free_port()),
            CONSOLE_PORT=str(free_port()),
            METRICS_BIND=f"127.0.0.1:{free_port()}",
            GATEWAY_WORKERS=str(workers),
            MODEL_MEMORY_MB=str(memory_mb),
        )
        self.environment: Settings = read_settings(self._variables)
        make_private_folders(self.environment)
        self.gateway: ServerProcess | None = None
        self._rows = Seeder(database_url, self.environment.model_store_dir)

    @property
    def port(self) -> int:
        return self.environment.gateway_port

    def migrate(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0", "--skip-checks"],
            cwd=self._project_dir,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"migrate: {done.stderr}")

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url, autocommit=True)

    # --- what is served ---

    def add_api(self, model: BenchModel, *, networks: Sequence[str] = (LOOPBACK_NETWORK,)) -> BenchApi:
        return self.add_apis(model, 1, networks=networks)[0]

    def add_apis(
        self, model: BenchModel, number: int, *, networks: Sequence[str] = (LOOPBACK_NETWORK,)
    ) -> list[BenchApi]:
        """Operating APIs of one file."""
        seeded = self._rows.apis((model.spec, model.content), number, networks=networks)
        return [BenchApi(api.id, api.key, model, self.port) for api in seeded]

    # --- the gateway ---

    def start(self) -> float:
        """Start the gateway. Returns the seconds until its workers are in step with the database and accept."""
        began = time.monotonic()
        self.gateway = ServerProcess(
            f"gateway-{self.name}",
            [sys.executable, "-m", "gateway"],
            cwd=self._project_dir,
            env=self._variables,
            log_dir=self.environment.log_dir,
        )
        gateway = self.gateway
        if not wait_until(lambda: self._in_step() or not gateway.is_running, _READY_S) or not gateway.is_running:
            raise RuntimeError(f"the gateway does not start:\n{gateway.log()}")
        return time.monotonic() - began

    @property
    def running(self) -> ServerProcess:
        assert self.gateway is not None
        return self.gateway

    def wait_loaded(self, timeout_s: float = 180.0) -> float:
        """Until each worker has loaded every operating API's model. Returns the seconds that took."""
        began = time.monotonic()

        def is_loaded() -> bool:
            loads, apis = self._rows.sql(
                "SELECT (SELECT count(*) FROM apimgmt_modelload l JOIN apimgmt_gatewayworker w ON w.id = l.worker_id"
                " WHERE w.gone_at IS NULL AND l.is_loaded),"
                " (SELECT count(*) FROM apimgmt_predictionapi WHERE target = 'operating')"
            )[0]
            return bool(loads >= apis * self.environment.gateway_workers)

        if not wait_until(is_loaded, timeout_s, 0.1):
            raise RuntimeError("the models were not loaded in time")
        return time.monotonic() - began

    def stop(self) -> None:
        if self.gateway is not None:
            self.gateway.stop()

    def _in_step(self) -> bool:
        """All workers of this gateway serve."""
        with suppress(psycopg.Error):
            serving = self._rows.sql(
                "SELECT count(*) FROM apimgmt_gatewayworker WHERE gone_at IS NULL AND state = 'serving'"
            )[0][0]
            return bool(serving >= self.environment.gateway_workers and get(self.port, "/readyz")[0] == 200)
        return False

    def counted(self, api: BenchApi) -> int:
        """Requests of that API which are written out, whatever their status."""
        return sum(self._rows.counts(api.id))

    def requests_by_worker(self, api: BenchApi) -> dict[str, int]:
        """Answers of each worker slot to that API, as /metrics tells."""
        assert self.environment.metrics_bind is not None
        page = get(self.environment.metrics_bind[1], "/metrics")[1].decode()
        found: dict[str, int] = {}
        for line in page.splitlines():
            if line.startswith("gateway_requests_total{") and f'"{api.id}"' in line:
                slot = re.search(r'slot="(\d+)"', line)
                assert slot
                found[slot[1]] = found.get(slot[1], 0) + int(float(line.rpartition(" ")[2]))
        return found


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body; status 0 when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
