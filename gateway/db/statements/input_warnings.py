"""How many odd values callers sent, by API, day, column and code, on their way into the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

from gateway.db.connection import Connection, storable, translated_errors

WarningKey = tuple[str, date, str, str]
"""API, day, column and code."""

_KEPT_DAYS: Final = 31

# Several workers add to one row, all in the order of the keys, so that they never wait for each other in a circle.
_ADD_WARNINGS = """
INSERT INTO apimgmt_inputwarning (api_id, day, "column", code, count)
SELECT api_id, day, "column", code, sum(count)
FROM unnest(%(apis)s::text[], %(days)s::date[], %(columns)s::text[], %(codes)s::text[], %(counts)s::bigint[])
    AS noted (api_id, day, "column", code, count)
GROUP BY api_id, day, "column", code
ORDER BY api_id, day, "column", code
ON CONFLICT (api_id, day, "column", code) DO UPDATE SET count = apimgmt_inputwarning.count + EXCLUDED.count
"""

_FORGET_WARNINGS = """
DELETE FROM apimgmt_inputwarning WHERE api_id = ANY(%(apis)s) AND day < %(since)s::date - %(kept)s::int
"""


async def add_warnings(connection: Connection, counts: Mapping[WarningKey, int]) -> None:
    """Inside the caller's transaction. What is older than a month is forgotten. Raises `StatementRefused`."""
    keys = list(counts)
    apis = [api_id for api_id, _, _, _ in keys]
    days = [day for _, day, _, _ in keys]
    values = {
        "apis": apis,
        "days": days,
        "columns": [storable(column) for _, _, column, _ in keys],
        "codes": [code for _, _, _, code in keys],
        "counts": list(counts.values()),
    }
    with translated_errors():
        await connection.execute(_ADD_WARNINGS, values)
        await connection.execute(_FORGET_WARNINGS, {"apis": apis, "since": max(days), "kept": _KEPT_DAYS})
