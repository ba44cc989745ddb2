"""`make test`: real servers, a browser, then pytest; all gone afterwards. `python -m runtime.testing [ARGUMENTS]`.

`--exec COMMAND ...` runs a command with the servers' addresses instead of pytest, as `make lint` does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from contract.connections import broker_url, database_url
from contract.parent_death import die_with_parent
from contract.settings import BadSetting, read_settings
from runtime import processes
from runtime.embedded import EmbeddedServers
from runtime.embedded.server import Tuning
from runtime.programs import EmbeddedError

RUN_VARIABLE = "TEST_RUN_DIR"
"""The folder of one test run, and the mark of every process that descends from it."""

_HEADLESS_SHELL = "chromium-headless-shell"
"""Chromium without its windows. A page in a context of its own costs a quarter of the CPU that it costs in Chromium."""

_BROWSERS = (_HEADLESS_SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC_BROWSER = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
_TUNING = Tuning(is_durable=False, max_connections=400)


def main(arguments: list[str]) -> int:
    run_dir = Path(tempfile.mkdtemp(prefix="console-tests-"))
    try:
        with _servers(run_dir) as variables:
            if arguments[:1] == ["--exec"]:
                return _run(arguments[1:], variables)
            _ensure_browser()
            return _run([*_pytest(), *arguments], variables)
    except (EmbeddedError, BadSetting) as error:
        print(f"Cannot start: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        processes.end_all(lambda: processes.marked_members(RUN_VARIABLE, str(run_dir)), 5)
        shutil.rmtree(run_dir, ignore_errors=True)


def find_browser() -> str | None:
    """The Chromium that browser tests drive: CHROMIUM, or the first one found."""
    named = os.environ.get("CHROMIUM")
    found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    return named or found or (_MAC_BROWSER if Path(_MAC_BROWSER).exists() else None)


@contextmanager
def _servers(run_dir: Path) -> Iterator[dict[str, str]]:
    """Start what DATABASE_URL and REDIS_URL don't name; yields the variables that say where all is."""
    kept = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL", "POSTGRES_BIN", "VALKEY_BIN")}
    env = read_settings(kept | {"VAR_DIR": str(run_dir / "servers")})
    servers = EmbeddedServers(env, lambda text: print(text, file=sys.stderr), _TUNING)  # noqa: T201
    servers.start()
    try:
        yield _inherited() | {
            "DATABASE_URL": database_url(env),
            "REDIS_URL": broker_url(env),
            "VAR_DIR": str(run_dir / "var"),
            RUN_VARIABLE: str(run_dir),
            "ENV_FILE": os.devnull,
        }
    finally:
        servers.stop()


def _inherited() -> dict[str, str]:
    """Our environment, but Python may keep what it compiled: tests start hundreds of processes, and pytest rewrites
    each module of tests in every process of its own."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _pytest() -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_processes = cores + cores // 2  # much of their time they wait: for servers, pages, and time limits under test
    return [sys.executable, "-m", "pytest", "-n", str(n_processes), "--dist", "loadgroup", "--no-loadscope-reorder"]


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run to the end. A signal to us goes on to the command, whose end is awaited: the servers stop after it."""
    child = subprocess.Popen(command, env=variables, preexec_fn=die_with_parent(signal.SIGTERM))

    def pass_on(number: int, frame: FrameType | None) -> None:
        if number != signal.SIGINT:  # a terminal's Ctrl-C reaches the child by itself
            child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    return child.wait()


def _ensure_browser() -> None:
    """Install Chromium where that can be done; else say what to do. Browser tests fail without one, they never skip."""
    if find_browser():
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("No Chromium found: installing it with apt-get ...", file=sys.stderr, flush=True)  # noqa: T201
        install = "install -y --no-install-recommends"
        for command in ("update", f"{install} {_HEADLESS_SHELL}", f"{install} chromium"):
            if find_browser():  # a system may have no package of the first
                break
            subprocess.run(
                ["apt-get", "-qq", *command.split()],
                check=False,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )
    if not find_browser():
        print(  # noqa: T201
            "No Chromium or Chrome found, so the browser tests will fail: install `chromium-headless-shell` "
            "or `chromium` (Debian: `sudo apt-get install chromium-headless-shell`), or name a program in CHROMIUM.",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
