"""What a drill showed: answers against counts, the promises that were broken, and the table of all drills."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drills.apis import DrillApi
from drills.testbed import Site
from testkit.client import Client

BUSY_LOAD = 1.5
"""Load average a core, beyond which times say more about the machine than about the product."""

EXCUSED = 5
"""How many times its limit a time may take on a busy machine."""


@dataclass(frozen=True)
class Scale:
    """How long a drill lasts: the short form is a test."""

    is_long: bool

    def pick(self, short: float, long: float) -> float:
        return long if self.is_long else short


@dataclass
class Report:
    """One drill's line. `must` notes a promise that was broken; the drill goes on, so that all are seen.

    `is_timed`: what comes too late breaks a promise too; if not, it is only noted.
    """

    name: str
    is_timed: bool = True
    answers: int = 0
    counted: int = 0
    lost: int = 0
    double: int = 0
    longest_gap_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def must(self, is_kept: object, promise: str) -> None:
        if not is_kept:
            self.broken.append(promise)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def served(self, client: Client, who: str) -> None:
        """Every call got a 200. A worker that a busy machine kept from running for 2 s says `catching_up`."""
        refused = Counter(answer.status for answer in client.refusals if b"catching_up" not in answer.body)
        self.must(client.answers[200] and not refused, f"{who} gets 200: {dict(client.answers)}")
        asleep = len(client.refusals) - refused.total()
        if asleep:
            self.must(_is_machine_busy(), f"{who} gets 200: {asleep} answers were `catching_up`")
            self.note(f"{asleep} answers were `catching_up` (the machine is busy)")

    def within(self, took_s: float | None, limit_s: float, what: str) -> None:
        """A promise of time. A machine that has much other work to do breaks it without the product's fault."""
        if took_s is None:
            self.must(False, f"{what}: never")
        elif took_s > limit_s:
            words = f"{what}: {took_s:.2f} s, more than {limit_s:g} s"
            if not self.is_timed:
                self.note(words)
            elif _is_machine_busy() and took_s <= limit_s * EXCUSED:
                self.note(f"{words} (the machine is busy)")
            else:
                self.must(False, words)

    def tally(self, site: Site, api: DrillApi, *clients: Client, is_killed: bool = False) -> None:
        """Compare what the clients of one API noted with the database's counts; the gateway must have ended before.

        answered <= counted <= answered + what was in flight at the kills; equal without a kill.
        """
        counted = site.counts(api)
        answered: Counter[int] = Counter()
        for client in clients:
            for status, number in client.answers.items():
                answered[200 if status == 200 else 400 if status < 500 else 500] += number
            self.longest_gap_s = max(self.longest_gap_s, client.longest_gap_s)
        in_flight = sum(client.cut for client in clients)
        self.must(is_killed or not in_flight, f"{in_flight} requests were cut off, though nothing was killed")
        lost = sum(max(0, answered[kind] - counted[kind]) for kind in counted)
        double = max(0, sum(counted.values()) - answered.total() - in_flight)
        self.must(
            not lost, f"{lost} answers of {api.id} were not counted: {dict(answered)} answered, {counted} counted"
        )
        self.must(not double, f"{double} requests of {api.id} were counted twice")
        self.answers += answered.total()
        self.counted += sum(counted.values())
        self.lost += lost
        self.double += double


def _is_machine_busy() -> bool:
    return os.getloadavg()[0] / (os.cpu_count() or 1) > BUSY_LOAD


def until(condition: Callable[[], object], timeout_s: float, step_s: float = 0.02) -> float | None:
    """Wait for it; the seconds that took, or None when the time was over."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > timeout_s:
            return None
        time.sleep(step_s)
    return time.monotonic() - begun


def table(reports: Sequence[Report]) -> str:
    """`drill | answers | counted | lost | double | longest gap`, and what each must say besides."""
    head = ("drill", "answers", "counted", "lost", "double", "longest gap")
    lines = [
        (r.name, f"{r.answers:,}", f"{r.counted:,}", str(r.lost), str(r.double), f"{r.longest_gap_s:.2f} s")
        for r in reports
    ]
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([row(head), rule, *(row(line) for line in lines)])


def remarks(reports: Sequence[Report]) -> str:
    """What was noted and what was broken, a line each."""
    lines = []
    for report in reports:
        lines += [f"{report.name}: {note}" for note in report.notes]
        lines += [f"{report.name}: BROKEN: {promise}" for promise in report.broken]
    return "\n".join(lines)
