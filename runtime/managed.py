"""One process of the Procfile under the supervisor: started, read, started again with a growing pause, ended."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from typing import IO

from contract.parent_death import die_with_parent
from contract.settings import PROJECT_DIR, Settings
from runtime import processes
from runtime.output import LogFile, Terminal
from runtime.procfile import process_environment, shell_command

STOP_GRACE_S = 12
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_STABLE_AFTER_S = 20  # a process that ran this long starts with the first pause again


class Managed:
    """One process of the Procfile, with its pipe, its log and its history."""

    def __init__(self, name: str, command: str, env: Settings, terminal: Terminal) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._due_at: float | None = None

    def start(self) -> None:
        self._due_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            shell_command(self._command),
            cwd=PROJECT_DIR,
            env=process_environment(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        if self._process.stdout is None:
            raise RuntimeError("a process without a pipe")
        threading.Thread(target=self._pass_on, args=(self._process.stdout,), daemon=True).start()

    def poll(self) -> int | None:
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_running(self) -> None:
        """Notice a death, say it, and start again when the pause is over."""
        if self._due_at is not None:
            if time.monotonic() >= self._due_at:
                self.start()
            return
        code = self.poll()
        if code is None:
            return
        if time.monotonic() - self._started_at > _STABLE_AFTER_S:
            self._pause_s = _FIRST_PAUSE_S
        self._terminal.say(f"{self.name} stopped unexpectedly ({ending(code)}): restarting it in {self._pause_s:g} s.")
        self.end_group(grace_s=STOP_GRACE_S)
        self._due_at = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def ask_to_stop(self) -> None:
        """SIGTERM to the main process only: it knows in what order its children end."""
        self._due_at = None
        if self._process is not None and self.is_running():
            self._process.terminate()

    def end_group(self, *, grace_s: float) -> None:
        """End what is left of the process's group."""
        if self._process is None:
            return
        group = self._process.pid
        if not processes.end_all(lambda: processes.group_members(group), grace_s):
            self._terminal.say(f"{self.name}: some of its processes can't be stopped.")
        self._process.wait()

    def _pass_on(self, pipe: IO[bytes]) -> None:
        log = LogFile(self._env.log_dir / f"{self.name}.log")
        with pipe:
            for line in pipe:
                log.write(line)
                self._terminal.line(self.name, line.decode(errors="replace").rstrip())
        log.close()


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
