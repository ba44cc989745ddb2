"""Fixtures for the gateway's tests."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from contract.settings import Settings, read_settings
from gateway.processes.worker import Worker
from tests.gateway.raw_http import QUICK, Served, serving
from tests.gateway.serving import Api, Caller, Seeder, loaded, running_worker
from tests.model_files import cancer


@pytest.fixture
def rows(stack_template: str, tmp_path: Path) -> Iterator[Seeder]:
    """A migrated database of the test's own and a model store beside it."""
    server_url = os.environ["DATABASE_URL"]
    name = f"gateway_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{stack_template}"')
    yield Seeder(urlsplit(server_url)._replace(path=f"/{name}").geturl(), tmp_path / "models")
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def gateway_env(rows: Seeder, tmp_path: Path) -> Settings:
    """Variables of a worker over that database; change them with `dataclasses.replace`."""
    return read_settings({"DATABASE_URL": rows.url, "VAR_DIR": str(tmp_path), "TRUSTED_PROXIES": "10.0.0.0/8"})


@pytest.fixture
async def worker(gateway_env: Settings) -> AsyncIterator[Worker]:
    """One worker in this process, in step."""
    async with running_worker(gateway_env) as running:
        yield running


@pytest.fixture
def call(worker: Worker) -> Caller:
    """Calls that worker."""
    return Caller(worker)


@pytest.fixture
async def served(worker: Worker) -> AsyncIterator[Served]:
    """The worker behind its own HTTP server, with bounds that are quick to reach."""
    async with serving(worker, QUICK) as running:
        yield running


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    """A classifier of one matrix that the worker has loaded."""
    made = rows.api(cancer())
    await loaded(worker, made)
    return made
