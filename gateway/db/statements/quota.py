"""What a trial has left, changed together with what each ledger reserved and gave back."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.db.connection import Connection
from gateway.db.statements.ledgers import shared_ledger


@dataclass(frozen=True)
class QuotaUse:
    """A trial after one transaction: what was granted now, and the totals."""

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


async def update_quota(
    connection: Connection,
    api_id: str,
    *,
    ledger: str,
    worker_id: str,
    known_reserved: int,
    returned: int,
    wanted: int,
) -> QuotaUse | None:
    """Reserve up to `wanted` requests and bring what was given back to `returned`, inside the caller's transaction.

    Only one writer exists per (API, ledger), and both totals are absolute, so a commit whose answer was lost may be
    repeated: reservations beyond `known_reserved` are such lost answers, and are given back here. None: no such trial.
    Raises `LedgerClosed`.
    """
    key: dict[str, object] = {"api_id": api_id, "ledger": await shared_ledger(connection, ledger, worker_id)}
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
    return QuotaUse(granted, reserved_before + granted, total_returned, used, limit)


async def answered_requests(connection: Connection, api_id: str) -> int:
    """The 200s of all ledgers that were written out."""
    row = await (await connection.execute(_ANSWERED, [api_id])).fetchone()
    return int(row[0]) if row else 0


async def quota_used(connection: Connection, api_id: str) -> int | None:
    """Reservations in flight included."""
    row = await (await connection.execute(_USED, [api_id])).fetchone()
    return int(row[0]) if row else None
