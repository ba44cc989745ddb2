"""A confined child as its parent sees it: started, killed, reaped. `BlockingChild` and `AsyncChild` speak to it.

Spawned, not forked: a fork would inherit locks and sockets. The child has one descriptor of ours, its end of the pair
of sockets, and none of our environment variables.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from contract.settings import PROJECT_DIR
from inference.sandbox.child import Work
from inference.sandbox.confinement import Confinement
from inference.sandbox.protocol import LENGTH, Decision, Failed, Ready, Refused, Request, Response, encode

R = TypeVar("R", bound=Response)

END_S = 5.0
"""How long a child whose socket is closed may take to end, which is when it can be told why."""
POLL_S = 0.005

# Its libraries start no threads of their own.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

_logger = logging.getLogger(__name__)


class ProcessNotStarted(Exception):
    """There is no process, or it ended before it was ready: no fault of a model's. `str()` says why."""


class ProcessEnded(Exception):
    """The process ended, or is to be ended, before it gave a usable answer. `str()` says how."""

    def __init__(self, how: str, *, killed_by: signal.Signals | None = None, is_unusable: bool = False) -> None:
        super().__init__(how)
        self.signal = killed_by
        self.is_unusable = is_unusable


class WorkFailed(Exception):
    """The model could not be loaded, or could not compute. `is_memory`: it asked for more memory than it may have.

    `ruled_out`: how its answer is one that its description rules out.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.is_memory = failed.is_memory
        self.ruled_out = failed.ruled_out


class ChildProcess:
    """One child. After it has ended it can't be used again. `missing_limits`: what the kernel took from it in vain."""

    def __init__(self, work: Work, confinement: Confinement, *, log_fd: int | None = None) -> None:
        """Raises `ProcessNotStarted`. What its libraries print goes to `log_fd`, else only errors to our own."""
        self.missing_limits: tuple[str, ...] = ()
        self.is_ready = False
        try:
            self._socket, theirs = socket.socketpair()
        except OSError as error:
            raise ProcessNotStarted(error.strerror) from None
        words = [work, str(theirs.fileno()), str(os.getpid()), msgspec.json.encode(confinement).decode()]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-E", "-s", "-B", "-m", "inference.sandbox.child", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL if log_fd is None else log_fd,
                    stderr=log_fd,
                    pass_fds=(theirs.fileno(),),
                    cwd=PROJECT_DIR,
                    env=_ENVIRONMENT,
                    start_new_session=True,
                )
        except OSError as error:
            self._socket.close()
            raise ProcessNotStarted(error.strerror) from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process not in _dying and self.exit_code() is None

    def exit_code(self) -> int | None:
        """None while it runs. Negative: the signal that killed it."""
        if self._process.returncode is None and _has_ended(self._process.pid):
            self._kill_group()  # whatever it started, before its id can be somebody else's
        return self._process.poll()

    def kill(self) -> None:
        """Safe to call again. Does not wait: a large process takes a while to leave its memory."""
        if self._process.returncode is None:
            self._kill_group()
        _dying.add(self._process)
        reap()
        self._close_socket()

    def _close_socket(self) -> None:
        self._socket.close()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _note_ready(self, ready: Ready) -> None:
        self.is_ready, self.missing_limits = True, ready.missing_limits
        if ready.missing_limits:
            _logger.warning("work_process_not_confined missing=%s", ", ".join(ready.missing_limits))


def framed(message: Request[R] | Decision) -> tuple[bytes, bytes]:
    """Length and payload."""
    payload = encode(message)
    return LENGTH.pack(len(payload)), payload


def send_head(connection: socket.socket, head: bytes, files: Sequence[int]) -> None:
    """The length, and open files with it. The socket is empty between requests, so these few bytes fit at once."""
    if files:
        socket.send_fds(connection, [head], list(files))
    else:
        connection.sendall(head)


def result_of(response: R | Refused | Failed) -> R:
    """Raises `Problem`, `WorkFailed`."""
    if isinstance(response, Refused):
        raise response.problem()
    if isinstance(response, Failed):
        raise WorkFailed(response)
    return response


def ending(exit_code: int | None) -> ProcessEnded:
    """How a child that closed its socket ended, in words."""
    if exit_code is None:
        return ProcessEnded("it closed its socket")
    if exit_code < 0:
        killed_by = signal.Signals(-exit_code)
        return ProcessEnded(killed_by.name, killed_by=killed_by)
    return ProcessEnded(f"exit code {exit_code}")


def unusable(error: msgspec.DecodeError) -> ProcessEnded:
    """What it said is no response."""
    return ProcessEnded(f"it gave no usable answer ({error})", is_unusable=True)


_dying: set[subprocess.Popen[bytes]] = set()


def reap() -> None:
    """Take note of the ends of killed processes, so that none stays a zombie. To be called now and then."""
    for process in list(_dying):
        if process.poll() is not None:
            _dying.discard(process)


def _has_ended(pid: int) -> bool:
    """Whether it has, without taking note of it."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False
