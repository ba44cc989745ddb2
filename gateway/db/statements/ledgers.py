"""Counts on their way into the database, by the rules of docs/gateway.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, LiteralString

from gateway.db.connection import Connection, ContentRefused, translated_errors


@dataclass(frozen=True)
class CellCount:
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
_REFUND_TRIAL_USE = """
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

_WORKER_OF_LEDGER = "SELECT worker_id FROM apimgmt_ledger WHERE name = %s"


# So many rows are looked for that are refused by themselves; where there are more, none of the rest is accepted either.
_MOST_REFUSED: Final = 8


@dataclass(frozen=True)
class RefusedCount:
    """A row that the database does not take."""

    count: CellCount
    reason: str


class LedgerClosed(Exception):
    """The ledger is no longer open in the database, so nothing may be written under its name any more."""


async def shared_ledger(connection: Connection, name: str, worker_id: str) -> int:
    """The row of a ledger, made if there is none, and kept open for this transaction. Raises `LedgerClosed`."""
    await register_ledger(connection, name, worker_id)
    return await _open_ledger(connection, _SHARE_LEDGER, name)


async def register_ledger(connection: Connection, name: str, worker_id: str) -> None:
    """Make the ledger's row, which says whose it is; nothing if there is one. Inside the caller's transaction."""
    await connection.execute(_REGISTER_LEDGER, {"name": name, "worker_id": worker_id})


async def write_counts(
    connection: Connection, name: str, worker_id: str, counts: Sequence[CellCount]
) -> list[RefusedCount]:
    """Write out absolute counts, inside the caller's transaction. Returns what was refused; the rest is written.

    Raises `LedgerClosed`, `StatementRefused`. The open state is read FOR SHARE: closing and folding take FOR UPDATE, so
    a late write-out can't slip past a fold.
    """
    return await _upsert_counts(connection, await shared_ledger(connection, name, worker_id), counts)


async def close_ledger(
    connection: Connection,
    name: str,
    worker_id: str,
    counts: Sequence[CellCount],
    *,
    refunds_trials: bool = True,
) -> list[RefusedCount]:
    """Write out for the last time, refund trials and close, inside the caller's transaction.

    Returns what was refused: then the rest is written, but the ledger stays open. Raises `StatementRefused`.
    The worker's id is only used if the database has never heard of the ledger.
    A ledger that is closed already was written out in full by whoever closed it: nothing is left to do.
    `refunds_trials=False` when the counts are not to be trusted: giving back too much would overdraw a trial.
    """
    await register_ledger(connection, name, worker_id)
    try:
        ledger = await _open_ledger(connection, _LOCK_LEDGER, name)
    except LedgerClosed:
        return []
    refused = await _upsert_counts(connection, ledger, counts)
    if refused:
        return refused
    if refunds_trials:
        await connection.execute(_REFUND_TRIAL_USE, {"ledger": ledger})
    await connection.execute(_CLOSE_LEDGER, [ledger])
    return []


async def worker_of_ledger(connection: Connection, name: str) -> str:
    """The id of the worker that the database knows as the ledger's owner, or ""."""
    row = await (await connection.execute(_WORKER_OF_LEDGER, [name])).fetchone()
    return str(row[0]) if row else ""


async def _open_ledger(connection: Connection, statement: LiteralString, name: str) -> int:
    found = await (await connection.execute(statement, [name])).fetchone()
    if found is None or found[1] != "open":
        raise LedgerClosed(name)
    return int(found[0])


async def _upsert_counts(connection: Connection, ledger: int, counts: Sequence[CellCount]) -> list[RefusedCount]:
    """All in one statement; what is refused in halves, so that one bad row doesn't hold the others up."""
    refused: list[RefusedCount] = []
    parts = [counts]
    while parts:
        part = parts.pop()
        if not part:
            continue
        try:
            with translated_errors():
                async with connection.transaction():
                    await connection.execute(_WRITE_COUNTS, _values(ledger, part))
        except ContentRefused as error:
            if len(part) == 1 or len(refused) >= _MOST_REFUSED:
                refused += [RefusedCount(count, str(error)) for count in part]
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
    return refused


def _values(ledger: int, counts: Sequence[CellCount]) -> dict[str, object]:
    return {
        "ledger": ledger,
        "apis": [count.api_id for count in counts],
        "days": [count.day for count in counts],
        "c200": [count.count_200 for count in counts],
        "c4xx": [count.count_4xx for count in counts],
        "c5xx": [count.count_5xx for count in counts],
    }
