"""`make run` as people type it, with the project's own processes, from an empty VAR_DIR."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import PROJECT_DIR
from runtime import processes
from tests.runtime.running import Run
from tests.stack import http_status

pytestmark = pytest.mark.long

READY = "Stop  +Ctrl-C"


@pytest.mark.timeout(240)
def test_the_whole_installation_starts_answers_stops_and_starts_again(tmp_path: Path):
    first = Run(tmp_path, None).wait_for(READY, 120)
    try:
        _check_it_works(first)
        pids = first.pids()
    finally:
        code = first.stop(signal.SIGTERM)

    assert code != 0  # make says that it was interrupted
    assert not [pid for pid in pids if processes.is_alive(pid)]
    assert "Everything is stopped." in first.output
    assert "by force" not in first.output
    assert "Traceback" not in first.output

    second = Run(tmp_path, None, **first.variables).wait_for(READY, 60)
    try:
        assert _password(second) == _password(first)
        assert "stopped unexpectedly" not in second.output
    finally:
        second.stop(signal.SIGTERM)
    assert not processes.instance_members(second.instance)


def _check_it_works(run: Run) -> None:
    assert http_status(f"{run.env.console_url}/accounts/login/") == 200
    assert http_status(f"{run.env.gateway_url}/readyz") == 200
    assert _password(run) == (run.env.var_dir / "demo-password").read_text().strip()
    users = subprocess.run(
        [
            sys.executable,
            "manage.py",
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.auth.models import User as U;"
            "print(*sorted(U.objects.values_list('username', flat=True)))",
        ],
        cwd=PROJECT_DIR,
        env=run.process_env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert users.stdout.split() == ["administrator", "operator", "viewer"]


def _password(run: Run) -> str:
    found = re.search(r"Password +(\S+)", run.output)
    assert found is not None, run.output
    return found[1]
