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
    programs = {_version(sys.executable): sys.executable}
    for program in _candidates():
        programs.setdefault(_version(program), program)
    return {version: programs[version] for version in VERSIONS if version in programs}


def _candidates() -> list[str]:
    named = [shutil.which(f"python{version}") for version in VERSIONS]
    managed = [
        str(path)
        for folder in (os.environ.get("PYENV_ROOT", "") and f"{os.environ['PYENV_ROOT']}/versions", *_VERSION_MANAGERS)
        if folder
        for path in sorted(Path(folder).expanduser().glob("*/bin/python3"))
    ]
    return [program for program in (*named, *managed) if program]


def _version(program: str) -> str:
    """ "3.12"; "" when the program does not run, as the shim of a version that is not chosen does not."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([program, "-c", question], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
