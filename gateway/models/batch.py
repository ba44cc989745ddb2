"""Large bodies: spooled to disk, and read, predicted and answered in a few niced processes for the whole machine.

Two run and four wait; further ones are refused. The places are file locks under VAR_DIR/run, which all workers of the
machine share and which a killed worker can't keep.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from contract.problems import Problem
from gateway.models.file_locks import FileLocks
from gateway.models.incidents import IncidentLog
from gateway.models.prediction_process import model_failed, not_ready, start_process
from gateway.models.spool import Spool
from inference.engines import ModelFailed
from inference.formats import Reply
from inference.sandbox.async_child import Approve, AsyncChild
from inference.sandbox.child_process import ProcessEnded, ProcessNotStarted, WorkFailed, reap
from inference.sandbox.confinement import BASE_MEMORY_BYTES, Confinement
from inference.sandbox.prediction_messages import Predict

RUNNING: Final = 2
WAITING: Final = 4
BATCH_TIMEOUT_S: Final = 120.0
BODIES_AT_ONCE: Final = 16  # in one worker, those still coming in included: what the spool folder may have to hold
BODIES_OF_AN_API: Final = 4

MEMORY_PER_BODY_BYTE: Final = 40
_FILE_PER_BODY_BYTE: Final = 20
_NICENESS: Final = 10
_POLL_S: Final = 0.02
_IDLE_S: Final = 30.0
_LARGE_BODY_BYTES: Final = 8_000_000  # a process that had one keeps much memory: it is not used again
_TOO_MUCH_MEMORY: Final = "The body needs more memory than a large body may have. Send fewer rows at once."


@dataclass(kw_only=True)
class Limits:
    """What the installation allows of one request. Each worker has one."""

    max_body_bytes: int
    trial_max_rows: int


class FileReply(Reply, kw_only=True):
    """An answer that is still on disk, but for its ending. `body` is empty."""

    spool: Spool


@dataclass
class BatchPool:
    """One worker's part in the machine's batch processing."""

    spool_dir: Path
    store_dir: Path
    run_dir: Path
    incidents: IncidentLog
    limits: Limits
    timeout_s: float = BATCH_TIMEOUT_S
    _idle: list[tuple[float, AsyncChild]] = field(default_factory=list)
    _bodies: dict[str, int] = field(default_factory=dict)
    n_waiting: int = 0
    """Large bodies of this worker that wait for a process."""

    def __post_init__(self) -> None:
        self._tickets = FileLocks(self.run_dir, "batch-ticket", RUNNING + WAITING)
        self._slots = FileLocks(self.run_dir, "batch-slot", RUNNING)

    def take_body(self, api_id: str) -> Spool:
        """A file for a body that will come in; `leave_body` gives its place back. Raises `Problem`."""
        if sum(self._bodies.values()) >= BODIES_AT_ONCE or self._bodies.get(api_id, 0) >= BODIES_OF_AN_API:
            raise Problem("too_many_requests", "Too many large bodies are in progress.")
        spool = self.make_spool()
        self._bodies[api_id] = self._bodies.get(api_id, 0) + 1
        return spool

    def leave_body(self, api_id: str, spool: Spool) -> None:
        spool.close()
        self._bodies[api_id] -= 1
        if not self._bodies[api_id]:
            del self._bodies[api_id]

    def make_spool(self) -> Spool:
        try:
            return Spool(self.spool_dir)
        except OSError:
            raise Problem("not_ready", "This gateway has no room on its disk for a large body.") from None

    async def predict(self, api_id: str, request: Predict, body: Spool, approve: Approve | None) -> Reply:
        """Raises `Problem` and `ModelFailed`."""
        ticket = self._tickets.take()
        if ticket is None:
            raise Problem("too_many_requests", "Too many large bodies are being computed.")
        try:
            async with asyncio.timeout(self.timeout_s), self._slot():
                return await self._reply(api_id, request, body, approve)
        except TimeoutError:
            raise Problem("model_timeout", f"No answer within {self.timeout_s:g} seconds.") from None
        finally:
            os.close(ticket)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self.n_waiting += 1
        try:
            while (slot := self._slots.take()) is None:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)  # a lock of another process: nothing tells when it is free
        finally:
            self.n_waiting -= 1
        try:
            yield
        finally:
            os.close(slot)

    async def _reply(self, api_id: str, request: Predict, body: Spool, approve: Approve | None) -> Reply:
        answer, process = self.make_spool(), self._process()
        try:
            replied = await process.request(request, files=(body.fd, answer.fd), approve=approve)
        except ProcessEnded as end:
            self.incidents.note(
                api_id, request.model.version_id, "process_crashed", "batch_process_ended", end=str(end)
            )
            raise ModelFailed(f"The process that computed it ended ({end}).") from None
        except ProcessNotStarted as error:
            raise not_ready(error) from None
        except WorkFailed as failure:
            if failure.is_memory:
                raise ModelFailed(_TOO_MUCH_MEMORY) from None
            raise model_failed(failure) from None
        finally:
            is_compressed = b"content-encoding" in request.headers
            self._put_back(process, self.limits.max_body_bytes if is_compressed else body.size)
        answer.size = replied.size
        return FileReply(
            b"",
            replied.content_type,
            replied.headers,
            warned=replied.warned,
            endings=replied.endings,
            spool=answer,
        )

    def _process(self) -> AsyncChild:
        while self._idle:
            _, process = self._idle.pop()
            if process.is_running:
                return process
            process.kill()
        return start_process(
            Confinement(
                readable=str(self.store_dir),
                memory_bytes=BASE_MEMORY_BYTES + MEMORY_PER_BODY_BYTE * self.limits.max_body_bytes,
                file_bytes=_FILE_PER_BODY_BYTE * self.limits.max_body_bytes,
                niceness=_NICENESS,
            )
        )

    def _put_back(self, process: AsyncChild, body_bytes: int) -> None:
        if process.is_running and body_bytes <= _LARGE_BODY_BYTES:
            self._idle.append((time.monotonic(), process))
        else:
            process.kill()

    def tend(self) -> None:
        """End what nobody needed for a while. To be called every second."""
        reap()
        now = time.monotonic()
        for since, process in list(self._idle):
            if now - since > _IDLE_S:
                self._idle.remove((since, process))
                process.kill()

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].kill()
