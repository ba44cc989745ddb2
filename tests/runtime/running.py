"""A supervisor under test."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from contract.parent_death import die_with_parent
from contract.settings import PROJECT_DIR, read_settings
from runtime import processes
from tests.environment import clean_variables, unused_port

_NOT_FOR_A_RUN = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")


class Run:
    """One `python -m runtime` (with that Procfile) or `make run` (without one), and all that it writes."""

    def __init__(self, folder: Path, procfile: str | None, **variables: str) -> None:
        folder.mkdir(exist_ok=True)
        command = ["make", "run"]
        if procfile is not None:
            (folder / "Procfile").write_text(procfile)
            command = [sys.executable, "-m", "runtime", "--procfile", str(folder / "Procfile")]
        settings = {
            "CONSOLE_PORT": str(unused_port()),
            "GATEWAY_PORT": str(unused_port()),
            "VAR_DIR": str(folder / "var"),
        }
        base = {name: value for name, value in clean_variables().items() if name not in _NOT_FOR_A_RUN}
        self.variables = settings | variables
        self.process_env = base | self.variables
        self.env = read_settings(self.variables)
        self._output_path = folder / f"output-{time.monotonic_ns()}"
        with self._output_path.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT_DIR,
                env=self.process_env,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGTERM),
            )

    @property
    def output(self) -> str:
        return self._output_path.read_text()

    @property
    def instance(self) -> str:
        return str(self.env.var_dir.resolve())

    def wait_for(self, words: str, timeout_s: float = 20) -> Run:
        found = processes.wait_until(
            lambda: re.search(words, self.output) is not None or self.process.poll() is not None, timeout_s
        )
        assert found, f"no {words!r} in:\n{self.output}"
        assert re.search(words, self.output), self.output
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def server_pids(self) -> list[int]:
        files = (self.env.var_dir / "postgres" / "postmaster.pid", self.env.var_dir / "run" / "valkey.pid")
        return [int(path.read_text().split()[0]) for path in files]

    def pids(self) -> list[int]:
        return [*processes.instance_members(self.instance), *self.server_pids()]

    def kill_everything(self) -> None:
        pids = [self.process.pid, *self.pids()]
        processes.signal_all(pids, signal.SIGKILL)
        self.process.wait()
