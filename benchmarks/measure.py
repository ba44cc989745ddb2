"""Runs of load against servers, and what they cost; the figures that the report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import Load, Target, run_load
from benchmarks.processes import ServerProcess

CONNECTIONS = 32


@dataclass(frozen=True)
class Subject:
    """A server, and the request it is measured with."""

    name: str
    server: ServerProcess
    target: Target


@dataclass(frozen=True)
class Run:
    """One load and the CPU time of all the server's processes during it."""

    load: Load
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """CPU time a request."""
        return self.cpu_s / self.load.requests * 1e6


@dataclass
class Series:
    """Runs of one subject with the same load."""

    runs: list[Run] = field(default_factory=list)
    discarded: int = 0  # requests of the run that is thrown away; they are counted like any other

    @property
    def cpu_us(self) -> float:
        return median(run.cpu_us for run in self.runs)

    @property
    def rate(self) -> float:
        return median(run.load.rate for run in self.runs)

    @property
    def p50_us(self) -> float:
        return median(run.load.p50_us for run in self.runs)

    @property
    def p99_us(self) -> float:
        return median(run.load.p99_us for run in self.runs)

    @property
    def answered_rate(self) -> float:
        """Of those that were answered with 200."""
        return median((run.load.requests - run.load.errors) / run.load.seconds for run in self.runs)

    @property
    def answered_cpu_us(self) -> float:
        """CPU time an answer, what refusing the others took included."""
        return median(run.cpu_s / max(1, run.load.requests - run.load.errors) * 1e6 for run in self.runs)

    @property
    def errors(self) -> int:
        return sum(run.load.errors for run in self.runs)

    @property
    def requests(self) -> int:
        return self.discarded + sum(run.load.requests for run in self.runs)


def run_once(subject: Subject, *, connections: int, seconds: float, pause_ms: int = 0) -> Run:
    before = subject.server.cpu_s()
    load = run_load(subject.target, connections=connections, seconds=seconds, pause_ms=pause_ms)
    return Run(load, subject.server.cpu_s() - before)


def interleaved(subjects: Sequence[Subject], *, rounds: int, connections: int, seconds: float) -> dict[str, Series]:
    """Each subject once, then each again, and so on: what disturbs the machine for a while disturbs all of them.

    The first run of each is thrown away: caches are cold, and some servers make their threads then.
    """
    series = {subject.name: Series() for subject in subjects}
    for subject in subjects:
        series[subject.name].discarded = run_once(subject, connections=connections, seconds=1).load.requests
    for _ in range(rounds):
        for subject in subjects:
            series[subject.name].runs.append(run_once(subject, connections=connections, seconds=seconds))
    return series
