"""What models did to processes, and which versions may no longer run in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.db.connection import CHANNEL, Connection, fetch_all, storable, translated_errors


@dataclass(frozen=True)
class Incident:
    """What the model of one API did to the process that ran it. `reason`: as `contract.incidents` encodes it."""

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

_IS_CRASH_KNOWN = """
SELECT EXISTS (SELECT FROM apimgmt_gatewayincident WHERE kind = 'worker_crashed' AND worker_id = %s)
"""

_SERVED_VERSION = "SELECT version_id FROM gateway_route_v2 WHERE api_id = %s"


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
        "reasons": [storable(incident.reason) for incident in incidents],
    }
    with translated_errors():
        async with connection.transaction():
            await connection.execute(_WRITE_INCIDENTS, values)
            await connection.execute(_FORGET_INCIDENTS, {"apis": apis})
            await connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])


async def is_crash_known(connection: Connection, worker_id: str) -> bool:
    """Whether somebody has told which model crashed that worker."""
    row = await (await connection.execute(_IS_CRASH_KNOWN, [worker_id])).fetchone()
    return bool(row and row[0])


async def read_quarantined(connection: Connection) -> frozenset[tuple[str, int]]:
    """The (API, version) that crashed a worker. Raises `DatabaseAway`, `NoInterface`."""
    return frozenset((row[0], row[1]) for row in await fetch_all(connection, _READ_QUARANTINED, None))


async def served_version(connection: Connection, api_id: str) -> int:
    """The id of the version that the API serves, or 0 if there is no such API."""
    row = await (await connection.execute(_SERVED_VERSION, [api_id])).fetchone()
    return int(row[0]) if row else 0
