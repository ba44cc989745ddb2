"""A process of its own for one version of one API: for models that are slow, unusual, or were seen to crash.

It has a memory limit from the start and a time limit for each request. A process that exceeds one is killed: its caller
gets an error code, the console an incident, and the next request a fresh process. Other APIs notice nothing.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.prediction_process import model_failed, not_ready, reply_in_memory, start_process
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import Reply
from inference.sandbox.async_child import Approve, AsyncChild
from inference.sandbox.child_process import ProcessEnded, ProcessNotStarted, WorkFailed
from inference.sandbox.confinement import Confinement, memory_for
from inference.sandbox.prediction_messages import Load, ModelRef, Predict, Replied

MODEL_TIMEOUT_S: Final = 30.0
LOAD_TIMEOUT_S: Final = 30.0
REQUESTS_AT_ONCE: Final = 8  # of one API in one worker, the one that is computed included

_NICENESS: Final = 5
_RESTART_PAUSE_S: Final = 1.0


class IsolatedModel:
    """At most one process, started by `load` or the first request, and again after it was killed."""

    def __init__(
        self, api_id: str, model: ModelRef, incidents: IncidentLog, *, timeout_s: float = MODEL_TIMEOUT_S
    ) -> None:
        self.last_used = time.monotonic()
        self._api_id = api_id
        self._model = model
        self._incidents = incidents
        self._timeout_s = timeout_s
        self._process: AsyncChild | None = None
        self._turn = asyncio.Lock()
        self._n_requests = 0
        self._is_retired = False
        self._starts_again_at = 0.0

    @property
    def is_busy(self) -> bool:
        return self._n_requests > 0

    @property
    def n_waiting(self) -> int:
        """Requests that wait for the one that is computed."""
        return max(0, self._n_requests - 1)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.is_running else None

    async def load(self) -> None:
        """Start the process and have it predict the sample row. Raises `ModelLoadError`."""
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S), self._turn:
                await self._running().request(Load(self._model))
        except TimeoutError:
            raise ModelLoadError(f"Loading the model took longer than {LOAD_TIMEOUT_S:g} seconds.") from None
        except ProcessEnded as end:
            raise ModelLoadError(f"The model ended the process that loaded it ({end}).") from None
        except ProcessNotStarted as error:
            raise ModelLoadError(not_ready(error).detail) from None
        except WorkFailed as failure:
            raise ModelLoadError(str(model_failed(failure))) from None
        except ModelFailed as error:
            raise ModelLoadError(str(error)) from None
        except Problem as problem:
            raise ModelLoadError(problem.detail) from None

    async def predict(self, request: Predict, approve: Approve | None) -> Reply:
        """Raises `Problem` and `ModelFailed`."""
        if self._n_requests >= REQUESTS_AT_ONCE:
            raise Problem("too_many_requests")
        self._n_requests += 1
        self.last_used = time.monotonic()
        try:
            await self._wait_for_turn()
            try:
                return reply_in_memory(await self._replied(request, approve))
            finally:
                self._turn.release()
        finally:
            self._n_requests -= 1
            self.last_used = time.monotonic()
            if self._is_retired and not self.is_busy:
                self.close()

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            raise Problem("model_timeout", f"Requests before it took {self._timeout_s:g} seconds.") from None

    async def _replied(self, request: Predict, approve: Approve | None) -> Replied:
        process, version_id = self._running(), self._model.version_id
        try:
            async with asyncio.timeout(self._timeout_s):
                return await process.request(request, approve=approve)
        except WorkFailed as failure:
            if failure.is_memory:
                self._incidents.note(self._api_id, version_id, "memory", "memory_limit")
            raise model_failed(failure) from None
        except (ProcessEnded, ProcessNotStarted) as end:
            if self._process is not process:  # `close` ended it: nothing is held against the model
                raise ModelFailed("The gateway ended the model's process.") from None
            self._pause()
            if isinstance(end, ProcessNotStarted):
                raise not_ready(end) from None
            self._incidents.note(self._api_id, version_id, "process_crashed", "process_ended", end=str(end))
            raise ModelFailed(f"The model ended the process that computed it ({end}).") from None
        except TimeoutError:
            self._pause()
            self._incidents.note(self._api_id, version_id, "timeout", "time_limit", timeout_s=self._timeout_s)
            raise Problem("model_timeout", f"The model took longer than {self._timeout_s:g} seconds.") from None

    def _pause(self) -> None:
        """A model that ends each process must not have this worker start one after the other."""
        self._starts_again_at = time.monotonic() + _RESTART_PAUSE_S

    def _running(self) -> AsyncChild:
        if self._process is None or not self._process.is_running:
            self.close()
            if time.monotonic() < self._starts_again_at:
                raise ModelFailed("The model ended its process a moment ago.")
            path = Path(self._model.path)
            self._process = start_process(
                Confinement(readable=str(path), memory_bytes=memory_for(path), niceness=_NICENESS)
            )
        return self._process

    def retire(self) -> None:
        """End the process as soon as nobody waits for an answer of it."""
        self._is_retired = True
        if not self.is_busy:
            self.close()

    def close(self) -> None:
        """End the process; a request in it gets `model_failed`."""
        if self._process is not None:
            self._process.kill()
            self._process = None
