"""What models in memory may take together, and which of them makes room: the one not asked for longest."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.models.loaded_model import LoadedModel

_log = structlog.get_logger("gateway.models.memory_budget")


class MemoryBudget:
    """One worker's. `models` is the loader's own table of them."""

    def __init__(self, limit_bytes: int, models: Mapping[tuple[str, int], LoadedModel]) -> None:
        self._limit_bytes: Final = limit_bytes
        self._models = models

    @property
    def used_bytes(self) -> int:
        return sum(model.size_bytes for model in self._models.values())

    def has_room_for(self, size_bytes: int) -> bool:
        return self.used_bytes + size_bytes <= self._limit_bytes

    def note_use(self) -> None:
        """Write down which models were used since the last time."""
        now = time.monotonic()
        for model in self._models.values():
            if model.is_used:
                model.is_used, model.last_used = False, now

    def make_room_for(self, size_bytes: int) -> None:
        """Unload what was not asked for longest. What is awaited comes in however large it is."""
        self.note_use()
        idle = [model for model in self._models.values() if model.is_ready and not model.process.is_busy]
        for model in sorted(idle, key=lambda model: model.last_used):
            if self.has_room_for(size_bytes):
                return
            _log.info("model_unloaded", api_id=model.api_id, version=model.version.number)
            model.unload()
