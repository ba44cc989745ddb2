"""Each Python version the project is made for, where this machine has it, compiles and imports every module."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from contract.settings import PROJECT_DIR
from tests.pythons import interpreters

PACKAGES = ("contract", "inference", "gateway", "apimgmt", "console", "runtime")
READ_IN_THE_CHILD = "inference.conversion."
"""All that may need more than requirements.txt: what reads another library's file."""
HERE = Path(__file__).parent
INTERPRETERS = interpreters.found()

each_python = pytest.mark.parametrize("version", INTERPRETERS)


@each_python
def test_every_module_compiles_and_its_standard_library_is_there(version: str) -> None:
    sources = [str(path) for package in PACKAGES for path in sorted((PROJECT_DIR / package).rglob("*.py"))]

    checked = _run(INTERPRETERS[version], "-W", "error", str(HERE / "check_sources.py"), *sources)

    assert len(sources) > 100
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + checked.stderr


def test_what_a_version_lacks_is_found(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "import asyncore_of_ours\ntry:\n    import imp\nexcept ImportError:\n    pass\nimport os.nothing\n"
    )

    checked = _run(next(iter(INTERPRETERS.values())), str(HERE / "check_sources.py"), str(source))

    assert checked.stdout == f"{source}:6: os.nothing\n"


@pytest.mark.long
@pytest.mark.timeout(900)
@each_python
def test_every_module_is_imported_with_what_it_needs(version: str, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    made = _run(INTERPRETERS[version], "-m", "venv", str(tmp_path / "venv"))
    assert made.returncode == 0, made.stderr
    installed = _run(str(python), "-m", "pip", "install", "-q", "-r", "requirements.txt")
    assert installed.returncode == 0, installed.stderr

    imported = _run(str(python), str(HERE / "import_all.py"), *PACKAGES)

    assert imported.returncode == 0, imported.stdout + imported.stderr
    assert int(imported.stdout.split()[0]) > 100
    waiting = imported.stdout.splitlines()[-1].removeprefix("need an extra:").split()
    assert all(name.startswith(READ_IN_THE_CHILD) for name in waiting), waiting


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | {"PYTHONPATH": str(PROJECT_DIR), "DJANGO_SETTINGS_MODULE": "console.settings"}
    return subprocess.run(command, cwd=PROJECT_DIR, env=variables, capture_output=True, text=True, check=False)
