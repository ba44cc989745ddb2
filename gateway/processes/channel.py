"""What a worker and its master tell each other, in words and by its exit code, and the worker's end of the channel.

The worker says `READY` once it accepts; the master asks for `FIGURES`, and gets them as one line of JSON. When the
channel is cut, the master is dead.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from gateway.processes.metrics import WorkerFigures

READY: Final = b"ready\n"
FIGURES: Final = b"figures\n"

FIRST_LOADS_S: Final = 15.0
"""So long a worker that takes another's place waits for its models before it is ready."""

EXIT_OK: Final = 0
EXIT_CRASHED: Final = 1
EXIT_NO_LEDGER: Final = 74  # sysexits.h: EX_IOERR
EXIT_MISCONFIGURED: Final = 78  # sysexits.h: EX_CONFIG. The master does not start such a worker again

_ORPHAN_S: Final = 10.0


class MasterChannel:
    """The worker's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def say_ready(self) -> None:
        with suppress(OSError):  # the master is gone: `answer` notices
            self._channel.send(READY)

    async def answer(self, find_figures: Callable[[], WorkerFigures]) -> None:
        """Until the master is gone."""
        reader, writer = await asyncio.open_connection(sock=self._channel)
        with suppress(ConnectionError):
            while await reader.readline() == FIGURES:
                writer.write(msgspec.json.encode(find_figures()) + b"\n")

    def die_with_master(self, exit_code: int) -> None:
        """The last resort of an orphan whose event loop is stuck, so that it can't drain by itself."""
        threading.Thread(target=_watch, args=(os.dup(self._channel.fileno()), exit_code), daemon=True).start()


def _watch(channel_fd: int, exit_code: int) -> None:
    watch = select.poll()
    watch.register(channel_fd, 0)  # hang-up only
    watch.poll()
    time.sleep(_ORPHAN_S)
    os._exit(exit_code)
