"""Taking over the ledgers of dead workers of this machine.

A ledger's lock is held for as long as its worker lives, so a free lock is proof of death. Who gets the lock writes
out the counts, settles trials, closes the ledger and marks the worker gone, all in one transaction; only then the
file goes. Killed in between, the next adopter finds everything as before, or everything done but the file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import structlog

from contract.fault_points import fault_point
from contract.incidents import encode_reason
from gateway.db.connection import Connection, Database, StatementRefused
from gateway.db.statements.incidents import Incident, served_version, write_incidents
from gateway.db.statements.ledgers import DayCount, close_ledger, worker_of_ledger
from gateway.db.statements.workers import mark_gone
from gateway.usage.crash_note import clear_old_notes, read_note
from gateway.usage.ledger_file import DRAFT_SUFFIX, Damaged, OwnerlessFile, is_ledger, take_ownerless

_log = structlog.get_logger("gateway.usage.recovery")

# A draft is renamed within milliseconds; its maker holds no lock for the first of them.
_DRAFT_AGE_S: Final = 60


async def recover_orphans(directory: Path, own_names: set[str], database: Database) -> int:
    """Adopt every ledger in the folder whose worker is dead; returns how many. Raises `DatabaseAway`, `NoInterface`."""
    adopted, is_refused = 0, False
    for file in _ownerless_files(directory, own_names):
        try:
            await _adopt(file, database)
            adopted += 1
        except StatementRefused as error:  # the others can be adopted all the same
            is_refused = True
            _log.error("ledger_not_adopted", ledger=file.name, reason=str(error))
        finally:
            file.close()
    if not is_refused:
        clear_old_notes(directory)
    return adopted


def _ownerless_files(directory: Path, own_names: set[str]) -> Iterator[OwnerlessFile]:
    for path in sorted(directory.iterdir()):
        if path.suffix == DRAFT_SUFFIX:
            _remove_old_draft(path)
        elif is_ledger(path) and path.stem not in own_names:
            file = take_ownerless(path)
            if file is not None:
                yield file


def _remove_old_draft(path: Path) -> None:
    """Its maker died before the first count."""
    try:
        if time.time() - path.stat().st_mtime > _DRAFT_AGE_S:
            path.unlink()
    except FileNotFoundError:
        return  # renamed, or removed by another worker


async def _adopt(file: OwnerlessFile, database: Database) -> None:
    fault_point("adopt.locked")
    try:
        worker_id, counts = file.read()
    except Damaged as damage:
        await _adopt_damaged(file, damage, database)
        return
    async with database.transaction() as connection:
        await _close(connection, file.name, worker_id, counts, settle=True)
        await _report_crash(connection, file, worker_id)
        fault_point("adopt.sent")
    fault_point("adopt.committed")
    file.remove()
    fault_point("adopt.removed")
    _log.info("ledger_adopted", ledger=file.name, worker=worker_id, cells=len(counts))


async def _adopt_damaged(file: OwnerlessFile, damage: Damaged, database: Database) -> None:
    """Keep what can be read and what was written out before, give nothing back to trials, and keep the file."""
    worker_id = damage.worker_id or ""
    async with database.transaction() as connection:
        await _close(connection, file.name, worker_id, damage.counts, settle=False)
    aside = file.quarantine()
    _log.error("ledger_damaged", ledger=file.name, worker=worker_id, reason=str(damage), kept_as=str(aside))


async def _close(
    connection: Connection, name: str, worker_id: str, counts: Sequence[DayCount], *, settle: bool
) -> None:
    await close_ledger(connection, name, worker_id, counts, settle=settle)
    await mark_gone(connection, worker_id or await worker_of_ledger(connection, name), "adopted")


async def _report_crash(connection: Connection, file: OwnerlessFile, worker_id: str) -> None:
    """If the worker crashed while it ran a model: that model runs in a process of its own from now on."""
    crash = read_note(file.path.parent, worker_id)
    suspects = file.suspects() if crash else []
    reason = encode_reason("worker_crashed", crash=crash)
    incidents = [
        Incident(api_id, version_id or await served_version(connection, api_id), worker_id, "worker_crashed", reason)
        for api_id, version_id in suspects
    ]
    if crash:
        _log.error("worker_crashed", worker=worker_id, crash=crash, apis=[api_id for api_id, _ in suspects])
    if incidents:
        try:
            await write_incidents(connection, incidents)
        except StatementRefused as error:  # the counts matter more
            _log.error("incident_not_written", worker=worker_id, reason=str(error))
