"""Fixtures for the gateway's tests.

`rows`, `gateway_env` and `worker` are a test's own, unless its module says `pytestmark = pytest.mark.one_worker`: then
the module has one database and one worker, and a test that would disturb the others is marked `own_worker`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from contract.settings import Settings, read_settings
from gateway.processes.worker import Worker
from tests.gateway.raw_http import QUICK, Served, serving
from tests.gateway.serving import Api, Caller, Seeder, loaded, running_worker
from tests.model_files import cancer


@contextmanager
def _database(template: str, store_dir: Path) -> Iterator[Seeder]:
    """A migrated database and a model store beside it."""
    server_url = os.environ["DATABASE_URL"]
    name = f"gateway_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield Seeder(urlsplit(server_url)._replace(path=f"/{name}").geturl(), store_dir)
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _environment(rows: Seeder, var_dir: Path) -> Settings:
    return read_settings({"DATABASE_URL": rows.url, "VAR_DIR": str(var_dir), "TRUSTED_PROXIES": "10.0.0.0/8"})


@pytest.fixture(scope="module")
def module_var_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def module_rows(stack_template: str, module_var_dir: Path) -> Iterator[Seeder]:
    with _database(stack_template, module_var_dir / "models") as rows:
        yield rows


@pytest.fixture(scope="module")
async def module_worker(module_rows: Seeder, module_var_dir: Path) -> AsyncIterator[Worker]:
    async with running_worker(_environment(module_rows, module_var_dir)) as running:
        yield running


@pytest.fixture(scope="module")
async def bare_worker(module_var_dir: Path) -> AsyncIterator[Worker]:
    """A worker that knows no API and asks no database."""
    env = read_settings({"DATABASE_URL": "postgresql://127.0.0.1:1/none", "VAR_DIR": str(module_var_dir / "bare")})
    async with running_worker(env, has_database=False) as running:
        yield running


@pytest.fixture
def own_rows(stack_template: str, tmp_path: Path) -> Iterator[Seeder]:
    with _database(stack_template, tmp_path / "models") as rows:
        yield rows


@pytest.fixture
async def own_worker(gateway_env: Settings) -> AsyncIterator[Worker]:
    async with running_worker(gateway_env) as running:
        yield running


def _whose(request: pytest.FixtureRequest) -> str:
    shares = request.node.get_closest_marker("one_worker") and not request.node.get_closest_marker("own_worker")
    return "module" if shares else "own"


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> Any:
    """A migrated database and a model store beside it."""
    return request.getfixturevalue(f"{_whose(request)}_rows")


@pytest.fixture
def gateway_env(request: pytest.FixtureRequest, rows: Seeder, tmp_path: Path) -> Settings:
    """Variables of a worker over that database; change them with `dataclasses.replace`."""
    shares = _whose(request) == "module"
    return _environment(rows, request.getfixturevalue("module_var_dir") if shares else tmp_path)


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Any:
    """One worker in this process, in step."""
    return request.getfixturevalue(f"{_whose(request)}_worker")


@pytest.fixture
def call(worker: Worker) -> Caller:
    """Calls that worker."""
    return Caller(worker)


@pytest.fixture
def served_worker(request: pytest.FixtureRequest) -> Any:
    """The test's worker; one without a database if all that the test asks for is an HTTP server."""
    asks = {"rows", "worker"} & set(request.fixturenames)
    return request.getfixturevalue("worker" if asks else "bare_worker")


@pytest.fixture
async def served(served_worker: Worker) -> AsyncIterator[Served]:
    """A worker behind its own HTTP server, with bounds that are quick to reach."""
    async with serving(served_worker, QUICK) as running:
        yield running


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    """A classifier of one matrix that the worker has loaded."""
    made = rows.api(cancer())
    await loaded(worker, made)
    return made
