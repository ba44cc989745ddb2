"""The worker's own row: that it is there, what it has applied and loaded, and what it hears in return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg.rows import TupleRow

from gateway.db.connection import Connection, NoInterface, bounded, fetch_all, storable
from gateway.db.identity import WorkerIdentity
from gateway.db.statements.ledgers import register_ledger

_LONGEST_REASON: Final = 500
ROUTE_VIEW: Final = 2
"""The version of `gateway_route_vN` that this release reads: the console starts nothing that an older one can't."""

_INSERT_WORKER = """
INSERT INTO apimgmt_gatewayworker
    (id, host, pid, slot, port, state, applied_revision, started_at, heartbeat_at, lease_until,
     gone_reason, dismissed_by, route_view)
VALUES (%(id)s, %(host)s, %(pid)s, %(slot)s, %(port)s, 'starting', -1, clock_timestamp(), clock_timestamp(),
        clock_timestamp() + %(lease_s)s * interval '1 second', '', '', %(route_view)s)
ON CONFLICT (id) DO NOTHING
"""


_MARK_GONE = """
UPDATE apimgmt_gatewayworker SET gone_at = coalesce(gone_at, clock_timestamp()), gone_reason = %(reason)s
WHERE id = %(id)s AND (gone_at IS NULL OR gone_reason = 'dismissed')
"""


async def insert_worker(connection: Connection, worker: WorkerIdentity, ledger: str, lease_s: float | None) -> None:
    """From the commit on this worker counts, as one that has confirmed nothing. May be sent twice.

    Its first ledger is named with it: whoever takes that file's lock later knows whose end it proves, even if the file
    can't be read any more.
    """
    values = {"id": worker.id, "host": worker.host, "pid": worker.pid, "slot": worker.slot, "port": worker.port}
    with bounded(connection):
        async with connection.transaction():
            await connection.execute(_INSERT_WORKER, values | {"lease_s": lease_s, "route_view": ROUTE_VIEW})
            await register_ledger(connection, ledger, worker.id)


@dataclass(frozen=True)
class Heartbeat:
    """What the database said to a heartbeat. `is_gone`: the worker's row was dismissed, or a restore took it away."""

    is_gone: bool
    epoch: UUID
    revision: int


@dataclass(frozen=True)
class LoadReport:
    """Whether a version could be loaded for an API: no error means it could."""

    api_id: str
    version_id: int
    error: str | None


@dataclass(frozen=True)
class Obstacle:
    """Something this worker can't write into the database. `code` is one of the console's GatewayWorker.Obstacle."""

    code: str
    reason: str
    lasted_s: float


_NO_OBSTACLE: Final = Obstacle("", "", 0.0)

_HEARTBEAT = """
WITH beat AS (
    UPDATE apimgmt_gatewayworker
    SET heartbeat_at = clock_timestamp(), state = %(state)s, epoch = %(epoch)s, applied_revision = %(revision)s,
        lease_until = clock_timestamp() + %(lease_s)s * interval '1 second',
        obstacle = %(obstacle)s::text, obstacle_reason = %(obstacle_reason)s::text,
        obstacle_since = CASE WHEN %(obstacle)s::text = '' THEN NULL
                              WHEN %(obstacle)s::text = obstacle THEN coalesce(obstacle_since, clock_timestamp())
                              ELSE clock_timestamp() - %(obstacle_s)s::float8 * interval '1 second' END
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
    loads: Sequence[LoadReport] = (),
    dropped: Sequence[tuple[str, int]] = (),
    obstacle: Obstacle | None = None,
) -> Heartbeat:
    """Say what is applied and loaded and what can't be written, hear what there is. One transaction; may be sent twice.

    `dropped` (api, version) must go together with the revision that dropped them: an old "loaded" under a new
    revision would confirm a model that is no longer there.
    """
    applied = {"id": worker_id, "state": state, "epoch": epoch, "revision": revision, "lease_s": lease_s}
    values = applied | _obstacle_values(obstacle or _NO_OBSTACLE)
    if not loads and not dropped:
        return _heartbeat(await fetch_all(connection, _HEARTBEAT, values))
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
                    "errors": [load.error and storable(load.error) for load in loads],
                },
            )
            return answer


def _obstacle_values(obstacle: Obstacle) -> dict[str, object]:
    return {
        "obstacle": obstacle.code,
        "obstacle_reason": storable(obstacle.reason[:_LONGEST_REASON]),
        "obstacle_s": obstacle.lasted_s,
    }


def _heartbeat(found: list[TupleRow]) -> Heartbeat:
    if not found:
        raise NoInterface("apimgmt_installation has no row")
    is_alive, epoch, revision = found[0]
    return Heartbeat(not is_alive, epoch, revision)


async def mark_gone(connection: Connection, worker_id: str, reason: str) -> None:
    """The worker's end is proven: it no longer counts, and, if it was dismissed, nobody need say that it may answer."""
    await connection.execute(_MARK_GONE, {"id": worker_id, "reason": reason})
