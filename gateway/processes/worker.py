"""One gateway worker process: `python -m gateway.processes.worker`, started by the master, never by hand.

It has a listening socket that the master keeps open for it, and a channel to the master: over it goes "ready" once
it accepts, and figures when they are asked for. When the channel is cut, the master is dead, and the worker ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import structlog
import uvloop

from contract.client_address import ClientAddresses
from contract.connections import database_url
from contract.logs import set_up_logs
from contract.settings import BadSetting, Settings, read_settings
from gateway.db.connection import Database, DatabaseAway, NoInterface
from gateway.db.identity import WorkerIdentity
from gateway.http.server import GatewayServer, connection_limits
from gateway.models.batch import BatchPool, Limits
from gateway.models.incidents import IncidentLog
from gateway.models.loader import ModelLoader
from gateway.models.runner import Runner
from gateway.processes.metrics import WorkerFigures
from gateway.request.app import Gateway
from gateway.routing.follower import Follower, WorkerGone, WrongTimeZone
from gateway.routing.routes import RouteTable
from gateway.routing.serving_lease import ServingLease
from gateway.usage.crash_note import CrashNote
from gateway.usage.ledger import LedgerSet
from gateway.usage.recovery import recover_orphans
from gateway.usage.trial_quota import TrialAccount
from inference.engines import import_libraries

EXIT_OK: Final = 0
EXIT_CRASHED: Final = 1
EXIT_MISCONFIGURED: Final = 78  # sysexits.h: EX_CONFIG. The master does not start such a worker again
EXIT_NO_LEDGER: Final = 74  # EX_IOERR

READY: Final = b"ready\n"
FIGURES: Final = b"figures\n"

_BOOKS_S: Final = 1.0
_FIRST_READ_S: Final = 2.0
FIRST_LOADS_S: Final = 15.0
_LEAVE_S: Final = 1.5
_ORPHAN_S: Final = 10.0

_log = structlog.get_logger("gateway.processes.worker")


class Worker:
    """All parts of one process, and the order in which they start and stop."""

    def __init__(
        self,
        env: Settings,
        *,
        slot: int,
        listener: socket.socket,
        channel: socket.socket,
        is_successor: bool = False,
    ) -> None:
        """Makes the ledger first: whoever has a row in the database must have a lock that proves its end."""
        self.identity = WorkerIdentity(slot=slot, port=listener.getsockname()[1])
        structlog.contextvars.bind_contextvars(worker=self.identity.id[:8])
        self._env = env
        self._listener = listener
        self._channel = channel
        self._is_successor = is_successor
        self._stopping = asyncio.Event()
        self._exit_code = EXIT_OK
        self.ledgers = LedgerSet(env.ledger_dir, self.identity.id, ZoneInfo(env.time_zone))
        self.database = Database(lambda: database_url(env))
        self.table = RouteTable(self._account, self._begin_anew)
        self._accounts: dict[str, TrialAccount] = {}
        self.incidents = IncidentLog(self.identity.id)
        self.loader = ModelLoader(
            env.model_store_dir,
            self._wake,
            self.incidents,
            memory_bytes=env.model_memory_mb * 1_000_000,
            loading=self.ledgers.loading,
        )
        self.lease = ServingLease(env.gateway_lease_s, on_asleep=self._fell_asleep)
        self.follower = Follower(
            self.identity,
            database=self.database,
            table=self.table,
            loader=self.loader,
            lease=self.lease,
            lease_s=env.gateway_lease_s,
            time_zone=env.time_zone,
        )
        self.limits = Limits(max_body_bytes=env.max_body_bytes, trial_max_rows=env.trial_max_rows)
        self.runner = Runner(
            BatchPool(
                spool_dir=env.var_dir / "spool",
                store_dir=env.model_store_dir,
                run_dir=env.var_dir / "run",
                incidents=self.incidents,
                limits=self.limits,
            )
        )
        self.app = Gateway(
            table=self.table,
            ledgers=self.ledgers,
            lease=self.lease,
            runner=self.runner,
            addresses=ClientAddresses(env.trusted_proxies),
            limits=self.limits,
            base_url=env.gateway_url,
            types_url=f"{env.console_url}/docs/inference-api/",
        )
        self.server = GatewayServer(self.app, connection_limits(env.max_body_bytes))

    def _account(self, api_id: str, limit: int, used: int) -> TrialAccount:
        """One for each trial as long as the process lives: it knows what its ledgers have reserved."""
        account = self._accounts.get(api_id)
        if account is None:
            account = TrialAccount(api_id, limit, used, database=self.database, ledgers=self.ledgers)
            self._accounts[api_id] = account
        account.limit = limit
        return account

    def _begin_anew(self) -> None:
        """The database was restored: what it says of our ledgers and their reservations is not what we know of them."""
        _log.warning("database_restored")
        self._accounts.clear()
        self.ledgers.rotate()

    def _wake(self) -> None:
        self.follower.wake()

    def _fell_asleep(self) -> None:
        _log.warning("out_of_step")
        self.follower.wake()

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        background = [
            asyncio.create_task(self.lease.keep_ticking()),
            asyncio.create_task(self.follower.listen()),
            asyncio.create_task(self._follow()),
            asyncio.create_task(self._keep_books()),
            asyncio.create_task(self._talk_to_master()),
        ]
        await self._first_read()
        if self._is_successor:
            await self._first_loads()
        serving = asyncio.create_task(self.server.serve(sockets=[self._listener]))
        if not self._stopping.is_set():
            await self._announce()
            _settle_garbage()
        await self._stopping.wait()
        self.follower.is_draining = True
        self.follower.wake()
        self.server.should_exit = True
        await serving
        for task in background:
            task.cancel()
        await self._leave()
        return self._exit_code

    def stop(self, exit_code: int = EXIT_OK) -> None:
        self._exit_code = exit_code
        self._stopping.set()

    async def _first_read(self) -> None:
        """Connections wait in the socket's queue meanwhile. Without the database: accept, and answer `catching_up`."""
        await self._unless_stopped(self.follower.is_started.wait(), _FIRST_READ_S)

    async def _first_loads(self) -> None:
        """The old worker serves meanwhile; here requests would wait for their models, and in vain if there are many."""
        await self._unless_stopped(self.loader.idle(), FIRST_LOADS_S)

    async def _unless_stopped(self, awaited: Coroutine[Any, Any, object], timeout_s: float) -> None:
        waiting = {asyncio.create_task(awaited), asyncio.create_task(self._stopping.wait())}
        _, pending = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    async def _announce(self) -> None:
        await self.server.is_accepting.wait()
        _log.info("worker_serving", revision=self.table.revision, routes=len(self.table), in_step=self.lease.is_valid)
        with suppress(OSError):  # the master is gone: _talk_to_master notices
            self._channel.send(READY)

    async def _follow(self) -> None:
        try:
            await self.follower.follow()
        except WorkerGone:
            self.lease.lose_step()
            _log.warning("worker_dismissed")
            self.stop()
        except WrongTimeZone as error:
            _log.error("wrong_time_zone", reason=str(error))
            self.stop(EXIT_MISCONFIGURED)
        except Exception:  # noqa: BLE001  (whatever it was: without this task nothing is obeyed, so the process ends)
            self.lease.lose_step()
            _log.exception("follower_crashed")
            self.stop(EXIT_CRASHED)

    async def _keep_books(self) -> None:
        while True:
            await asyncio.sleep(_BOOKS_S)
            try:
                self.loader.tend()
                self.runner.tend()
                await self._do_books()
            except (DatabaseAway, NoInterface):
                continue  # the follower reports it; the next round writes the same
            except Exception:  # noqa: BLE001  (counts must go on being written out, whatever went wrong once)
                _log.exception("books_not_done")

    async def _do_books(self) -> None:
        await self.ledgers.write_out(self.database)
        for account in self._accounts.values():
            account.flush()
        await recover_orphans(self.ledgers.directory, self.ledgers.names, self.database)
        await self.incidents.flush(self.database)

    async def _leave(self) -> None:
        """Settle and say good-bye, if the database answers at once; else an adopter does it."""
        settling = asyncio.gather(*(account.settled() for account in self._accounts.values()))
        await asyncio.wait({asyncio.ensure_future(settling)}, timeout=_LEAVE_S / 3)
        leaving = asyncio.create_task(self.ledgers.leave(self.database))
        await asyncio.wait({leaving}, timeout=_LEAVE_S)
        if leaving.done() and leaving.exception() is None:
            _log.info("worker_left")
        else:
            _log.warning("worker_left_its_ledger", reason=str(leaving.exception() if leaving.done() else "too slow"))

    async def _talk_to_master(self) -> None:
        reader, writer = await asyncio.open_connection(sock=self._channel)
        with suppress(ConnectionError):
            while await reader.readline() == FIGURES:
                writer.write(msgspec.json.encode(self._figures()) + b"\n")
        _log.warning("master_gone")
        self.stop()

    def _figures(self) -> WorkerFigures:
        states = {route.api_id: route.state for route in self.table}
        return WorkerFigures(
            slot=self.identity.slot,
            answers={api_id: state.answers for api_id, state in states.items() if state.answers},
            latency_buckets=self.app.latency.buckets,
            latency_total_s=self.app.latency.total_s,
            revision=self.table.revision,
            routes=len(self.table),
            models_loaded=self.loader.n_loaded,
            model_bytes=self.loader.used_bytes,
            connections=len(self.server.door.connections),
            requests_in_progress=self.ledgers.requests_in_flight,
            requests_waiting=self.loader.n_waiting + self.runner.batch.n_waiting,
            counts_waiting=self.ledgers.counts_waiting,
            is_in_step=self.lease.is_valid,
        )


