"""What models did that they must not do, for the console: which model, when, and why.

One incident of a kind per API and minute: a model that fails at every call must not fill the database too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from contract.incidents import Param, ReasonCode, encode_reason
from gateway.db.connection import Database, StatementRefused
from gateway.db.refusals import Refusals
from gateway.db.statements.incidents import Incident, write_incidents

# `worker_crashed` also means: this version runs in a process of its own from now on.
Kind = Literal["worker_crashed", "process_crashed", "memory", "timeout", "wrong_answer"]

_AGAIN_S: Final = 60.0
_MOST_WAITING: Final = 1000

_log = structlog.get_logger("gateway.models.incidents")


@dataclass
class IncidentLog:
    """One worker's, kept until the database has it."""

    worker_id: str
    _waiting: list[Incident] = field(default_factory=list)
    _noted: dict[tuple[str, Kind], float] = field(default_factory=dict)
    _refusals: Refusals[Incident] = field(default_factory=Refusals)

    def note(self, api_id: str, version_id: int, kind: Kind, reason: ReasonCode, **params: Param) -> None:
        """`reason` and `params` make a sentence on the console's pages: see `contract.incidents`."""
        now = time.monotonic()
        _log.error("model_incident", api_id=api_id, version_id=version_id, kind=kind, reason=reason, **params)
        if now - self._noted.get((api_id, kind), -_AGAIN_S) < _AGAIN_S or len(self._waiting) >= _MOST_WAITING:
            return
        self._noted[api_id, kind] = now
        self._waiting.append(Incident(api_id, version_id, self.worker_id, kind, encode_reason(reason, **params)))

    async def flush(self, database: Database) -> None:
        """Raises `DatabaseAway`, `NoInterface`; then they wait for the next time.

        One that is refused keeps no other waiting, and is tried again later: `StatementRefused` is raised at the end.
        """
        for incident in [each for each in self._waiting if self._refusals.is_due(each)]:
            try:
                async with database.transaction() as connection:
                    await write_incidents(connection, [incident])
            except StatementRefused as error:
                self._refusals.add(incident, str(error))
                _log.error("incident_not_written", api_id=incident.api_id, kind=incident.kind, reason=str(error))
            else:
                self._refusals.discard(incident)
                self._waiting.remove(incident)
        self._refusals.raise_first()
