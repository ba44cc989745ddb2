"""Keeping in step with the database: what changed is read, obeyed, and then acknowledged.

One task, one connection, one thing after the other. NOTIFY only wakes it; what there is to read it learns from the
revision that every heartbeat brings back, so a lost notification costs a second and a restored database is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from gateway.db.connection import Connection, ContentRefused, Database, DatabaseAway, NoInterface
from gateway.db.identity import WorkerIdentity
from gateway.db.statements.incidents import read_quarantined
from gateway.db.statements.routes import read_routes, wait_for_notifications
from gateway.db.statements.workers import Heartbeat, Obstacle, insert_worker, send_heartbeat
from gateway.models.loader import ModelLoader
from gateway.routing.routes import RouteTable
from gateway.routing.serving_lease import ServingLease, boot_ns

HEARTBEAT_S: Final = 1.0
LISTEN_WAIT_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 1.0

_log = structlog.get_logger("gateway.routing.follower")


class WorkerGone(Exception):
    """This worker's row was dismissed, or is not in a restored database: it must end, and another start."""


class WrongTimeZone(Exception):
    """The installation counts days in another time zone than this process would."""


class Follower:
    """Applies routes and writes this worker's row. `is_started`: the first read was applied and acknowledged."""

    def __init__(
        self,
        worker: WorkerIdentity,
        *,
        database: Database,
        table: RouteTable,
        loader: ModelLoader,
        lease: ServingLease,
        lease_s: float | None,
        time_zone: str,
        first_ledger: str,
        find_obstacle: Callable[[], Obstacle | None] = lambda: None,
    ) -> None:
        """`find_obstacle` tells what this worker can't write into the database; each heartbeat passes it on."""
        self.is_started = asyncio.Event()
        self.is_draining = False
        self._worker = worker
        self._database = database
        self._table = table
        self._loader = loader
        self._lease = lease
        self._lease_s = lease_s
        self._time_zone = time_zone
        self._first_ledger = first_ledger
        self._find_obstacle = find_obstacle
        self._news = asyncio.Event()
        self._listening = asyncio.Event()
        self._has_joined = False
        self._is_notified = False
        self._read_generation = -1
        self._obstacle = ""

    def wake(self) -> None:
        """There is something to tell the database, or to ask it."""
        self._news.set()

    async def listen(self) -> None:
        """Run beside `follow`, for as long as the worker lives."""
        while True:
            with suppress(DatabaseAway):  # `follow` meets the same obstacle and reports it
                await wait_for_notifications(self._database, self._notified)
            await asyncio.sleep(_FIRST_PAUSE_S)

    def _notified(self) -> None:
        self._listening.set()
        self._is_notified = True
        self.wake()

    async def follow(self) -> None:
        """Run for as long as the worker lives. Raises `WorkerGone`, `WrongTimeZone`."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                connection = await self._database.connect()
                try:
                    pause_s = _FIRST_PAUSE_S
                    await self._follow(connection)
                finally:
                    await connection.close()
            except (DatabaseAway, NoInterface) as error:
                self._report(str(error))
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _follow(self, connection: Connection) -> None:
        await self._join(connection)
        while True:
            self._news.clear()
            await self._step(connection)
            self._report("")
            await _wait(self._news, HEARTBEAT_S)

    async def _join(self, connection: Connection) -> None:
        """LISTEN first, then the row, then the routes: no change can fall between them."""
        if self._has_joined:
            return
        await _wait(self._listening, LISTEN_WAIT_S)
        await insert_worker(connection, self._worker, self._first_ledger, self._lease_s)
        self._has_joined = True

    async def _step(self, connection: Connection) -> None:
        """Read what there is to read, obey it, say so, and see whether there is more."""
        generation = self._lease.generation
        if generation != self._read_generation:
            await self._read(connection, is_full=True)
        elif self._is_notified:
            await self._read(connection, is_full=False)
        beat = await self._beat(connection)
        if self._table.needs_full_read(beat.epoch, beat.revision):
            self._read_generation = -1
            self.wake()
            return
        self._read_generation = generation
        self._lease.catch_up(generation)
        if self._table.is_behind(beat.epoch, beat.revision):
            self._is_notified = True
            self.wake()
        if not self.is_started.is_set():
            self.is_started.set()
            self.wake()  # say at once that the worker serves

    async def _read(self, connection: Connection, *, is_full: bool) -> None:
        self._is_notified = False
        try:
            quarantined = await read_quarantined(connection)  # before the routes: nothing of it is loaded here unseen
            read = await read_routes(connection, -1 if is_full else self._table.revision)
        except (DatabaseAway, NoInterface):
            self._is_notified = True  # a quarantine has no revision: no heartbeat would tell of it again
            raise
        if read.time_zone != self._time_zone:
            raise WrongTimeZone(
                f"TIME_ZONE is {self._time_zone}, but this installation counts its days in {read.time_zone}: "
                "set the same TIME_ZONE everywhere"
            )
        if not is_full and self._table.needs_full_read(read.epoch, read.revision):
            self._read_generation = -1
            read = await read_routes(connection, -1)
            is_full = True
        self._loader.quarantine(quarantined)
        if is_full or read.rows or self._table.is_behind(read.epoch, read.revision):
            is_first = self._table.epoch is None
            self._loader.follow(self._table.apply(read, is_full=is_full), is_first=is_first)

    async def _beat(self, connection: Connection) -> Heartbeat:
        loads, dropped = self._loader.reports.pending()
        sent_ns = boot_ns()
        try:
            beat = await send_heartbeat(
                connection,
                self._worker.id,
                state=self._state,
                epoch=self._epoch,
                revision=self._table.revision,
                lease_s=self._lease_s,
                loads=loads,
                dropped=dropped,
                obstacle=self._find_obstacle(),
            )
        except ContentRefused as error:
            # Said again with each heartbeat, it would keep this worker out of reach for ever.
            _log.error("loads_refused", reason=str(error), apis=[load.api_id for load in loads])
            self._loader.reports.acknowledge(loads, [])
            raise
        if beat.is_gone:
            raise WorkerGone
        self._lease.renew_lease(sent_ns)
        self._loader.reports.acknowledge(loads, dropped)
        return beat

    @property
    def _state(self) -> str:
        if self.is_draining:
            return "draining"
        return "serving" if self.is_started.is_set() else "starting"

    @property
    def _epoch(self) -> UUID | None:
        return self._table.epoch

    def _report(self, obstacle: str) -> None:
        """Say once what keeps this worker from the database, and once that it is over."""
        if obstacle != self._obstacle:
            if obstacle:
                _log.warning("database_away", reason=obstacle)
            else:
                _log.info("database_back")
            self._obstacle = obstacle


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    """Until the event or the end of the time. (Python 3.11's `wait_for` can lose a cancellation.)"""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
