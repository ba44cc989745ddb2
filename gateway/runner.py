"""Where work is done that would hold up the event loop: big bodies, many rows, slow models.

It runs in threads, behind one method. A thread can't be killed: after a timeout its caller is answered, and the API's
room is taken until the thread comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from gateway.problems import Problem
from gateway.routes import ApiState

THREADS: Final = 8
MODEL_TIMEOUT_S: Final = 30.0

T = TypeVar("T")


class Runner:
    """Runs blocking calls of requests, a bounded number at once for each API."""

    def __init__(self, *, timeout_s: float = MODEL_TIMEOUT_S) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "request")
        self._timeout_s = timeout_s

    async def run(self, state: ApiState, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises `Problem("model_timeout")`, time in the queue included."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await state.thread_room.acquire()
                future = asyncio.get_running_loop().run_in_executor(self._threads, work)
                future.add_done_callback(lambda done: _leave(state, done))
                return await asyncio.shield(future)
        except TimeoutError:
            raise Problem("model_timeout", f"No answer within {self._timeout_s:g} seconds.") from None

    def close(self) -> None:
        """Take no more work; what is in progress ends in its thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _leave(state: ApiState, done: asyncio.Future[T]) -> None:
    state.thread_room.release()
    if not done.cancelled():
        done.exception()  # looked at, so that a failure after the timeout is not reported as forgotten
