"""The gateway's side of the database: connections that may fail at any moment, and every statement it sends.

No caller waits longer than `TIMEOUT_S` for an answer. Whatever goes wrong with a connection, it is thrown away and
the caller gets `DatabaseAway`; nothing here retries, because only the caller knows whether a statement may be sent
twice.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from gateway.whoami import WorkerIdentity
from runtime.connections import NotRunning

Connection = psycopg.AsyncConnection[TupleRow]

TIMEOUT_S = 5.0
CHANNEL = "gateway_route"

_CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "application_name": "gateway",
    # A database host that vanished without a word must not hold a statement for the kernel's 15 minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
    "options": "-c statement_timeout=5000 -c idle_in_transaction_session_timeout=10000 -c timezone=UTC",
}


class DatabaseAway(Exception):
    """The database did not answer, refused, or took too long. What was sent may or may not have been carried out."""


class StatementRefused(DatabaseAway):
    """The database answers, but refuses a statement for what is in it: the same again will be refused again.

    To most callers that is as good as away. Who keeps a statement to send it again must not keep this one.
    """


class NoInterface(Exception):
    """The database answers, but the view or a table is not there as this gateway knows it (a migration is due)."""


class Database:
    """Opens connections, and lends up to `size` of them at a time. `find_url` is asked each time: it may move."""

    def __init__(self, find_url: Callable[[], str], *, size: int = 4) -> None:
        self._find_url = find_url
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(size)

    async def connect(self) -> Connection:
        """A fresh connection in autocommit mode, the caller's own. Raises `DatabaseAway`."""
        try:
            url = self._find_url()
        except NotRunning as error:
            raise DatabaseAway(str(error)) from None
        with _translated_errors():
            async with asyncio.timeout(TIMEOUT_S):
                return await psycopg.AsyncConnection.connect(url, autocommit=True, **_CONNECT_OPTIONS)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Connection]:
        """A connection for one piece of work of at most `TIMEOUT_S`. Raises `DatabaseAway`, `NoInterface`."""
        async with self._room:
            connection = self._idle_connection() or await self.connect()
            try:
                with bounded(connection):
                    yield connection
            except BaseException:
                await connection.close()
                raise
            self._idle.append(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Like `lent`, as one transaction."""
        async with self.lent() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    def _idle_connection(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and not _was_hung_up(connection):
                return connection
        return None


def _was_hung_up(connection: Connection) -> bool:
    """Whether the server closed its end while the connection lay idle (a restart): found without a round trip."""
    try:
        connection.pgconn.consume_input()
    except psycopg.Error:
        return True
    return connection.pgconn.status != psycopg.pq.ConnStatus.OK


@contextmanager
def bounded(connection: Connection) -> Iterator[None]:
    """Statements inside end within `TIMEOUT_S`, one way or the other. Raises `DatabaseAway`, `NoInterface`.

    The socket is hung up instead of cancelling the task: a cancelled driver asks the server to cancel the statement
    and waits for its answer, for ever if the server is frozen.
    """
    timer = asyncio.get_running_loop().call_later(TIMEOUT_S, _hang_up, connection)
    try:
        with _translated_errors():
            yield
    finally:
        timer.cancel()


def _hang_up(connection: Connection) -> None:
    if connection.closed:
        return
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate, suppress(OSError):  # gone by itself meanwhile
        duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """A driver's errors as ours: the database is away, or it is not the one this gateway knows."""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise NoInterface(_one_line(error)) from None
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StatementRefused(_one_line(error)) from None
    except (psycopg.Error, OSError) as error:
        raise DatabaseAway(_one_line(error)) from None


def _storable(text: str) -> str:
    """A library's message as PostgreSQL can keep it: a damaged file may be quoted with bytes that are no text."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- routes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RouteRow:
    """One line of `gateway_route_v1`. `versions` is JSON, read by `gateway.routes`."""

    api_id: str
    revision: int
    target: str
    type: str
    key_digest: bytes | None
    version_id: int
    candidate_id: int | None
    quota_limit: int | None
    networks: list[str]
    versions: str | None
    model_name: str
    hides_schema: bool
    has_public_description: bool
    quota_used: int | None


@dataclass(frozen=True)
class RouteRead:
    """What one statement, so one snapshot, saw: the installation's row, and the routes after some revision."""

    epoch: UUID
    revision: int
    time_zone: str
    rows: list[RouteRow]


_READ_ROUTES = """
SELECT i.epoch, i.revision, i.time_zone,
       r.api_id, r.revision, r.target, r.type, r.key_digest, r.version_id, r.candidate_id, r.quota_limit,
       r.networks, r.versions::text, r.model_name, r.hides_schema, r.has_public_description, q.used
FROM apimgmt_installation i
LEFT JOIN gateway_route_v1 r ON r.revision > %s
LEFT JOIN apimgmt_trialquota q ON q.api_id = r.api_id AND r.type = 'trial'
WHERE i.id = 1
"""


async def read_routes(connection: Connection, after_revision: int) -> RouteRead:
    """Routes with a later revision than that; all of them after -1. Raises `DatabaseAway`, `NoInterface`."""
    found = await _fetch_all(connection, _READ_ROUTES, [after_revision])
    if not found:
        raise NoInterface("apimgmt_installation has no row")
    epoch, revision, time_zone = found[0][:3]
    return RouteRead(epoch, revision, time_zone, [RouteRow(*row[3:]) for row in found if row[3] is not None])


async def wait_for_notifications(database: Database, on_notified: Callable[[], None]) -> None:
    """LISTEN on a connection of its own, for ever; also called once when listening begins. Raises `DatabaseAway`."""
    connection = await database.connect()
    try:
        await _execute(connection, f"LISTEN {CHANNEL}", None)
        on_notified()
        with _translated_errors():
            async for _ in connection.notifies():
                on_notified()
    finally:
        await connection.close()


# --- the worker's own row ---------------------------------------------------------------------------------------

_INSERT_WORKER = """
INSERT INTO apimgmt_gatewayworker
    (id, host, pid, slot, port, state, applied_revision, started_at, heartbeat_at, lease_until,
     gone_reason, dismissed_by)
VALUES (%(id)s, %(host)s, %(pid)s, %(slot)s, %(port)s, 'starting', -1, clock_timestamp(), clock_timestamp(),
        clock_timestamp() + %(lease_s)s * interval '1 second', '', '')
ON CONFLICT (id) DO NOTHING
"""


async def insert_worker(connection: Connection, worker: WorkerIdentity, lease_s: float | None) -> None:
    """From the commit on this worker counts, as one that has confirmed nothing. May be sent twice."""
    values = {"id": worker.id, "host": worker.host, "pid": worker.pid, "slot": worker.slot, "port": worker.port}
    await _execute(connection, _INSERT_WORKER, values | {"lease_s": lease_s})


@dataclass(frozen=True)
class Heartbeat:
    """What the database said to a heartbeat. `is_gone`: the worker's row was dismissed, or a restore took it away."""

    is_gone: bool
    epoch: UUID
    revision: int


@dataclass(frozen=True)
class ModelLoad:
    """Whether a version could be loaded for an API: no error means it could."""

    api_id: str
    version_id: int
    error: str | None


_HEARTBEAT = """
WITH beat AS (
    UPDATE apimgmt_gatewayworker
    SET heartbeat_at = clock_timestamp(), state = %(state)s, epoch = %(epoch)s, applied_revision = %(revision)s,
        lease_until = clock_timestamp() + %(lease_s)s * interval '1 second'
    WHERE id = %(id)s AND gone_at IS NULL
    RETURNING id
)
SELECT EXISTS (SELECT FROM beat), i.epoch, i.revision FROM apimgmt_installation i WHERE i.id = 1
"""

_FORGET_LOADS = """
DELETE FROM apimgmt_modelload l
USING unnest(%(apis)s::text[], %(versions)s::bigint[]) AS gone (api_id, version_id)
WHERE l.worker_id = %(id)s AND l.api_id = gone.api_id AND l.version_id = gone.version_id
"""

_NOTE_LOADS = """
INSERT INTO apimgmt_modelload (worker_id, api_id, version_id, is_loaded, error, loaded_at)
SELECT %(id)s::text, api_id, version_id, error IS NULL, coalesce(error, ''), clock_timestamp()
FROM unnest(%(apis)s::text[], %(versions)s::bigint[], %(errors)s::text[]) AS loads (api_id, version_id, error)
WHERE EXISTS (SELECT FROM apimgmt_gatewayworker WHERE id = %(id)s::text AND gone_at IS NULL)
ON CONFLICT (worker_id, api_id, version_id) DO UPDATE
SET is_loaded = EXCLUDED.is_loaded, error = EXCLUDED.error, loaded_at = EXCLUDED.loaded_at
"""


async def send_heartbeat(
    connection: Connection,
    worker_id: str,
    *,
    state: str,
    epoch: UUID | None,
    revision: int,
    lease_s: float | None,
    loads: Sequence[ModelLoad] = (),
    dropped: Sequence[tuple[str, int]] = (),
) -> Heartbeat:
    """Say what is applied and loaded, hear what there is. One transaction; may be sent twice.

    `dropped` (api, version) must go together with the revision that dropped them: an old "loaded" under a new
    revision would confirm a model that is no longer there.
    """
    values = {"id": worker_id, "state": state, "epoch": epoch, "revision": revision, "lease_s": lease_s}
    if not loads and not dropped:
        return _heartbeat(await _fetch_all(connection, _HEARTBEAT, values))
    with bounded(connection):
        async with connection.transaction():
            await connection.execute(
                _FORGET_LOADS,
                {"id": worker_id, "apis": [api for api, _ in dropped], "versions": [version for _, version in dropped]},
            )
            answer = _heartbeat(await (await connection.execute(_HEARTBEAT, values)).fetchall())
            await connection.execute(
                _NOTE_LOADS,
                {
                    "id": worker_id,
                    "apis": [load.api_id for load in loads],
                    "versions": [load.version_id for load in loads],
                    "errors": [load.error and _storable(load.error) for load in loads],
                },
            )
            return answer


def _heartbeat(found: list[TupleRow]) -> Heartbeat:
    if not found:
        raise NoInterface("apimgmt_installation has no row")
    is_alive, epoch, revision = found[0]
    return Heartbeat(not is_alive, epoch, revision)


# --- incidents --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """What the model of one API did to the process that ran it."""

    api_id: str
    version_id: int
    worker_id: str
    kind: str
    reason: str


_WRITE_INCIDENTS = """
INSERT INTO apimgmt_gatewayincident (api_id, version_id, worker_id, kind, reason, at)
SELECT api_id, version_id, worker_id, kind, reason, clock_timestamp()
FROM unnest(%(apis)s::text[], %(versions)s::bigint[], %(workers)s::text[], %(kinds)s::text[], %(reasons)s::text[])
     AS incident (api_id, version_id, worker_id, kind, reason)
"""

# What keeps a version out of the workers is kept; of the rest the latest hundred of each API tell enough.
_FORGET_INCIDENTS = """
DELETE FROM apimgmt_gatewayincident old
WHERE old.api_id = ANY(%(apis)s) AND old.kind <> 'worker_crashed' AND old.id <= (
    SELECT kept.id FROM apimgmt_gatewayincident kept
    WHERE kept.api_id = old.api_id ORDER BY kept.id DESC OFFSET 100 LIMIT 1
)
"""

_READ_QUARANTINED = "SELECT DISTINCT api_id, version_id FROM apimgmt_gatewayincident WHERE kind = 'worker_crashed'"

_SERVED_VERSION = "SELECT version_id FROM gateway_route_v1 WHERE api_id = %s"


async def write_incidents(connection: Connection, incidents: Sequence[Incident]) -> None:
    """Inside the caller's transaction, which goes on if they are refused. Raises `StatementRefused`.

    Workers are woken, because an incident may change where they run a model.
    """
    apis = [incident.api_id for incident in incidents]
    values = {
        "apis": apis,
        "versions": [incident.version_id for incident in incidents],
        "workers": [incident.worker_id for incident in incidents],
        "kinds": [incident.kind for incident in incidents],
        "reasons": [_storable(incident.reason) for incident in incidents],
    }
    with _translated_errors():
        async with connection.transaction():
            await connection.execute(_WRITE_INCIDENTS, values)
            await connection.execute(_FORGET_INCIDENTS, {"apis": apis})
            await connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])


