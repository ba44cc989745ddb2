"""The Python interpreters of this machine that the project is made for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")

_VERSION_MANAGERS = ("~/.pyenv/versions", "~/.local/share/uv/python")


def found() -> dict[str, str]:
    """Version -> program: one of each version that runs; the one that runs this is always among them."""
    own = "{}.{}".format(*sys.version_info[:2])
    others = {version: _program(version) for version in VERSIONS if version != own}
    programs = {own: sys.executable} | {version: program for version, program in others.items() if program}
    return {version: programs[version] for version in VERSIONS if version in programs}


def _program(version: str) -> str | None:
    return next((program for program in _candidates(version) if _version(program) == version), None)


def _candidates(version: str) -> list[str]:
    """Those of version managers first: their shims in PATH are slow, and run only a version that is chosen."""
    folders = [f"{os.environ['PYENV_ROOT']}/versions"] if os.environ.get("PYENV_ROOT") else []
    managed = [
        str(path)
        for folder in (*folders, *_VERSION_MANAGERS)
        for path in sorted(Path(folder).expanduser().glob(f"*{version}.*/bin/python3"))
    ]
    named = shutil.which(f"python{version}")
    return [*managed, named] if named else managed


def _version(program: str) -> str:
    """ "3.12"; "" when the program does not run, as the shim of a version that is not chosen does not."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([program, "-c", question], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
