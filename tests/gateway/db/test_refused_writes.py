"""What the database refuses is told, tried again, and holds up nothing else."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.db import refusals
from gateway.db.connection import ContentRefused, Database, DatabaseAway, StatementRefused
from gateway.processes.bookkeeping import Bookkeeping
from gateway.processes.figures import figures_of
from gateway.processes.metrics import metrics_page
from gateway.processes.worker import Worker
from gateway.usage.ledger import COUNT_200, LedgerSet
from gateway.usage.recovery import recover_orphans
from tests.gateway.serving import Api, Caller, Seeder, until

REFUSED = "ALTER TABLE apimgmt_requeststat ADD CONSTRAINT seven_never CHECK (count_200 <> 7)"
ACCEPTED = "ALTER TABLE apimgmt_requeststat DROP CONSTRAINT seven_never"
TOLD = "SELECT obstacle, obstacle_reason, obstacle_since IS NOT NULL FROM apimgmt_gatewayworker"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(refusals, "LONGEST_PAUSE_S", 0.0)


@pytest.fixture
async def database(rows: Seeder) -> AsyncIterator[Database]:
    made = Database(lambda: rows.url)
    yield made
    await made.close()


def ledgers_of(folder: Path, worker_id: str = "w" * 32) -> LedgerSet:
    return LedgerSet(folder, worker_id, ZoneInfo("UTC"))


def count(ledgers: LedgerSet, api_id: str, times: int) -> None:
    cell = ledgers.cell(api_id)
    assert cell is not None
    cell.counts[cell.index + COUNT_200] += times


async def test_one_refused_row_does_not_hold_the_others_back(rows: Seeder, database: Database, tmp_path: Path) -> None:
    rows.sql(REFUSED)
    ledgers = ledgers_of(tmp_path)
    for number in range(40):
        count(ledgers, f"{number:016d}", 7 if number == 23 else 2)

    with pytest.raises(StatementRefused, match="seven_never"):
        await ledgers.write_out(database)
    written = rows.one("SELECT sum(count_200) FROM apimgmt_requeststat")
    waiting = ledgers.counts_waiting
    count(ledgers, f"{1:016d}", 3)
    with pytest.raises(StatementRefused, match="seven_never"):
        await ledgers.write_out(database)
    rows.sql(ACCEPTED)
    await ledgers.write_out(database)

    assert (written, waiting, ledgers.counts_waiting) == (39 * 2, 7, 0)
    assert rows.one("SELECT sum(count_200) FROM apimgmt_requeststat") == 39 * 2 + 7 + 3
    ledgers.release()


async def test_a_refused_row_at_a_worker_s_end_is_left_to_recovery(
    rows: Seeder, database: Database, tmp_path: Path
) -> None:
    rows.sql(REFUSED)
    ledgers = ledgers_of(tmp_path)
    count(ledgers, "a" * 16, 7)
    count(ledgers, "b" * 16, 2)

    await ledgers.close(database)
    told: refusals.Refusals[str] = refusals.Refusals()
    recovered = [await recover_orphans(tmp_path, set(), database, told)]
    with pytest.raises(StatementRefused, match="seven_never"):
        told.raise_first()
    assert rows.counts("b" * 16) == (2, 0, 0)
    rows.sql(ACCEPTED)
    recovered.append(await recover_orphans(tmp_path, set(), database, told))

    assert recovered == [0, 1]
    assert len(told) == 0
    assert rows.counts("a" * 16) == (7, 0, 0)
    assert os.listdir(tmp_path) == []


async def test_a_missing_permission_is_no_refusal_of_the_content(database: Database) -> None:
    with pytest.raises(StatementRefused, match="permission denied") as refused:
        async with database.transaction() as connection:
            await connection.execute("SELECT rolpassword FROM pg_authid")

    assert not isinstance(refused.value, ContentRefused)


async def test_a_number_out_of_range_is_a_refusal_of_its_content(database: Database) -> None:
    with pytest.raises(ContentRefused, match="out of range"):
        async with database.transaction() as connection:
            await connection.execute("SELECT 9223372036854775807 + 1")


async def test_refused_counts_are_told_and_nothing_else_stops(
    rows: Seeder, worker: Worker, api: Api, call: Caller
) -> None:
    """Write-out, recovery and incidents used to stop for good, and nobody was told."""
    rows.sql("ALTER TABLE apimgmt_requeststat ADD CONSTRAINT never CHECK (count_200 = 0)")
    dead = ledgers_of(worker.ledgers.directory, "d" * 32)
    dead.release()
    worker.incidents.note(api.id, api.version_id, "timeout", "time_limit", timeout_s=30)
    assert (await call(api)).status == 200

    await until(lambda: rows.sql(TOLD)[0][0] == "counts")
    [(_, reason, has_since)] = rows.sql(TOLD)
    await until(lambda: rows.sql("SELECT kind FROM apimgmt_gatewayincident") == [("timeout",)])
    await until(lambda: len(list(worker.ledgers.directory.glob("*.ledger"))) == 1)
    page = metrics_page([figures_of(worker)]).decode()
    rows.sql("ALTER TABLE apimgmt_requeststat DROP CONSTRAINT never")
    await until(lambda: rows.sql(TOLD) == [("", "", False)])

    assert "never" in reason
    assert has_since
    assert 'gateway_bookkeeping_failing{slot="0",step="counts"} 1.0' in page
    assert 'gateway_bookkeeping_failing{slot="0",step="recovery"} 0.0' in page
    assert rows.counts(api.id) == (1, 0, 0)


@pytest.mark.parametrize("error", [DatabaseAway("away"), StatementRefused("refused"), ValueError("a fault of ours")])
async def test_each_step_is_tried_whatever_another_does(error: Exception) -> None:
    tried: list[str] = []

    def step(code: str) -> Callable[[], object]:
        async def run() -> None:
            tried.append(code)
            if code == "counts" and tried.count(code) == 1:
                raise error

        return run

    changes: list[str] = []
    bookkeeping = Bookkeeping(
        {code: step(code) for code in ("counts", "recovery")},  # type: ignore[misc]
        lambda: changes.append(bookkeeping.obstacle.code if bookkeeping.obstacle else ""),
    )

    await bookkeeping.run_once()
    failing = bookkeeping.is_failing
    await bookkeeping.run_once()

    assert tried == ["counts", "recovery"] * 2
    assert failing == {"counts": True, "recovery": False}
    assert changes == ["counts", ""]


def test_what_is_refused_again_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    now = 0.0
    kept: refusals.Refusals[str] = refusals.Refusals(lambda: now)
    pauses = []
    for _ in range(8):
        kept.add("row", "refused")
        start = now
        while not kept.is_due("row"):
            now += 0.5
        pauses.append(now - start)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert kept.is_due("another")