async def read_quarantined(connection: Connection) -> frozenset[tuple[str, int]]:
    """The (API, version) that crashed a worker. Raises `DatabaseAway`, `NoInterface`."""
    return frozenset((row[0], row[1]) for row in await _fetch_all(connection, _READ_QUARANTINED, None))


async def served_version(connection: Connection, api_id: str) -> int:
    """The id of the version that the API serves, or 0 if there is no such API."""
    row = await (await connection.execute(_SERVED_VERSION, [api_id])).fetchone()
    return int(row[0]) if row else 0


# --- ledgers ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DayCount:
    """Absolute counts of one cell: one API, one day, one ledger."""

    api_id: str
    day: date
    count_200: int
    count_4xx: int
    count_5xx: int


_REGISTER_LEDGER = """
INSERT INTO apimgmt_ledger (name, worker_id, state, opened_at)
VALUES (%(name)s, %(worker_id)s, 'open', clock_timestamp())
ON CONFLICT (name) DO NOTHING
"""

_SHARE_LEDGER = "SELECT id, state FROM apimgmt_ledger WHERE name = %s FOR SHARE"
_LOCK_LEDGER = "SELECT id, state FROM apimgmt_ledger WHERE name = %s FOR UPDATE"

# Counts only rise, so a write-out that is repeated or overtaken by a later one changes nothing.
_WRITE_COUNTS = """
INSERT INTO apimgmt_requeststat (api_id, day, ledger, count_200, count_4xx, count_5xx)
SELECT api_id, day, %(ledger)s, count_200, count_4xx, count_5xx
FROM unnest(%(apis)s::text[], %(days)s::date[], %(c200)s::bigint[], %(c4xx)s::bigint[], %(c5xx)s::bigint[])
    AS cells (api_id, day, count_200, count_4xx, count_5xx)
ON CONFLICT (api_id, day, ledger) DO UPDATE
SET count_200 = GREATEST(apimgmt_requeststat.count_200, EXCLUDED.count_200),
    count_4xx = GREATEST(apimgmt_requeststat.count_4xx, EXCLUDED.count_4xx),
    count_5xx = GREATEST(apimgmt_requeststat.count_5xx, EXCLUDED.count_5xx)
"""

