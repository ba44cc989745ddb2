"""How long prediction requests took, in plain numbers: prometheus_client's cost a microsecond and a lock each."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

LATENCY_BUCKETS_S: Final = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
)


class Latency:
    """A histogram of the seconds from a prediction request's head to its response."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.total_s = 0.0

    def note(self, seconds: float) -> None:
        self.buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        self.total_s += seconds
