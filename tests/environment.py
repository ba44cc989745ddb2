"""The variables that tests run with, set before Django reads its settings. Imported by `tests.settings` for that.

A developer's own variables and `.env` must not change what a test sees, and each xdist worker has its own VAR_DIR and
Redis database numbers; pytest-django gives each its own PostgreSQL database.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract.settings import read_settings
from runtime.testing import RUN_VARIABLE
from testkit.live_installation import unused_port

SERVER_VARIABLES = ("DATABASE_URL", "REDIS_URL", "POSTGRES_BIN", "VALKEY_BIN")


class _Recorder(Mapping[str, str]):
    """An empty environment that notes what it is asked for."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.names.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def variable_names() -> list[str]:
    """Every variable that `read_settings` knows."""
    recorder = _Recorder()
    read_settings(recorder)
    return list(dict.fromkeys(recorder.names))


def worker_index() -> int:
    """0, 1, 2 ... of this xdist worker; 0 without xdist."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def broker_database(offset: int) -> str:
    """A Redis URL of this worker's own: offset 0 for tests and the shared stack, 1 for further ones."""
    parts = urlsplit(_servers["REDIS_URL"])
    base = int(parts.path.strip("/") or 0)
    return parts._replace(path=f"/{base + 2 * worker_index() + offset}").geturl()


def clean_variables() -> dict[str, str]:
    """The environment without any setting of ours, then the servers."""
    ours = set(variable_names()) | {"ENV_FILE"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | _servers | {"ENV_FILE": os.devnull}


def _prepare() -> None:
    if not (_servers.get("DATABASE_URL") and _servers.get("REDIS_URL")):
        raise pytest.UsageError(
            "tests need PostgreSQL and Valkey: run `make test` (`make test T=tests/gateway` narrows it), "
            "or set DATABASE_URL and REDIS_URL"
        )
    run_dir = os.environ.get(RUN_VARIABLE)
    var_dir = Path(tempfile.mkdtemp(prefix="var-", dir=run_dir))
    if run_dir is None:
        atexit.register(shutil.rmtree, var_dir, ignore_errors=True)
    variables = clean_variables() | {
        "REDIS_URL": broker_database(0),
        "VAR_DIR": str(var_dir),
        "CONSOLE_PORT": str(unused_port()),
        "GATEWAY_PORT": str(unused_port()),
        "SECRET_KEY": "only-for-tests-" * 4,
    }
    os.environ.clear()
    os.environ.update(variables)


_servers = {name: os.environ[name] for name in SERVER_VARIABLES if os.environ.get(name)}
_prepare()