# What this ledger reserved, less what it gave back, less its answered 200s, was never answered: it goes back.
_SETTLE_TRIAL_USE = """
WITH use AS (
    SELECT u.id, u.api_id,
           u.reserved - u.returned - coalesce(
               (SELECT sum(s.count_200) FROM apimgmt_requeststat s WHERE s.api_id = u.api_id AND s.ledger = u.ledger), 0
           ) AS unanswered
    FROM apimgmt_trialuse u WHERE u.ledger = %(ledger)s
), noted AS (
    UPDATE apimgmt_trialuse u SET returned = u.returned + use.unanswered
    FROM use WHERE u.id = use.id AND use.unanswered > 0
)
UPDATE apimgmt_trialquota q SET used = q.used - use.unanswered
FROM use WHERE q.api_id = use.api_id AND use.unanswered > 0
"""

_CLOSE_LEDGER = "UPDATE apimgmt_ledger SET state = 'closed', closed_at = clock_timestamp() WHERE id = %s"

_MARK_GONE = """
UPDATE apimgmt_gatewayworker SET gone_at = clock_timestamp(), gone_reason = %(reason)s
WHERE id = %(id)s AND gone_at IS NULL
"""


_WORKER_OF_LEDGER = "SELECT worker_id FROM apimgmt_ledger WHERE name = %s"


