"""Look at a model file without trusting it: in a child process with limits on memory, time, network and files.

    with InspectionChild(timeout_s=30) as child:
        signature = child.read(path)           # registering: everything the graph tells
        child.check(path, spec)                # building: does the stored description fit the stored file
        child.self_test(path, spec)

The first call starts the child, later ones use it again. A child that crashes, hangs or grows too large is a refusal
in words. docs/decisions/0031-inspection-child.md says what the limits are, and what happens where one is refused.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import msgspec

from contract.model_spec import ModelSpec
from contract.settings import PROJECT_DIR
from inference.sandbox.inspection_messages import READY, Answer, Ask, decode_answer, encode_ask
from inference.signature import Signature

# The libraries take 150 MB of address space. A graph is held up to four times while it is read: the file's bytes, its
# parsed form, ONNX Runtime's, and the optimised one.
BASE_MEMORY_BYTES = 1 << 30
MEMORY_PER_FILE_BYTE = 6
# An inspection of a usual model takes well under a second; the rest is for large ones on a busy machine.
LONGEST_S = 30.0
LOG_BYTES = 4000


T = TypeVar("T")


def _present(value: T | None) -> T:
    """For what the protocol or the way the child is started promises."""
    if value is None:
        raise TypeError("an inspection answer or pipe is missing")
    return value


class InspectionRefused(Exception):
    """The file can't be served. `str()` is a sentence for its owner; `log_tail` what its libraries printed."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class SelfTestFailed(InspectionRefused):
    """The model could not predict its own sample row."""


@dataclass(frozen=True)
class SelfTest:
    """The sample row's prediction as the gateway would answer it, and the time of one row in the model."""

    prediction: dict[str, Any]
    row_us: float


@dataclass
class InspectionChild:
    """A child process for one file at a time. Use it in one thread, as a context manager."""

    timeout_s: float = LONGEST_S
    memory_bytes: int | None = None
    missing_limits: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _path: Path | None = None
    _log: bytearray = field(default_factory=bytearray)

    def __enter__(self) -> InspectionChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, path: Path) -> Signature:
        """Everything the graph tells. Raises `InspectionRefused`."""
        return _present(self._ask(path, Ask("read"), mode="read").signature)

    def check(self, path: Path, spec: ModelSpec) -> None:
        """Load the file and compare it with its description. Raises `InspectionRefused`."""
        self._ask(path, Ask("check", spec))

    def nullable(self, path: Path, spec: ModelSpec, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the columns for which a missing value still gives a finite prediction: tried on the sample row."""
        return self._ask(path, Ask("probe", spec, names)).nullable

    def self_test(self, path: Path, spec: ModelSpec) -> SelfTest:
        """Predict the sample row and measure it. Raises `SelfTestFailed`."""
        try:
            answer = self._ask(path, Ask("test", spec))
        except InspectionRefused as error:
            raise SelfTestFailed(str(error), error.log_tail) from None
        return SelfTest(_present(answer.prediction), answer.row_us)

    def close(self) -> None:
        """End the child, if there is one. Safe to call again."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _ask(self, path: Path, ask: Ask, *, mode: Literal["read", ""] = "") -> Answer:
        if self._process is None or self._path != path:
            self.close()
            self._start(path, mode)
        answer = self._exchange(encode_ask(ask) + b"\n")
        self.missing_limits = answer.missing_limits
        if answer.refused:
            raise InspectionRefused(answer.refused, self._log_tail())
        return answer

    def _start(self, path: Path, mode: str) -> None:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InspectionRefused(f"The file can't be read: {error.strerror}.") from None
        memory = self.memory_bytes or BASE_MEMORY_BYTES + MEMORY_PER_FILE_BYTE * size
        limits = [str(path.absolute()), str(memory), str(int(min(self.timeout_s, LONGEST_S)) + 1)]
        self._log.clear()
        self._path = path
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-E",
                "-s",
                "-B",
                "-m",
                "inference.sandbox.inspection_child",
                *limits,
                *([mode] if mode else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT_DIR,
            # No variable of the console reaches the child; libraries start no threads of their own.
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self._await_start(self._process)

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        """Raises `InspectionRefused` in words that don't blame the model."""
        try:
            is_ready = self._read_line(process, min(self.timeout_s, LONGEST_S)) == READY
        except InspectionRefused:
            is_ready = False
        if not is_ready:
            self.close()
            raise InspectionRefused("The console could not start the model's inspection.", self._log_tail())

    def _exchange(self, line: bytes) -> Answer:
        """One question, one answer, within the time limit. Raises `InspectionRefused` if there is none."""
        process = _present(self._process)
        questions = _present(process.stdin)
        with contextlib.suppress(BrokenPipeError):  # a child that has ended already is found out below
            questions.write(line)
            questions.flush()
        try:
            return decode_answer(self._read_line(process, min(self.timeout_s, LONGEST_S)))
        except msgspec.DecodeError:
            self.close()
            raise InspectionRefused("The model's inspection gave no usable answer.", self._log_tail()) from None

    def _read_line(self, process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
        answers, log = _present(process.stdout), _present(process.stderr)
        received, deadline = bytearray(), time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ, received)
            selector.register(log, selectors.EVENT_READ, self._log)
            while not received.endswith(b"\n"):
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    self.close()
                    raise InspectionRefused(
                        f"The model's inspection took longer than {timeout_s:.0f} s.", self._log_tail()
                    )
                for key, _events in ready:
                    chunk = os.read(key.fd, 65536)
                    key.data.extend(chunk)
                    if not chunk:
                        selector.unregister(key.fileobj)
                        if key.fileobj is answers:
                            raise self._death(process)
        return bytes(received)

    def _death(self, process: subprocess.Popen[bytes]) -> InspectionRefused:
        """Why a child that closed its answers ended, in words."""
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        log = _present(process.stderr)
        os.set_blocking(log.fileno(), False)
        self._log.extend(log.read() or b"")
        self.close()
        if code == -signal.SIGXCPU:
            return InspectionRefused("The model's inspection took more computing time than allowed.", self._log_tail())
        if b"bad_alloc" in self._log or b"MemoryError" in self._log:
            return InspectionRefused("The model needs more memory than an inspection may take.", self._log_tail())
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return InspectionRefused(f"The model crashed the process that inspected it ({how}).", self._log_tail())

    def _log_tail(self) -> str:
        return bytes(self._log[-LOG_BYTES:]).decode("utf-8", "replace")
