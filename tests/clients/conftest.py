"""Clients nobody here wrote, in an environment of their own, against a running gateway."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from runtime.environment import PROJECT_DIR
from tests.live.conftest import LiveApi, launch, running

__all__ = ["launch", "running"]

STEMS = ("penguins", "breast_cancer", "diabetes")
REQUIREMENTS = PROJECT_DIR / "requirements-clients.txt"
ENVIRONMENT = PROJECT_DIR / ".venv-clients"
SCRIPTS = Path(__file__).parent / "scripts"

RunScript = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def clients_bin() -> Path:
    """The folder of programs of the clients' environment; made when something in its requirements changed."""
    with REQUIREMENTS.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # xdist workers come at once
        stamp, wanted = ENVIRONMENT / "stamp", hashlib.sha256(lock.read()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True, capture_output=True)
            pip = [ENVIRONMENT / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            done = subprocess.run([*pip, "-r", REQUIREMENTS], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            stamp.write_text(wanted)
    return ENVIRONMENT / "bin"


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