class LedgerClosed(Exception):
    """The ledger is no longer open in the database, so nothing may be written under its name any more."""


async def write_counts(connection: Connection, name: str, worker_id: str, counts: Sequence[DayCount]) -> None:
    """Write out absolute counts, inside the caller's transaction. Raises `LedgerClosed`.

    The open state is read FOR SHARE: closing and folding take FOR UPDATE, so a late write-out can't slip past a fold.
    """
    await connection.execute(_REGISTER_LEDGER, {"name": name, "worker_id": worker_id})
    ledger = await _open_ledger(connection, _SHARE_LEDGER, name)
    await _upsert_counts(connection, ledger, counts)


async def close_ledger(
    connection: Connection,
    name: str,
    worker_id: str,
    counts: Sequence[DayCount],
    *,
    settle: bool = True,
) -> None:
    """Write out for the last time, settle trial use and close, inside the caller's transaction.

    The worker's id is only used if the database has never heard of the ledger.

    A ledger that is closed already was written out in full by whoever closed it: nothing is left to do.
    `settle=False` when the counts are not to be trusted: giving back too much would overdraw a trial.
    """
    await connection.execute(_REGISTER_LEDGER, {"name": name, "worker_id": worker_id})
    try:
        ledger = await _open_ledger(connection, _LOCK_LEDGER, name)
    except LedgerClosed:
        return
    await _upsert_counts(connection, ledger, counts)
    if settle:
        await connection.execute(_SETTLE_TRIAL_USE, {"ledger": ledger})
    await connection.execute(_CLOSE_LEDGER, [ledger])


async def mark_gone(connection: Connection, worker_id: str, reason: str) -> None:
    """The worker's end is proven: it no longer counts for confirmations."""
    await connection.execute(_MARK_GONE, {"id": worker_id, "reason": reason})


