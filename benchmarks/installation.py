"""An installation to be measured: a database with APIs in it, the files of their models, and the real gateway."""

from __future__ import annotations

import hashlib
import http.client
import re
import secrets
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
from psycopg.types.json import Jsonb

from benchmarks.bench_models import BenchModel
from benchmarks.load import Target
from benchmarks.processes import ServerProcess, clean_environment
from contract.api_keys import key_digest, new_key
from contract.model_spec import spec_to_json
from contract.model_store import stored_path
from contract.settings import PROJECT_DIR, Settings, read_settings
from runtime.embedded import Postgres, Tuning, free_port, make_private_folders
from runtime.processes import wait_until

LOOPBACK_NETWORK = "127.0.0.0/8"
_READY_S = 60.0

_INSERT_API = """
INSERT INTO apimgmt_predictionapi (id, model_id, type, status, target, is_locked, version_id, key_digest,
    revision, status_since, created_at, created_by)
VALUES (%s, %s, 'official', 'operating', 'operating', false, %s, %s, 0, now(), now(), 'bench')
"""
_INSERT_NETWORK = """
INSERT INTO apimgmt_whitelistentry (api_id, network, note, created_at, created_by) VALUES (%s, %s, '', now(), 'bench')
"""


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


class Installation:
    """One database and one gateway on it, with a VAR_DIR and a port of its own."""

    def __init__(self, name: str, database_url: str, var_dir: Path, *, workers: int) -> None:
        self.name = name
        self._url = database_url
        self._variables = clean_environment(
            DATABASE_URL=database_url,
            REDIS_URL="redis://127.0.0.1:1/0",  # the gateway doesn't know it; a migration doesn't need it
            VAR_DIR=str(var_dir / name),
            GATEWAY_PORT=str(free_port()),
            CONSOLE_PORT=str(free_port()),
            METRICS_BIND=f"127.0.0.1:{free_port()}",
            GATEWAY_WORKERS=str(workers),
        )
        self.environment: Settings = read_settings(self._variables)
        make_private_folders(self.environment)
        self.gateway: ServerProcess | None = None
        self._versions: dict[str, tuple[int, int]] = {}
        self._workspace = 0

    @property
    def port(self) -> int:
        return self.environment.gateway_port

    def migrate(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "migrate", "--no-input", "--verbosity", "0", "--skip-checks"],
            cwd=PROJECT_DIR,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"migrate: {done.stderr}")

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url, autocommit=True)

    # --- what is served ---

    def add_api(self, model: BenchModel, *, networks: Sequence[str] = (LOOPBACK_NETWORK,)) -> BenchApi:
        return self.add_apis(model, 1, networks=networks)[0]

    def add_apis(
        self, model: BenchModel, number: int, *, networks: Sequence[str] = (LOOPBACK_NETWORK,)
    ) -> list[BenchApi]:
        """Operating APIs of one file: rows as the console would leave them after a launch."""
        made = []
        with psycopg.connect(self._url) as connection:
            for _ in range(number):
                model_id, version_id = self._add_version(connection, model)
                api = BenchApi(secrets.token_hex(8), new_key(), model, self.port)
                connection.execute(_INSERT_API, [api.id, model_id, version_id, key_digest(api.key)])
                made.append(api)
            with connection.cursor() as cursor:
                cursor.executemany(_INSERT_NETWORK, [(api.id, network) for api in made for network in networks])
        return made

    def _add_version(self, connection: psycopg.Connection[tuple[Any, ...]], model: BenchModel) -> tuple[int, int]:
        """A model of its own for each API: at most one API of a model exists at a time."""
        sha256 = hashlib.sha256(model.content).hexdigest()
        path = stored_path(self.environment.model_store_dir, sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(model.content)
        workspace_id = _one(
            connection,
            "INSERT INTO apimgmt_workspace (name, edition, api_options) VALUES ('bench', 'standard', 10000)"
            " ON CONFLICT (name) DO UPDATE SET api_options = 10000 RETURNING id",
        )
        model_id = _one(
            connection,
            "INSERT INTO apimgmt_model (workspace_id, name, created_at, created_by) VALUES (%s, %s, now(), 'bench')"
            " RETURNING id",
            *(workspace_id, secrets.token_hex(6)),
        )
        version_id = _one(
            connection,
            "INSERT INTO apimgmt_modelversion"
            " (model_id, number, sha256, size_bytes, format, task, spec, created_at, created_by)"
            " VALUES (%s, 1, %s, %s, 'onnx', %s, %s, now(), 'bench') RETURNING id",
            *(model_id, sha256, len(model.content), model.spec.task, Jsonb(spec_to_json(model.spec))),
        )
        return model_id, version_id

    # --- the gateway ---

    def start(self) -> float:
        """Start the gateway. Returns the seconds until its workers are in step with the database and accept."""
        began = time.monotonic()
        self.gateway = ServerProcess(
            f"gateway-{self.name}",
            [sys.executable, "-m", "gateway"],
            cwd=PROJECT_DIR,
            env=self._variables,
            log_dir=self.environment.log_dir,
        )
        gateway = self.gateway
        if not wait_until(lambda: self._in_step() or not gateway.is_running, _READY_S) or not gateway.is_running:
            raise RuntimeError(f"the gateway does not start:\n{gateway.log()}")
        return time.monotonic() - began

    def wait_loaded(self, timeout_s: float = 180.0) -> float:
        """Until each worker has loaded every operating API's model. Returns the seconds that took."""
        began = time.monotonic()

        def is_loaded() -> bool:
            loads, apis = self.sql(
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
            serving = self.sql(
                "SELECT count(*) FROM apimgmt_gatewayworker WHERE gone_at IS NULL AND state = 'serving'"
            )[0][0]
            return bool(serving >= self.environment.gateway_workers and get(self.port, "/readyz")[0] == 200)
        return False

    def counted(self, api: BenchApi) -> int:
        """Requests of that API which are written out, whatever their status."""
        return int(
            self.sql(
                "SELECT coalesce(sum(count_200 + count_4xx + count_5xx), 0) FROM apimgmt_requeststat WHERE api_id = %s",
                api.id,
            )[0][0]
        )

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


def _one(connection: psycopg.Connection[tuple[Any, ...]], query: str, *values: Any) -> int:
    """The one value that a statement returns."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])


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
