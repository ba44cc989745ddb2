"""Look at a model file without trusting it: in a child process with limits on memory, time, network and files.

    with InspectionChild(timeout_s=30) as child:
        signature = child.read(path)           # registering: everything the graph tells
        child.check(path, spec)                # building: does the stored description fit the stored file
        child.self_test(path, spec)

The first call starts the child, later ones use it again. A child that crashes, hangs or grows too large is a refusal
in words. docs/decisions/0031-inspection-child.md says what the limits are, and what happens where one is refused.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from contract.meaning import Meaning
from contract.model_spec import Cell, ModelSpec
from contract.problems import Problem
from inference.sandbox.blocking_child import BlockingChild
from inference.sandbox.child import Work
from inference.sandbox.child_process import ProcessEnded, ProcessNotStarted, WorkFailed
from inference.sandbox.confinement import Confinement, memory_for
from inference.sandbox.inspection_messages import (
    CheckDescription,
    ConvertFile,
    FreezeMeaning,
    ModelStudied,
    ProbeNullable,
    ReadSignature,
    RowsTried,
    RunSelfTest,
    SelfTest,
    StudyModel,
    TryRows,
)
from inference.sandbox.protocol import Request, Response
from inference.signature import Signature

__all__ = ["InspectionChild", "InspectionRefused", "SelfTest", "SelfTestFailed"]

# An inspection of a usual model takes well under a second; the rest is for large ones on a busy machine.
LONGEST_S = 30.0

LONGEST_FILE_BYTES = 256 << 20  # of what it makes of a file of another format

TOO_MUCH_MEMORY = "The model needs more memory than an inspection may take."
NOT_STARTED = "The console could not start the model's inspection."  # in words that don't blame the model

R = TypeVar("R", bound=Response)


class InspectionRefused(Exception):
    """The file can't be served. `str()` is a sentence for its owner; `log_tail` what its libraries printed."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


class SelfTestFailed(InspectionRefused):
    """The model could not predict its own sample row."""


class InspectionChild:
    """A child process for one file at a time. Use it in one thread, as a context manager."""

    def __init__(self, timeout_s: float = LONGEST_S, *, longest_s: float = LONGEST_S) -> None:
        self._timeout_s = min(timeout_s, longest_s)
        self._process: BlockingChild | None = None
        self._path: Path | None = None

    def __enter__(self) -> InspectionChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def missing_limits(self) -> tuple[str, ...]:
        """What the kernel refused to take from the child."""
        return self._process.missing_limits if self._process else ()

    def read(self, path: Path) -> Signature:
        """Everything the graph tells. Raises `InspectionRefused`."""
        return self._request(path, ReadSignature(str(path)), "registration").signature

    def check(self, path: Path, spec: ModelSpec) -> None:
        """Load the file and compare it with its description. Raises `InspectionRefused`."""
        self._request(path, CheckDescription(str(path), spec))

    def nullable(self, path: Path, spec: ModelSpec, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the columns for which a missing value still gives a finite prediction: tried on the sample row."""
        return self._request(path, ProbeNullable(str(path), spec, names)).names

    def study(self, path: Path, request: Callable[[str], StudyModel]) -> ModelStudied:
        """Find out what the file means. Raises `SelfTestFailed` where one of the owner's rows can't be computed."""
        try:
            return self._request(path, request(str(path)), "registration")
        except InspectionRefused as error:
            raise SelfTestFailed(str(error), error.log_tail) from None

    def convert(self, path: Path, kind: str, rows: Sequence[dict[str, Cell]], *, into: int) -> None:
        """Make one ONNX file of a file of another format. `into`: an open file's number. Raises `InspectionRefused`."""
        self._request(path, ConvertFile(str(path), kind, tuple(rows)), "conversion", files=(into,))

    def freeze(self, path: Path, spec: ModelSpec, signature: Signature) -> Meaning:
        """What the rules by name pick of a file that is described without a meaning. Raises `InspectionRefused`."""
        return self._request(path, FreezeMeaning(str(path), spec, signature), "registration").meaning

    def try_rows(
        self, path: Path, spec: ModelSpec, rows: Sequence[dict[str, Cell]], targets: Sequence[str], *, shown: int
    ) -> RowsTried:
        """Predict rows with the finished description. Raises `SelfTestFailed`."""
        try:
            return self._request(path, TryRows(str(path), spec, tuple(rows), tuple(targets), shown))
        except InspectionRefused as error:
            raise SelfTestFailed(str(error), error.log_tail) from None

    def self_test(self, path: Path, spec: ModelSpec) -> SelfTest:
        """Predict the sample row and measure it. Raises `SelfTestFailed`."""
        try:
            return self._request(path, RunSelfTest(str(path), spec))
        except InspectionRefused as error:
            raise SelfTestFailed(str(error), error.log_tail) from None

    def close(self) -> None:
        """End the child, if there is one. Safe to call again."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _request(self, path: Path, request: Request[R], work: Work = "inspection", *, files: Sequence[int] = ()) -> R:
        process = self._started(path, work, file_bytes=LONGEST_FILE_BYTES if files else 0)
        try:
            return process.request(request, timeout_s=self._timeout_s, files=files)
        except (Problem, WorkFailed) as fault:
            raise InspectionRefused(_fault_words(fault), process.log_tail) from None
        except (ProcessNotStarted, ProcessEnded, TimeoutError) as end:
            self.close()
            raise InspectionRefused(self._end_words(end, process.log_tail), process.log_tail) from None

    def _started(self, path: Path, work: Work, *, file_bytes: int) -> BlockingChild:
        if self._process is not None and self._path == path:
            return self._process
        self.close()
        try:
            path.stat()
        except OSError as error:
            raise InspectionRefused(f"The file can't be read: {error.strerror}.") from None
        confinement = Confinement(
            readable=str(path.absolute()),
            reads_itself=work == "conversion",
            memory_bytes=memory_for(path) + 4 * file_bytes,  # the size of what is converted says little
            cpu_s=int(self._timeout_s) + 1,
            file_bytes=file_bytes,
        )
        try:
            self._process, self._path = BlockingChild(work, confinement), path
        except ProcessNotStarted:
            raise InspectionRefused(NOT_STARTED) from None
        return self._process

    def _end_words(self, end: Exception, log: str) -> str:
        if isinstance(end, TimeoutError):
            return f"The model's inspection took longer than {self._timeout_s:.0f} s."
        if not isinstance(end, ProcessEnded):
            return NOT_STARTED
        if end.is_unusable:
            return "The model's inspection gave no usable answer."
        if end.signal == signal.SIGXCPU:
            return "The model's inspection took more computing time than allowed."
        if "bad_alloc" in log or "MemoryError" in log:
            return TOO_MUCH_MEMORY
        return f"The model crashed the process that inspected it ({end})."


def _fault_words(fault: Problem | WorkFailed) -> str:
    if isinstance(fault, WorkFailed):
        return TOO_MUCH_MEMORY if fault.is_memory else str(fault)
    error = fault.errors[0] if fault.errors else None
    words = f"{error.column}: expected {error.expected}, received {error.received}." if error else fault.detail
    return f"The sample row can't be sent as a caller would send it: {words}"
