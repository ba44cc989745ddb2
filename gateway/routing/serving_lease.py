"""Whether this worker may answer at this moment: its clock, its lease, and whether it is in step with the database.

A suspended process (SIGSTOP, a paused virtual machine, a laptop's lid) wakes up with old routes and with requests
waiting. No timer can catch that, because ready sockets may be served before it. So each request compares the boot
clock, which goes on during sleep, with a deadline that a running event loop keeps pushing on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

SLEEP_LIMIT_NS = 2_000_000_000
TICK_S = 0.25

# Linux counts suspended time in CLOCK_BOOTTIME only; elsewhere the monotonic clock is the nearest there is.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


boot_ns: Final[Callable[[], int]] = partial(time.clock_gettime_ns, _CLOCK)
"""Nanoseconds since the machine started, sleep included. Asked twice a request, so no function of ours around it."""


class ServingLease:
    """The deadline until which this worker may answer. 0 while it is not in step.

    `generation` counts the times it fell out of step: only a read that began in the present generation ends it.
    """

    def __init__(self, lease_s: float | None = None, *, on_asleep: Callable[[], None] | None = None) -> None:
        self.deadline_ns = 0
        self.generation = 0
        self._is_in_step = False
        self._last_tick_ns = boot_ns()
        self._lease_ns = None if lease_s is None else int(lease_s * 1_000_000_000)
        self._lease_end_ns = 0
        self._on_asleep = on_asleep or (lambda: None)

    @property
    def is_valid(self) -> bool:
        """Whether an answer may be given now. The hot path compares `deadline_ns` itself."""
        return boot_ns() <= self.deadline_ns

    def check(self) -> bool:
        """`is_valid`, and a gap in the ticks is noted so that a full read follows."""
        self._notice_sleep(boot_ns())
        return self.is_valid

    def tick(self) -> None:
        """Push the deadline on. A gap since the last tick means the process slept: then nothing is pushed."""
        now = boot_ns()
        self._notice_sleep(now)
        self._last_tick_ns = now
        self._set_deadline()

    def lose_step(self) -> None:
        """From now on nothing is answered until everything was read again."""
        self.generation += 1
        self._is_in_step = False
        self._set_deadline()
        self._on_asleep()

    def catch_up(self, generation: int) -> None:
        """Everything was read by a statement that was sent in this generation."""
        self._notice_sleep(boot_ns())
        if generation == self.generation:
            self._is_in_step = True
            self._set_deadline()

    def renew_lease(self, sent_ns: int) -> None:
        """The database has acknowledged a heartbeat that was sent then."""
        if self._lease_ns is not None:
            self._lease_end_ns = sent_ns + self._lease_ns
            self._set_deadline()

    async def keep_ticking(self) -> None:
        """Run for as long as the worker lives."""
        while True:
            self.tick()
            await asyncio.sleep(TICK_S)

    def _notice_sleep(self, now: int) -> None:
        if now - self._last_tick_ns > SLEEP_LIMIT_NS:
            self._last_tick_ns = now
            self.lose_step()

    def _set_deadline(self) -> None:
        if not self._is_in_step:
            self.deadline_ns = 0
            return
        deadline = self._last_tick_ns + SLEEP_LIMIT_NS
        self.deadline_ns = deadline if self._lease_ns is None else min(deadline, self._lease_end_ns)
