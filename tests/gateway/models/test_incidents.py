"""What models did is told to the console; what the database refuses of it holds up neither counts nor other news."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.db import refusals
from gateway.db.connection import Database, DatabaseAway, StatementRefused
from gateway.models.incidents import IncidentLog
from gateway.usage.ledger import COUNT_200, LedgerSet
from gateway.usage.ledger_file import IN_CALL
from gateway.usage.recovery import recover_orphans
from tests.gateway.serving import Api, Seeder
from tests.model_files import cancer

WORKER = "c" * 32
TOLD = "SELECT api_id, version_id, worker_id, kind, reason FROM apimgmt_gatewayincident ORDER BY id"
CRASH = '{"code":"worker_crashed","params":{"crash":"Segmentation fault"}}'


@pytest.fixture
async def database(rows: Seeder) -> AsyncIterator[Database]:
    made = Database(lambda: rows.url)
    yield made
    await made.close()


@pytest.fixture
def api(rows: Seeder) -> Api:
    return rows.api(cancer())


def crashed_worker(folder: Path, api: Api) -> None:
    """What one leaves behind that had answered three times and crashed in the fourth computation."""
    folder.mkdir()
    ledgers = LedgerSet(folder, WORKER, ZoneInfo("UTC"))
    cell = ledgers.cell(api.id)
    assert cell is not None
    cell.counts[cell.index + COUNT_200] += 3
    cell.counts[IN_CALL] = cell.index
    (folder / f"{WORKER}.crash").write_text("Fatal Python error: Segmentation fault\n\nCurrent thread ...\n")
    ledgers.release()


async def test_a_crash_is_held_against_the_model_that_was_computed(
    rows: Seeder, api: Api, database: Database, tmp_path: Path
) -> None:
    crashed_worker(tmp_path / "ledgers", api)

    recovered = await recover_orphans(tmp_path / "ledgers", set(), database)

    assert recovered == 1
    assert rows.sql(TOLD) == [(api.id, api.version_id, WORKER, "worker_crashed", CRASH)]


async def test_a_ledger_that_is_refused_keeps_the_word_on_its_worker_s_crash(
    rows: Seeder, api: Api, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "ledgers"
    crashed_worker(folder, api)
    os.utime(folder / f"{WORKER}.crash", (0, 0))
    rows.sql("ALTER TABLE apimgmt_requeststat ADD CONSTRAINT no_counts CHECK (count_200 = 0)")
    refused = await recover_orphans(folder, set(), database)
    rows.sql("ALTER TABLE apimgmt_requeststat DROP CONSTRAINT no_counts")

    recovered = await recover_orphans(folder, set(), database)

    assert (refused, recovered) == (0, 1)
    assert rows.sql(TOLD) == [(api.id, api.version_id, WORKER, "worker_crashed", CRASH)]


async def test_counts_are_recovered_though_the_incident_is_refused(
    rows: Seeder, api: Api, database: Database, tmp_path: Path
) -> None:
    rows.sql("ALTER TABLE apimgmt_gatewayincident ADD CONSTRAINT never CHECK (kind <> 'worker_crashed')")
    crashed_worker(tmp_path / "ledgers", api)

    recovered = await recover_orphans(tmp_path / "ledgers", set(), database)

    assert recovered == 1
    assert rows.counts(api.id) == (3, 0, 0)
    assert rows.sql(TOLD) == []
    assert rows.one("SELECT state FROM apimgmt_ledger") == "closed"
    assert [path.suffix for path in (tmp_path / "ledgers").iterdir()] == [".crash"]


async def test_an_incident_that_is_refused_keeps_no_other_waiting(
    rows: Seeder, api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.sql("ALTER TABLE apimgmt_gatewayincident ADD CONSTRAINT never CHECK (kind <> 'timeout')")
    monkeypatch.setattr(refusals, "FIRST_PAUSE_S", 0.0)
    log = IncidentLog(WORKER)
    log.note(api.id, api.version_id, "timeout", "time_limit", timeout_s=30)
    log.note(api.id, api.version_id, "memory", "memory_limit")

    with pytest.raises(StatementRefused, match="never"):
        await log.flush(database)
    told_meanwhile = [row[3] for row in rows.sql(TOLD)]
    rows.sql("ALTER TABLE apimgmt_gatewayincident DROP CONSTRAINT never")
    await log.flush(database)

    assert told_meanwhile == ["memory"]
    assert [row[3] for row in rows.sql(TOLD)] == ["memory", "timeout"]


async def test_incidents_wait_for_the_database_and_are_told_once(rows: Seeder, api: Api, database: Database) -> None:
    log = IncidentLog(WORKER)
    log.note(api.id, api.version_id, "timeout", "process_ended", end="\0")
    with pytest.raises(DatabaseAway):
        await log.flush(Database(lambda: "postgresql://127.0.0.1:1/nothing"))

    await log.flush(database)
    await log.flush(database)

    assert [row[3:] for row in rows.sql(TOLD)] == [("timeout", '{"code":"process_ended","params":{"end":"\\u0000"}}')]


async def test_one_of_a_kind_a_minute(rows: Seeder, api: Api, database: Database) -> None:
    """A model that fails at every call must not fill the database too."""
    log = IncidentLog(WORKER)
    for _ in range(50):
        log.note(api.id, api.version_id, "timeout", "time_limit", timeout_s=30)
    log.note(api.id, api.version_id, "memory", "memory_limit")

    await log.flush(database)

    assert [row[3] for row in rows.sql(TOLD)] == ["timeout", "memory"]
