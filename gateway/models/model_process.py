"""One process of one version: started when it is needed, again after it was killed, one message at a time.

It has a memory limit from the start and a time limit for each message. A process that exceeds one is killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.prediction_process import model_failed, not_ready, reply_in_memory, start_process
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import Reply
from inference.row_cost import RowCost
from inference.sandbox.async_child import Approve, AsyncChild
from inference.sandbox.child_process import ProcessEnded, ProcessNotStarted, WorkFailed
from inference.sandbox.confinement import Confinement, memory_for
from inference.sandbox.prediction_messages import Load, ModelRef, Predict, PredictEach, Replied
from inference.sandbox.protocol import Failed, Refused

MODEL_TIMEOUT_S: Final = 30.0
LOAD_TIMEOUT_S: Final = 30.0
JOINT_TIMEOUT_S: Final = 5.0
"""Of a call for several requests, which should take a quarter of a second: what holds them up may be one of them."""

_NICENESS: Final = 5
_RESTART_PAUSE_S: Final = 1.0


class JointCallFailed(Exception):
    """Several requests got no answers together: each is to be computed alone."""


class RestartPause:
    """A model that ends each process must not have this worker start one after the other. One for all of its own."""

    def __init__(self) -> None:
        self.ends_at = 0.0

    @property
    def left_s(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def begin(self) -> None:
        self.ends_at = time.monotonic() + _RESTART_PAUSE_S


class ModelProcess:
    """See above. `is_busy` and `last_used` are kept by whoever gives it work."""

    def __init__(self, api_id: str, model: ModelRef, incidents: IncidentLog, pause: RestartPause) -> None:
        self.is_busy = False
        self.last_used = self.busy_since = time.monotonic()
        self._api_id = api_id
        self._model = model
        self._incidents = incidents
        self._pause = pause
        self._child: AsyncChild | None = None
        self._is_loaded = False

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.is_running else None

    @property
    def is_ready(self) -> bool:
        """It has loaded the model."""
        return self._is_loaded and self.pid is not None

    async def load(self) -> RowCost:
        """Start the process and have it predict the sample row. Raises `ModelLoadError`."""
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                cost = (await self._running().request(Load(self._model))).cost
                self._is_loaded = True
                return cost
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

    async def predict(self, request: Predict, approve: Approve | None, timeout_s: float) -> Reply:
        """Raises `Problem` and `ModelFailed`."""
        child, version_id = self._running(), self._model.version_id
        try:
            async with asyncio.timeout(timeout_s):
                replied = await child.request(request, approve=approve)
                self._is_loaded = True
                return reply_in_memory(replied)
        except WorkFailed as failure:
            if failure.is_memory:
                self._incidents.note(self._api_id, version_id, "memory", "memory_limit")
            raise model_failed(failure) from None
        except (ProcessEnded, ProcessNotStarted) as end:
            self._check_not_closed(child)
            self._pause.begin()
            if isinstance(end, ProcessNotStarted):
                raise not_ready(end) from None
            self._note_end(end)
            raise ModelFailed(f"The model ended the process that computed it ({end}).") from None
        except TimeoutError:
            self._pause.begin()
            self._incidents.note(self._api_id, version_id, "timeout", "time_limit", timeout_s=timeout_s)
            raise Problem("model_timeout", f"The model took longer than {timeout_s:g} seconds.") from None

    async def predict_each(self, requests: Sequence[Predict], most_rows: int) -> list[Reply | Problem | ModelFailed]:
        """What the first of them are answered; of none where the first needs a call of its own.

        Raises `JointCallFailed`, `Problem`, `ModelFailed`.
        """
        child = self._running()
        try:
            async with asyncio.timeout(JOINT_TIMEOUT_S):
                replied = await child.request(PredictEach(tuple(requests), most_rows))
        except (WorkFailed, TimeoutError) as error:
            raise JointCallFailed(str(error) or f"took longer than {JOINT_TIMEOUT_S:g} seconds") from None
        except ProcessEnded as end:
            self._check_not_closed(child)
            self._note_end(end)
            raise JointCallFailed(str(end)) from None
        except ProcessNotStarted as error:
            self._check_not_closed(child)
            self._pause.begin()
            raise not_ready(error) from None
        if len(replied.answers) > len(requests):
            child.kill()
            raise JointCallFailed("it gave no usable answer")
        return [_outcome(answer) for answer in replied.answers]

    def _check_not_closed(self, child: AsyncChild) -> None:
        if self._child is not child:  # `close` ended it: nothing is held against the model
            raise ModelFailed("The gateway ended the model's process.") from None

    def _note_end(self, end: ProcessEnded) -> None:
        version_id = self._model.version_id
        self._incidents.note(self._api_id, version_id, "process_crashed", "process_ended", end=str(end))

    def _running(self) -> AsyncChild:
        if self._child is None or not self._child.is_running:
            self.close()
            if self._pause.left_s:
                raise ModelFailed("The model ended its process a moment ago.")
            path = Path(self._model.path)
            self._is_loaded = False
            self._child = start_process(
                Confinement(readable=str(path), memory_bytes=memory_for(path), niceness=_NICENESS)
            )
        return self._child

    def close(self) -> None:
        """End the process; a request in it gets `model_failed`."""
        if self._child is not None:
            self._child.kill()
            self._child = None


def _outcome(answer: Replied | Refused | Failed) -> Reply | Problem | ModelFailed:
    if isinstance(answer, Replied):
        return reply_in_memory(answer)
    if isinstance(answer, Refused):
        return answer.problem()
    return model_failed(WorkFailed(answer))