async def worker_of_ledger(connection: Connection, name: str) -> str:
    """The id of the worker that the database knows as the ledger's owner, or ""."""
    row = await (await connection.execute(_WORKER_OF_LEDGER, [name])).fetchone()
    return str(row[0]) if row else ""


async def _open_ledger(connection: Connection, statement: LiteralString, name: str) -> int:
    found = await (await connection.execute(statement, [name])).fetchone()
    if found is None or found[1] != "open":
        raise LedgerClosed(name)
    return int(found[0])


async def _upsert_counts(connection: Connection, ledger: int, counts: Sequence[DayCount]) -> None:
    if not counts:
        return
    await connection.execute(
        _WRITE_COUNTS,
        {
            "ledger": ledger,
            "apis": [count.api_id for count in counts],
            "days": [count.day for count in counts],
            "c200": [count.count_200 for count in counts],
            "c4xx": [count.count_4xx for count in counts],
            "c5xx": [count.count_5xx for count in counts],
        },
    )


# --- trial quota ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settlement:
    """A trial's books after one transaction: what was granted now, and the totals."""

    granted: int
    reserved: int
    returned: int
    used: int
    limit: int


_MY_USE = """
SELECT u.reserved, u.returned FROM apimgmt_trialuse u WHERE u.api_id = %(api_id)s AND u.ledger = %(ledger)s FOR UPDATE
"""

_TAKE = """
WITH before AS (
    SELECT api_id, used - %(back)s AS used, request_limit
    FROM apimgmt_trialquota WHERE api_id = %(api_id)s FOR NO KEY UPDATE
)
UPDATE apimgmt_trialquota q
SET used = before.used + LEAST(%(wanted)s, GREATEST(before.request_limit - before.used, 0))
FROM before WHERE q.api_id = before.api_id
RETURNING q.used - before.used, q.used, q.request_limit
"""

_NOTE_USE = """
INSERT INTO apimgmt_trialuse (api_id, ledger, reserved, returned)
VALUES (%(api_id)s, %(ledger)s, %(reserved)s, %(returned)s)
ON CONFLICT (api_id, ledger) DO UPDATE SET reserved = EXCLUDED.reserved, returned = EXCLUDED.returned
"""

_ANSWERED = "SELECT coalesce(sum(count_200), 0)::bigint FROM apimgmt_requeststat WHERE api_id = %s"
_USED = "SELECT used FROM apimgmt_trialquota WHERE api_id = %s"


async def settle_quota(
    connection: Connection,
    api_id: str,
    *,
    ledger: str,
    worker_id: str,
    known_reserved: int,
    returned: int,
    wanted: int,
) -> Settlement | None:
    """Reserve up to `wanted` requests and bring what was given back to `returned`, inside the caller's transaction.

    Only one writer exists per (API, ledger), and both totals are absolute, so a commit whose answer was lost may be
    repeated: reservations beyond `known_reserved` are such lost answers, and are given back here. None: no such trial.
    Raises `LedgerClosed`.
    """
    await connection.execute(_REGISTER_LEDGER, {"name": ledger, "worker_id": worker_id})
    key: dict[str, object] = {"api_id": api_id, "ledger": await _open_ledger(connection, _SHARE_LEDGER, ledger)}
    row = await (await connection.execute(_MY_USE, key)).fetchone()
    reserved_before, returned_before = row or (0, 0)
    total_returned = returned + max(0, reserved_before - known_reserved)
    back = total_returned - returned_before
    taken = await (await connection.execute(_TAKE, key | {"back": back, "wanted": wanted})).fetchone()
    if taken is None:
        return None
    granted, used, limit = taken
    if granted or back:
        await connection.execute(_NOTE_USE, key | {"reserved": reserved_before + granted, "returned": total_returned})
    return Settlement(granted, reserved_before + granted, total_returned, used, limit)


async def answered_requests(connection: Connection, api_id: str) -> int:
    """The 200s of all ledgers that were written out."""
    row = await (await connection.execute(_ANSWERED, [api_id])).fetchone()
    return int(row[0]) if row else 0


async def quota_used(connection: Connection, api_id: str) -> int | None:
    """Reservations in flight included."""
    row = await (await connection.execute(_USED, [api_id])).fetchone()
    return int(row[0]) if row else None


# ----------------------------------------------------------------------------------------------------------------


async def _fetch_all(connection: Connection, statement: LiteralString, values: Any) -> list[TupleRow]:
    with bounded(connection):
        return await (await connection.execute(statement, values)).fetchall()


async def _execute(connection: Connection, statement: LiteralString, values: Any) -> None:
    with bounded(connection):
        await connection.execute(statement, values)
