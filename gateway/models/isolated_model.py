"""Processes of its own for one version of one API: for models that are slow, unusual, or were seen to crash.

Requests wait in one queue, which is bounded by the time that they will wait. What has queued while the last call ran is
one call, where that pays. A process that exceeds a limit is killed: its caller gets an error code, the console an
incident, and the next request a fresh process. Other APIs notice nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.model_process import MODEL_TIMEOUT_S, JointCallFailed, ModelProcess, RestartPause
from gateway.models.process_places import Place, ProcessPlaces
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import Reply
from inference.row_cost import RowCost
from inference.sandbox.async_child import Approve
from inference.sandbox.prediction_messages import ModelRef, Predict

QUEUE_S: Final = 2.0
"""The longest that a request waits for the ones before it."""
ALONE_S: Final = 1.0
"""How long after a call for several failed each request has a call of its own."""

_START_S: Final = 10.0  # while there is no process yet, those that wait for it have longer
_QUIET_TURNS: Final = 8  # of the event loop; what the sockets bring takes up to five until it is in the queue
_GATHER_SHARE: Final = 0.5  # of the time that a call takes; other APIs' requests may make the turns long
_TIMER_S: Final = 0.1
_GROW_S: Final = 0.5  # another process is started where requests would wait longer: starting one takes as long
_GROW_PAUSE_S: Final = 10.0  # after one that could not be started
_PLACE_PAUSE_S: Final = 0.5  # after there was no place: looking for one is work on files
_EXTRA_IDLE_S: Final = 10.0
_NEWS: Final = 0.3  # the share of the latest call in what a call is expected to take

_log = structlog.get_logger("gateway.models.isolated_model")


class _Waiting:
    """A request that waits for its turn, or for its answer."""

    __slots__ = ("answer", "approve", "call", "may_join", "request", "since")

    def __init__(self, request: Predict, approve: Approve | None) -> None:
        self.request = request
        self.approve = approve
        self.may_join = approve is None and b"content-encoding" not in request.headers
        self.since = time.monotonic()
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.call: _Call | None = None

    def settle(self, outcome: Reply | Problem | ModelFailed) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Reply):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


class _Call:
    """One message to a process. `requests`: those that it is to answer."""

    __slots__ = ("has_begun", "requests", "task")

    def __init__(self, requests: list[_Waiting]) -> None:
        self.requests = requests
        self.task: asyncio.Task[None] | None = None
        self.has_begun = False  # a task that is cancelled before never runs, and never says that the process is free

    @property
    def is_over(self) -> bool:
        """All callers have left."""
        return all(waiting.answer.done() for waiting in self.requests)

    def leave(self) -> None:
        """A caller has left: if it was the last, the process is ended, since it can't be told to stop."""
        if self.task is not None and self.has_begun and self.is_over:
            self.task.cancel()


