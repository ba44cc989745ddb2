"""Waiting for gateways and builds without asking the database again and again.

Triggers notify the channel `apimgmt_progress` when a gateway worker has applied or loaded something, is gone, or when
a build has ended. One thread of this process listens, on a connection of its own, as long as anybody waits. What it
hears is a hint to look again. Whoever waits also looks again after a pause that grows: leases and patience end without
a notification, and a broken connection notifies nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.db import DatabaseError, connection

logger = logging.getLogger(__name__)

CHANNEL = "apimgmt_progress"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
# Between two looks of one waiter, however much is heard: other APIs' changes are heard too.
LEAST_PAUSE_S = 0.01
# How often the listening thread looks whether anybody still waits.
_TICK_S = 0.25


class ProgressListener:
    """Counts what was heard. Threads that wait share it; there is one a process, `LISTENER`."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heard = 0
        self._waiting = 0
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiter(self) -> Iterator[Waiter]:
        """Listen while inside."""
        with self._condition:
            self._waiting += 1
        try:
            yield Waiter(self)
        finally:
            with self._condition:
                self._waiting -= 1

    @property
    def heard(self) -> int:
        return self._heard

    def wait(self, heard: int, timeout_s: float) -> None:
        """Until more than `heard` was heard, or the time is over."""
        with self._condition:
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="progress", daemon=True)
                self._thread.start()
            self._condition.wait_for(lambda: self._heard != heard, timeout_s)

    def _listen(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._hear()  # something may have come before
            while self._is_wanted():
                for _notification in connection.connection.notifies(timeout=_TICK_S, stop_after=1):
                    self._hear()
        except (DatabaseError, psycopg.Error) as error:
            logger.warning("progress_not_heard error=%s", error)
        finally:
            connection.close()
            with self._condition:
                self._thread = None

    def _is_wanted(self) -> bool:
        with self._condition:
            return self._waiting > 0

    def _hear(self) -> None:
        with self._condition:
            self._heard += 1
            self._condition.notify_all()


class Waiter:
    """One thread's pauses between two looks. What is heard during a look ends the next pause at once."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener
        self._heard = listener.heard
        self._pause_s = FIRST_PAUSE_S

    def pause(self, longest_s: float) -> None:
        """Wait until there may be something new to see."""
        time.sleep(min(LEAST_PAUSE_S, max(0.0, longest_s)))
        self._listener.wait(self._heard, max(0.0, min(self._pause_s, longest_s)))
        self._heard = self._listener.heard
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


LISTENER = ProgressListener()
