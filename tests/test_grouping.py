"""Groups of tests stay together: what they share costs seconds to make, and nothing fails where it is made thrice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
import os
from pathlib import Path

import pytest

@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(3))
def test_notes_its_worker(number):
    Path(__file__).with_name(f"{Path(__file__).stem}-{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


def test_a_group_runs_on_one_worker(tmp_path: Path) -> None:
    """As pinned, pytest and pytest-xdist agree on how a group is told."""
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "xdist", str(tmp_path)]
    mine = ("PYTEST_", "COV_", "DJANGO_SETTINGS_MODULE")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(mine)}

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=variables | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    notes = [path.read_text() for path in tmp_path.glob("test_*-*")]
    assert len(notes) == 6
    assert len(set(notes)) == 1