class IsolatedModel:
    """One process, started by `load` or the first request, and again after it was killed; and more of them while
    requests would wait long and the machine has `places`.
    """

    def __init__(
        self,
        api_id: str,
        model: ModelRef,
        incidents: IncidentLog,
        *,
        places: ProcessPlaces | None = None,
        workspace_id: int | None = None,
        timeout_s: float = MODEL_TIMEOUT_S,
    ) -> None:
        self.pause = RestartPause()
        self.timeout_s = timeout_s
        self._api_id = api_id
        self._model = model
        self._incidents = incidents
        self._places = places
        self._workspace_id = workspace_id
        self._queue: deque[_Waiting] = deque()
        self._first = self._made()
        self._extra: dict[ModelProcess, Place] = {}
        self._starting: ModelProcess | None = None  # the latest of the extra ones
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None  # for the request that waits longest
        self._resumption: asyncio.TimerHandle | None = None  # after the pause
        self._rows_a_call = 1
        self._requests_a_call = 1
        self._call_s = 0.0
        self._alone_until = 0.0
        self._grows_again_at = 0.0
        self._is_retired = False
        self._is_gathering = False
        self._gathers_until = 0.0
        self._had_company = False  # the latest call was for several

    def _made(self) -> ModelProcess:
        return ModelProcess(self._api_id, self._model, self._incidents, self.pause)

    @property
    def is_busy(self) -> bool:
        return bool(self._queue) or any(process.is_busy for process in self._processes)

    @property
    def n_waiting(self) -> int:
        """Requests that wait for those which are computed."""
        return len(self._queue)

    @property
    def n_processes(self) -> int:
        return sum(process.pid is not None for process in self._processes)

    @property
    def pid(self) -> int | None:
        """Of the process that it always has."""
        return self._first.pid

    @property
    def last_used(self) -> float:
        return self._first.last_used

    @property
    def _processes(self) -> Sequence[ModelProcess]:
        return (self._first, *self._extra)

    async def load(self) -> None:
        """Start the process and have it predict the sample row. Raises `ModelLoadError`."""
        while self._first.is_busy and self._tasks:  # with requests of before it was unloaded
            await asyncio.wait(self._tasks)
        self._begin(self._first)
        try:
            cost = await self._first.load()
        finally:
            self._end(self._first)
        self.note_cost(cost)

    def note_cost(self, cost: RowCost) -> None:
        """What a row takes, as it was measured in the process: how many requests one call has at first."""
        self._rows_a_call = self._requests_a_call = cost.rows_a_call
        self._call_s = cost.alone_s if cost.rows_a_call == 1 else cost.joined_s * cost.rows_a_call

    async def predict(self, request: Predict, approve: Approve | None) -> Reply:
        """Raises `Problem` and `ModelFailed`."""
        self._check_crowd()
        waiting = _Waiting(request, approve)
        self._queue.append(waiting)
        self._dispatch_soon()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting.call is not None:
                waiting.call.leave()
            elif waiting in self._queue:
                self._queue.remove(waiting)
            self._close_if_retired()
            raise

    # --- the queue ---

    def _check_crowd(self) -> None:
        """Raises `Problem("too_many_requests")` for one that would wait too long."""
        wait_s = self._wait_s()
        if wait_s > QUEUE_S and not self._grow():
            raise _too_many(wait_s)

    def _wait_s(self) -> float:
        """How long one more request would wait, as far as calls take what they took."""
        now = time.monotonic()
        calls = math.ceil(len(self._queue) / self._most_a_call(now))
        left = min(self._left_s(process, now) for process in self._processes)
        return left + calls * self._call_s / len(self._processes)

    def _left_s(self, process: ModelProcess, now: float) -> float:
        """A call that has taken longer than expected will take as long again, for all that is known."""
        if not process.is_busy:
            return self.pause.left_s if process.pid is None else 0.0
        since = now - process.busy_since
        return self._call_s - since if since < self._call_s else since

    def _most_a_call(self, now: float) -> int:
        return 1 if now < self._alone_until else self._requests_a_call

    def _dispatch_soon(self) -> None:
        """At once, or where requests join: when the event loop brings no more of them.

        Callers who were answered together ask again together, within a few turns; others have company in their turn.
        """
        now = time.monotonic()
        if self._most_a_call(now) == 1 or all(process.is_busy for process in self._processes):
            self._dispatch()
        elif self._queue and not self._is_gathering:
            self._is_gathering = True
            self._gathers_until = now + self._call_s * _GATHER_SHARE
            asyncio.get_running_loop().call_soon(self._gather, len(self._queue), 0)

    def _gather(self, n_waiting: int, quiet_turns: int) -> None:
        quiet_turns = quiet_turns + 1 if len(self._queue) == n_waiting else 0
        is_quiet = quiet_turns >= (_QUIET_TURNS if self._had_company else 1)
        if is_quiet or len(self._queue) >= self._requests_a_call or time.monotonic() > self._gathers_until:
            self._is_gathering = False
            self._dispatch()
        else:
            asyncio.get_running_loop().call_soon(self._gather, len(self._queue), quiet_turns)

    def _dispatch(self) -> None:
        """Give what waits to the processes that are free."""
        while self._queue:
            process = self._free()
            if process is None:
                if not self._first.is_busy:
                    self._resume_later()
                if self._wait_s() > _GROW_S:
                    self._grow()
                break
            if requests := self._taken(process):
                self._start(process, _Call(requests))
        self._set_timer()

    def _free(self) -> ModelProcess | None:
        """One that may compute now: not one that would have to be started in the pause."""
        is_pause = self.pause.left_s > 0
        return next((one for one in self._processes if not one.is_busy and not (is_pause and one.pid is None)), None)

    def _resume_later(self) -> None:
        """It was the model that ended the process, or seemed to be: who asks for it meanwhile waits."""
        if self._resumption is None:
            self._resumption = asyncio.get_running_loop().call_later(self.pause.left_s, self._resume)

    def _resume(self) -> None:
        self._resumption = None
        self._dispatch()

    def _taken(self, process: ModelProcess) -> list[_Waiting]:
        """The requests of the next call, in their order; one if the model is to be loaded first, which takes long."""
        taken: list[_Waiting] = []
        most = self._most_a_call(time.monotonic()) if process.is_ready else 1
        while self._queue and len(taken) < most:
            if self._queue[0].answer.done():  # its caller has left
                self._queue.popleft()
            elif taken and not self._queue[0].may_join:
                break
            else:
                taken.append(self._queue.popleft())
                if not taken[0].may_join:
                    break
        return taken

    def _start(self, process: ModelProcess, call: _Call) -> None:
        self._begin(process)
        self._had_company = len(call.requests) > 1
        for waiting in call.requests:
            waiting.call = call
        call.task = self._in_task(self._make(process, call))

    async def _make(self, process: ModelProcess, call: _Call) -> None:
        call.has_begun = True
        try:
            if call.is_over:
                return
            if len(call.requests) == 1:
                await self._make_alone(process, call.requests[0])
            else:
                await self._make_joint(process, call.requests)
        finally:
            self._end(process)

    async def _make_alone(self, process: ModelProcess, waiting: _Waiting) -> None:
        was_ready = process.is_ready
        try:
            outcome: Reply | Problem | ModelFailed = await process.predict(
                waiting.request, waiting.approve, self.timeout_s
            )
            if was_ready:
                self._note_call(process, 1, asked=1)
        except (Problem, ModelFailed) as error:
            outcome = error
        except asyncio.CancelledError:
            waiting.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001  (what `approve` raises is the caller's)
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
            return
        waiting.settle(outcome)

    async def _make_joint(self, process: ModelProcess, requests: list[_Waiting]) -> None:
        try:
            outcomes = await process.predict_each([one.request for one in requests], self._rows_a_call)
        except JointCallFailed as failure:
            _log.warning("joint_call_failed", api_id=self._api_id, requests=len(requests), error=str(failure))
            self._alone_until = time.monotonic() + ALONE_S
            self._put_back(requests, has_failed=True)
        except (Problem, ModelFailed) as error:
            for waiting in requests:
                waiting.settle(error)
        else:
            if outcomes:
                self._note_call(process, len(outcomes), asked=len(requests))
            else:  # the first has too many rows, or wants reasons
                requests[0].may_join = False
            for waiting, outcome in zip(requests, outcomes, strict=False):
                waiting.settle(outcome)
            self._put_back(requests[len(outcomes) :], has_failed=False)

    def _put_back(self, requests: list[_Waiting], *, has_failed: bool) -> None:
        """Before all others. What waited for an answer in vain waits anew, for a call of its own."""
        for waiting in reversed(requests):
            waiting.call = None
            if has_failed:
                waiting.may_join, waiting.since = False, time.monotonic()
            self._queue.appendleft(waiting)

    def _note_call(self, process: ModelProcess, n_answered: int, *, asked: int) -> None:
        """Of bodies with many rows a call answers only some: then it is asked for fewer."""
        self._call_s += (time.monotonic() - process.busy_since - self._call_s) * _NEWS
        if n_answered < asked:
            self._requests_a_call = max(2, n_answered)
        elif asked == self._requests_a_call:
            self._requests_a_call = min(self._rows_a_call, 2 * asked)

    def _set_timer(self) -> None:
        if self._queue and self._timer is None:
            left_s = self._queue[0].since + QUEUE_S - time.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(_TIMER_S, left_s), self._on_timer)

    def _on_timer(self) -> None:
        """Refuse those that have waited too long: the ones before them took more than was expected."""
        self._timer = None
        now, longest_s = time.monotonic(), QUEUE_S if self._first.is_ready else _START_S
        while self._queue and now - self._queue[0].since >= longest_s:
            self._queue.popleft().settle(_too_many(self._wait_s()))
        self._dispatch()
        self._close_if_retired()

    # --- the processes ---

    def _begin(self, process: ModelProcess) -> None:
        process.is_busy, process.busy_since = True, time.monotonic()

    def _end(self, process: ModelProcess) -> None:
        process.is_busy, process.last_used = False, time.monotonic()
        if process in self._extra and process.pid is None:
            self._give_back(process)
        self._dispatch_soon()
        self._close_if_retired()

    def _grow(self) -> bool:
        """Start another process. False where there is no place for it, or it would be in vain."""
        if self._places is None or self._is_retired or self.pause.left_s or not self._first.pid:
            return False
        if self._starting is not None or time.monotonic() < self._grows_again_at:
            return False
        place = self._places.take(self._api_id, self._workspace_id)
        if place is None:
            self._grows_again_at = time.monotonic() + _PLACE_PAUSE_S
            return False
        process = self._starting = self._made()
        self._extra[process] = place
        self._begin(process)
        self._in_task(self._load(process))
        return True

    async def _load(self, process: ModelProcess) -> None:
        try:
            await process.load()
            _log.info("model_process_added", api_id=self._api_id, processes=self.n_processes)
        except ModelLoadError as error:
            self._grows_again_at = time.monotonic() + _GROW_PAUSE_S
            _log.warning("model_process_not_added", api_id=self._api_id, error=str(error))
            process.close()
        finally:
            self._starting = None
            self._end(process)

    def _give_back(self, process: ModelProcess) -> None:
        process.close()
        self._extra.pop(process).close()

    def tend(self) -> None:
        """End processes that are not needed any more. To be called every second."""
        now = time.monotonic()
        for process in list(self._extra):
            if not process.is_busy and now - process.last_used > _EXTRA_IDLE_S:
                self._give_back(process)

    def _in_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def retire(self) -> None:
        """End the processes as soon as nobody waits for an answer of them."""
        self._is_retired = True
        self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self._is_retired and not self.is_busy:
            self.close()

    def close(self) -> None:
        """End the processes; a request in one gets `model_failed`."""
        self._first.close()
        for process in list(self._extra):
            self._give_back(process)


def _too_many(wait_s: float) -> Problem:
    return Problem("too_many_requests", retry_after_s=max(1, math.ceil(wait_s)))
