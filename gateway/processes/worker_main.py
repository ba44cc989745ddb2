"""The process of one gateway worker: `python -m gateway.processes.worker_main`, started by the master, never by hand.

It has a listening socket that the master keeps open for it, and a channel to the master. When that is cut, the master
is dead, and the worker ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, Final

import structlog
import uvloop

from contract.logs import set_up_logs
from contract.settings import BadSetting, Settings, read_settings
from gateway.db.identity import WorkerIdentity
from gateway.processes.channel import (
    EXIT_CRASHED,
    EXIT_MISCONFIGURED,
    EXIT_NO_LEDGER,
    FIRST_LOADS_S,
    MasterChannel,
)
from gateway.processes.figures import figures_of
from gateway.processes.worker import Worker
from gateway.usage.crash_note import CrashNote
from inference.engines import import_libraries

_FIRST_READ_S: Final = 2.0
_SIGN_OFF_S: Final = 1.5

_log = structlog.get_logger("gateway.processes.worker_main")


class WorkerLife:
    """From the first read to the last count."""

    def __init__(self, worker: Worker, listener: socket.socket, channel: MasterChannel, *, is_successor: bool) -> None:
        self._worker = worker
        self._listener = listener
        self._channel = channel
        self._is_successor = is_successor

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit code."""
        worker = self._worker
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        background = [asyncio.create_task(task) for task in (*worker.background(), self._answer_master())]
        await self._first_read()
        if self._is_successor:
            await self._first_loads()
        serving = asyncio.create_task(worker.server.serve(self._listener))
        if not worker.stopping.is_set():
            await self._announce()
            _freeze_garbage()
        await worker.stopping.wait()
        await self._drain(serving)
        for task in background:
            task.cancel()
        await self._sign_off()
        return worker.exit_code

    async def _first_read(self) -> None:
        """Connections wait in the socket's queue meanwhile. Without the database: accept, and answer `catching_up`."""
        await self._unless_stopped(self._worker.follower.is_started.wait(), _FIRST_READ_S)

    async def _first_loads(self) -> None:
        """The old worker serves meanwhile; here requests would wait for their models, and in vain if there are many."""
        await self._unless_stopped(self._worker.loader.idle(), FIRST_LOADS_S)

    async def _unless_stopped(self, awaited: Coroutine[Any, Any, object], timeout_s: float) -> None:
        waiting = {asyncio.create_task(awaited), asyncio.create_task(self._worker.stopping.wait())}
        _, pending = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _announce(self) -> None:
        worker = self._worker
        await worker.server.is_accepting.wait()
        revision, routes = worker.table.revision, len(worker.table)
        _log.info("worker_serving", revision=revision, routes=routes, in_step=worker.lease.is_valid)
        self._channel.say_ready()

    async def _answer_master(self) -> None:
        await self._channel.answer(lambda: figures_of(self._worker))
        _log.warning("master_gone")
        self._worker.stop()

    async def _drain(self, serving: asyncio.Task[None]) -> None:
        self._worker.follower.is_draining = True
        self._worker.follower.wake()
        self._worker.server.stop()
        await serving

    async def _sign_off(self) -> None:
        """The last counts, and that this worker is gone, if the database answers at once; else it is recovered."""
        worker = self._worker
        await asyncio.wait({asyncio.create_task(worker.trials.idle())}, timeout=_SIGN_OFF_S / 3)
        closing = asyncio.create_task(worker.ledgers.close(worker.database))
        await asyncio.wait({closing}, timeout=_SIGN_OFF_S)
        if closing.done() and closing.exception() is None:
            _log.info("worker_left")
        else:
            _log.warning("ledgers_left_to_recovery", reason=str(closing.exception() if closing.done() else "too slow"))


def _freeze_garbage() -> None:
    """What was made while starting stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _live(settings: Settings, arguments: argparse.Namespace, channel: MasterChannel) -> int:
    listener = socket.socket(fileno=arguments.listener)
    identity = WorkerIdentity(slot=arguments.slot, port=listener.getsockname()[1])
    structlog.contextvars.bind_contextvars(worker=identity.id[:8])
    try:
        worker = Worker(settings, identity)
        crash_note = CrashNote(settings.ledger_dir, identity.id)
    except OSError as error:
        _log.error("no_ledger", directory=str(settings.ledger_dir), reason=str(error))
        return EXIT_NO_LEDGER
    exit_code = await WorkerLife(worker, listener, channel, is_successor=arguments.is_successor).run()
    crash_note.remove()
    return exit_code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("--slot", "--listener", "--channel"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--is-successor", action="store_true")
    return parser.parse_args()


def main() -> int:
    """The process's life. Returns the exit code if it ends before it began."""
    arguments = _arguments()
    set_up_logs(slot=arguments.slot)
    try:
        settings = read_settings()
    except BadSetting as error:
        _log.error("bad_setting", reason=str(error))
        return EXIT_MISCONFIGURED
    channel = MasterChannel(socket.socket(fileno=arguments.channel))
    channel.die_with_master(EXIT_CRASHED)
    # The engines' libraries take long to import and hold up everything meanwhile: now, not beside the first requests.
    import_libraries()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        exit_code = EXIT_CRASHED
        try:
            exit_code = runner.run(_live(settings, arguments, channel))
        except Exception:  # noqa: BLE001  (the process ends here, whatever it was)
            _log.exception("worker_crashed")
        # No tidy end: a thread that is stuck in a model would hold it up, and everything that matters is written.
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    sys.exit(main())
