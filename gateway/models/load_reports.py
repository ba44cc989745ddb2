"""What became of loading, for the database: kept until it is known to be written there."""

from __future__ import annotations

from gateway.db.statements.workers import LoadReport


class LoadReports:
    """By (API, version). The latest word on each counts."""

    def __init__(self) -> None:
        self._loads: dict[tuple[str, int], LoadReport] = {}
        self._dropped: dict[tuple[str, int], None] = {}

    def loaded(self, key: tuple[str, int], error: str | None) -> None:
        """It is in memory, or could not be loaded."""
        self._loads[key] = LoadReport(*key, error)

    def dropped(self, key: tuple[str, int]) -> None:
        """No route names it any more."""
        self._loads.pop(key, None)
        self._dropped[key] = None

    def pending(self) -> tuple[list[LoadReport], list[tuple[str, int]]]:
        """Loads, and keys of what was dropped."""
        return list(self._loads.values()), list(self._dropped)

    def acknowledge(self, loads: list[LoadReport], dropped: list[tuple[str, int]]) -> None:
        """The database has these. What was reported again meanwhile stays."""
        for load in loads:
            key = (load.api_id, load.version_id)
            if self._loads.get(key) is load:
                del self._loads[key]
        for key in dropped:
            self._dropped.pop(key, None)
