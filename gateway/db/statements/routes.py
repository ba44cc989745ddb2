"""What one API's callers may do, as the database has it, and the news that something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from gateway.db.connection import CHANNEL, Connection, Database, NoInterface, execute, fetch_all, translated_errors


@dataclass(frozen=True)
class RouteRow:
    """One line of `gateway_route_v2`. `versions` is JSON, read by `gateway.routing.routes`."""

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
LEFT JOIN gateway_route_v2 r ON r.revision > %s
LEFT JOIN apimgmt_trialquota q ON q.api_id = r.api_id AND r.type = 'trial'
WHERE i.id = 1
"""


async def read_routes(connection: Connection, after_revision: int) -> RouteRead:
    """Routes with a later revision than that; all of them after -1. Raises `DatabaseAway`, `NoInterface`."""
    found = await fetch_all(connection, _READ_ROUTES, [after_revision])
    if not found:
        raise NoInterface("apimgmt_installation has no row")
    epoch, revision, time_zone = found[0][:3]
    return RouteRead(epoch, revision, time_zone, [RouteRow(*row[3:]) for row in found if row[3] is not None])


async def wait_for_notifications(database: Database, on_notified: Callable[[], None]) -> None:
    """LISTEN on a connection of its own, for ever; also called once when listening begins. Raises `DatabaseAway`."""
    connection = await database.connect()
    try:
        await execute(connection, f"LISTEN {CHANNEL}", None)
        on_notified()
        with translated_errors():
            async for _ in connection.notifies():
                on_notified()
    finally:
        await connection.close()
