"""Warnings that callers were sent, counted for the console: by API, day, column and code, without any value.

They are hints, not accounts: counted in memory and written out each second. A killed worker loses what it had not
written yet, and a write-out whose COMMIT was not acknowledged may be counted twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from gateway.db.connection import Database, StatementRefused
from gateway.db.statements.input_warnings import WarningKey, add_warnings

MOST_KEYS: Final = 2000  # that wait; what is beyond is not counted until these are written
_COLUMN_CHARACTERS: Final = 200
_CODE_CHARACTERS: Final = 30

_log = structlog.get_logger("gateway.usage.input_warnings")


class InputWarnings:
    """One worker's, kept until the database has them."""

    def __init__(self, zone: ZoneInfo, *, now: Callable[[], float] = time.time) -> None:
        self._zone = zone
        self._now = now
        self._counts: Counter[WarningKey] = Counter()

    def note(self, api_id: str, warned: Iterable[tuple[str, str, int]]) -> None:
        """`warned`: column, code and number of one answer's warnings."""
        day = datetime.fromtimestamp(self._now(), self._zone).date()
        for column, code, count in warned:
            key = (api_id, day, column[:_COLUMN_CHARACTERS], code[:_CODE_CHARACTERS])
            if count > 0 and (key in self._counts or len(self._counts) < MOST_KEYS):
                self._counts[key] += count

    async def write_out(self, database: Database) -> None:
        """Raises `DatabaseAway`, `NoInterface`; then they wait for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, Counter()
        try:
            async with database.transaction() as connection:
                await add_warnings(connection, counts)
        except StatementRefused as error:  # again and again, it would keep the others waiting
            _log.error("input_warnings_not_written", reason=str(error))
        except BaseException:
            self._counts.update(counts)
            raise
