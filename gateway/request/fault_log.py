"""The log lines by which the request ID of a 5xx is found.

A refusal with 503 says what state an API or this worker is in, and comes as often as anybody asks: those lines have a
bound. All other 5xx are faults of ours or of a model, and each has its line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from contract.problems import Problem

UNAVAILABLE_LINES_A_SECOND: Final = 10

_UNAVAILABLE: Final = 503

_log = structlog.get_logger("gateway.request.fault_log")


class FaultLog:
    """One worker's."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._second = 0
        self._lines = 0

    def note(self, problem: Problem, request_id: bytes, api_id: str) -> None:
        """`problem.__cause__` is the exception that nobody expected, where there was one."""
        if problem.kind.status == _UNAVAILABLE and not self._has_room():
            return
        _log.error(
            "internal_error" if problem.kind.code == "internal_error" else "request_failed",
            code=problem.kind.code,
            request_id=request_id.decode(),
            api_id=api_id,
            exc_info=problem.__cause__,
        )

    def _has_room(self) -> bool:
        second = int(self._now())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._lines <= UNAVAILABLE_LINES_A_SECOND


def internal_error(error: Exception) -> Problem:
    """What is answered when something happened that nobody expected. Its log line has the trace."""
    problem = Problem("internal_error")
    problem.__cause__ = error
    return problem