def _settle_garbage() -> None:
    """What was made while starting stays: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _die_with_master(channel_fd: int) -> None:
    """The last resort of an orphan whose event loop is stuck, so that it can't drain by itself."""
    watch = select.poll()
    watch.register(channel_fd, 0)  # hang-up only
    watch.poll()
    time.sleep(_ORPHAN_S)
    os._exit(EXIT_CRASHED)


def main() -> int:
    """The process's life. Returns the exit code if it ends before it began."""
    arguments = argparse.ArgumentParser()
    for name in ("--slot", "--listener", "--channel"):
        arguments.add_argument(name, type=int, required=True)
    arguments.add_argument("--is-successor", action="store_true")
    given = arguments.parse_args()
    set_up_logs(slot=given.slot)
    try:
        env = read_settings()
    except BadSetting as error:
        _log.error("bad_setting", reason=str(error))
        return EXIT_MISCONFIGURED
    listener, channel = socket.socket(fileno=given.listener), socket.socket(fileno=given.channel)
    threading.Thread(target=_die_with_master, args=(os.dup(given.channel),), daemon=True).start()
    # The engines' libraries take long to import and hold up everything meanwhile: now, not beside the first requests.
    import_libraries()

    async def run() -> int:
        try:
            worker = Worker(env, slot=given.slot, listener=listener, channel=channel, is_successor=given.is_successor)
            crash_note = CrashNote(env.ledger_dir, worker.identity.id)
        except OSError as error:
            _log.error("no_ledger", directory=str(env.ledger_dir), reason=str(error))
            return EXIT_NO_LEDGER
        exit_code = await worker.run()
        crash_note.remove()
        return exit_code

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        exit_code = EXIT_CRASHED
        try:
            exit_code = runner.run(run())
        except Exception:  # noqa: BLE001  (the process ends here, whatever it was)
            _log.exception("worker_crashed")
        # No tidy end: a thread that is stuck in a model would hold it up, and everything that matters is written.
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    sys.exit(main())
