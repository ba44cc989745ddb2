"""Taking over the ledgers of dead workers of this machine.

A ledger's lock is held for as long as its worker lives, so a free lock is proof of death. Who gets the lock writes
out the counts, refunds trials, closes the ledger and marks the worker gone, all in one transaction; only then the
file goes. Killed in between, the next one finds everything as before, or everything done but the file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from contract.fault_points import fault_point
from contract.incidents import encode_reason
from gateway.db.connection import Connection, Database, StatementRefused, translated_errors
from gateway.db.refusals import Refusals
from gateway.db.statements.incidents import Incident, is_crash_known, served_version, write_incidents
from gateway.db.statements.ledgers import close_ledger, worker_of_ledger
from gateway.db.statements.workers import mark_gone
from gateway.usage.crash_note import clear_old_notes, read_note
from gateway.usage.ledger_file import DRAFT_SUFFIX
from gateway.usage.ledger_format.contents import Damaged, LedgerContents
from gateway.usage.orphan_file import OrphanFile, is_ledger, take_orphan

_log = structlog.get_logger("gateway.usage.recovery")

# A draft is renamed within milliseconds; its maker holds no lock for the first of them.
_DRAFT_AGE_S: Final = 60


async def recover_orphans(
    directory: Path, own_names: set[str], database: Database, refusals: Refusals[str] | None = None
) -> int:
    """Recover every ledger in the folder whose worker is dead; returns how many. Raises `DatabaseAway`, `NoInterface`.

    One that the database refuses holds up no other: it is noted in `refusals`, and tried again when it is due.
    """
    refusals = Refusals() if refusals is None else refusals
    recovered = 0
    for file in _orphans(directory, own_names):
        try:
            if refusals.is_due(file.name):
                await _recover(file, database)
                refusals.discard(file.name)
                recovered += 1
        except StatementRefused as error:
            refusals.add(file.name, str(error))
            _log.error("ledger_not_recovered", ledger=file.name, reason=str(error))
        finally:
            file.close()
    refusals.retain(_names(directory))  # another worker may have had more luck
    if not refusals:
        clear_old_notes(directory)
    return recovered


def _names(directory: Path) -> set[str]:
    return {path.stem for path in directory.iterdir() if is_ledger(path)}


def _orphans(directory: Path, own_names: set[str]) -> Iterator[OrphanFile]:
    for path in sorted(directory.iterdir()):
        if path.suffix == DRAFT_SUFFIX:
            _remove_old_draft(path)
        elif is_ledger(path) and path.stem not in own_names:
            file = take_orphan(path)
            if file is not None:
                yield file


def _remove_old_draft(path: Path) -> None:
    """Its maker died before the first count."""
    try:
        if time.time() - path.stat().st_mtime > _DRAFT_AGE_S:
            path.unlink()
    except FileNotFoundError:
        return  # renamed, or removed by another worker


async def _recover(file: OrphanFile, database: Database) -> None:
    """Raises `StatementRefused` when the ledger stays open; what could be written is written then."""
    fault_point("recover.locked")
    try:
        contents = file.read()
    except Damaged as damage:
        await _recover_damaged(file, damage, database)
        return
    async with database.transaction() as connection:
        refused = await close_ledger(connection, file.name, contents.worker_id, contents.counts)
        await mark_gone(connection, contents.worker_id, "adopted")
        await _report_crash(connection, file.path.parent, contents)
        fault_point("recover.sent")
    fault_point("recover.committed")
    if refused:
        raise StatementRefused(refused[0].reason)
    file.remove()
    fault_point("recover.removed")
    _log.info("ledger_recovered", ledger=file.name, worker=contents.worker_id, cells=len(contents.counts))


async def _recover_damaged(file: OrphanFile, damage: Damaged, database: Database) -> None:
    """Keep what can be read and what was written out before, give nothing back to trials, and keep the file."""
    async with database.transaction() as connection:
        worker_id = damage.worker_id or await worker_of_ledger(connection, file.name)
        await close_ledger(connection, file.name, worker_id, damage.counts, refunds_trials=False)
        await mark_gone(connection, worker_id, "adopted")
    aside = file.quarantine()
    _log.error("ledger_damaged", ledger=file.name, worker=worker_id, reason=str(damage), kept_as=str(aside))


async def _report_crash(connection: Connection, directory: Path, contents: LedgerContents) -> None:
    """If the worker crashed while it ran a model: that model runs in a process of its own from now on."""
    crash = read_note(directory, contents.worker_id)
    if not crash:
        return
    _log.error("worker_crashed", worker=contents.worker_id, crash=crash, apis=[api for api, _ in contents.suspects])
    try:
        with translated_errors():
            async with connection.transaction():
                await _blame_suspects(connection, contents, crash)
    except StatementRefused as error:  # the counts matter more
        _log.error("incident_not_written", worker=contents.worker_id, reason=str(error))


async def _blame_suspects(connection: Connection, contents: LedgerContents, crash: str) -> None:
    worker_id = contents.worker_id
    if not contents.suspects or await is_crash_known(connection, worker_id):
        return
    reason = encode_reason("worker_crashed", crash=crash)
    incidents = [
        Incident(api_id, version_id or await served_version(connection, api_id), worker_id, "worker_crashed", reason)
        for api_id, version_id in contents.suspects
    ]
    await write_incidents(connection, incidents)
