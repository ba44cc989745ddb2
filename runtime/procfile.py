"""The Procfile: what an installation consists of, one `name: command` a line; `release` runs once, before the rest."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from contract.settings import PROJECT_DIR, Settings
from runtime import processes

PROCFILE = PROJECT_DIR / "Procfile"
_LINE = re.compile(r"^([A-Za-z][\w-]*):\s*(\S.*)$")


class BadProcfile(Exception):
    """A line of the Procfile can't be read. `str()` names it."""


def read_procfile(path: Path = PROCFILE) -> dict[str, str]:
    """Name → shell command, in the file's order. Raises `BadProcfile`."""
    commands = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        matched = _LINE.match(line)
        if matched is None:
            raise BadProcfile(f"{path}, line {number}: expected `name: command`")
        commands[matched[1]] = matched[2]
    return commands


def shell_command(command: str) -> list[str]:
    """`exec`, so that the process that is known by its number is the program, not a shell around it."""
    return ["/bin/sh", "-c", f"exec {command}"]


def process_environment(env: Settings, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that an installation's processes start with, those that commands name filled in."""
    bin_dir = str(Path(sys.executable).parent)
    base = dict(os.environ if variables is None else variables)
    return base | {
        "PATH": os.pathsep.join([bin_dir, base.get("PATH", os.defpath)]),
        "BIND_ADDRESS": env.bind_address,
        "CONSOLE_PORT": str(env.console_port),
        "GATEWAY_PORT": str(env.gateway_port),
        "VAR_DIR": str(env.var_dir),
        "PYTHONUNBUFFERED": "1",  # their lines are read from a pipe, and should come when they are written
        processes.INSTANCE_VARIABLE: instance_name(env),
    }


def instance_name(env: Settings) -> str:
    return str(env.var_dir.resolve())
