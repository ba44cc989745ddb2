"""Clients nobody here wrote, in an environment of their own, against a running gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from contract.settings import PROJECT_DIR
from runtime import install
from tests.live.conftest import LiveApi, launch, running

__all__ = ["launch", "running"]

STEMS = ("penguins", "breast_cancer", "diabetes")
SCRIPTS = Path(__file__).parent / "scripts"

RunScript = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def clients_bin() -> Path:
    """The folder of programs of the clients' environment, which `make test` makes."""
    environment = install.VirtualEnvironment(PROJECT_DIR / install.CLIENTS)
    for name in install.FILES["dev"][install.CLIENTS]:
        assert environment.has_installed(name), f"{name} is not installed: make environment-dev"
    return environment.python.parent


@pytest.fixture
def run_script(clients_bin: Path, tmp_path: Path) -> RunScript:
    """Run one of the scripts against an API; returns what it prints, as JSON."""

    def run(name: str, api: LiveApi) -> dict[str, Any]:
        spec = json.loads((PROJECT_DIR / f"demo/models/{api.stem}.json").read_text())
        facts = {
            "base": api.base,
            "host": urlsplit(api.base).netloc,
            "id": api.id,
            "key": api.key,
            "sample": api.sample,
            "types": {column["name"]: column["type"] for column in spec["columns"]},
        }
        done = subprocess.run(
            [clients_bin / "python", "-W", "ignore", SCRIPTS / f"{name}.py"],
            input=json.dumps(facts),
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return run


@pytest.fixture(params=STEMS)
def api(request: pytest.FixtureRequest, launch: Callable[..., LiveApi]) -> LiveApi:
    """An official API of each demo model in turn."""
    return launch(stem=request.param, type="official")
