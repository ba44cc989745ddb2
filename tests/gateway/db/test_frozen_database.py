"""A database that accepts connections and says nothing more: nobody waits for it long, and nobody twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from contract.problems import Problem
from gateway.db import connection as connections
from gateway.db.connection import Database, DatabaseAway
from gateway.usage import trial_quota
from gateway.usage.ledger import LedgerSet
from gateway.usage.trial_quota import TrialAccount
from tests.gateway.db.pausing_proxy import PausingProxy, pausing_proxy
from tests.gateway.serving import Seeder, until

TRIALS = 100


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of what they are, so that the tests take tenths of their time."""
    monkeypatch.setattr(connections, "TIMEOUT_S", connections.TIMEOUT_S / 10)
    monkeypatch.setattr(trial_quota, "ANSWER_S", trial_quota.ANSWER_S / 10)


@pytest.fixture
async def proxy(rows: Seeder) -> AsyncIterator[PausingProxy]:
    async with pausing_proxy(rows.url) as made:
        yield made


@pytest.fixture
async def database(proxy: PausingProxy) -> AsyncIterator[Database]:
    made = Database(lambda: proxy.url)
    yield made
    await made.close()


@pytest.fixture
def ledgers(tmp_path: Path) -> LedgerSet:
    return LedgerSet(tmp_path / "ledgers", "w" * 32, ZoneInfo("UTC"))


@pytest.fixture
def accounts(rows: Seeder, database: Database, ledgers: LedgerSet) -> list[TrialAccount]:
    """Those of a hundred trials, of ten requests each."""
    api_ids = [f"{number:016d}" for number in range(TRIALS)]
    rows.sql("INSERT INTO apimgmt_trialquota (api_id, request_limit, used) SELECT unnest(%s::text[]), 10, 0", api_ids)
    return [TrialAccount(api_id, 10, 0, database=database, ledgers=ledgers) for api_id in api_ids]


async def code_of(account: TrialAccount, ledgers: LedgerSet) -> str:
    """What a caller is told; "" for a reservation."""
    cell = ledgers.cell(account.api_id)
    assert cell is not None
    try:
        reservation = await account.reserve(cell.ledger)
    except Problem as problem:
        return problem.kind.code
    reservation.keep()
    return ""


async def test_a_hundred_trial_calls_are_refused_in_time(
    proxy: PausingProxy, accounts: list[TrialAccount], ledgers: LedgerSet
) -> None:
    """They used to stand in a queue for four connections, each turn of which took the whole time limit."""
    proxy.pause()

    async with asyncio.timeout(6):  # ten times the limit; in turns it would take twenty-five times
        codes = await asyncio.gather(*(code_of(account, ledgers) for account in accounts))

    assert set(codes) == {"quota_unavailable"}


async def test_while_the_database_is_silent_callers_are_refused_at_once(
    proxy: PausingProxy, database: Database, accounts: list[TrialAccount], ledgers: LedgerSet
) -> None:
    proxy.pause()
    assert await code_of(accounts[0], ledgers) == "quota_unavailable"
    await until(lambda: database.is_silent)

    calls = [asyncio.create_task(code_of(account, ledgers)) for account in accounts]
    await asyncio.sleep(0)  # once round the loop: nothing is waited for

    assert {call.result() for call in calls} == {"quota_unavailable"}
    with pytest.raises(DatabaseAway):
        async with database.transaction():
            pytest.fail("a connection was lent")


async def test_a_database_that_answers_again_is_used_again(
    proxy: PausingProxy,
    database: Database,
    accounts: list[TrialAccount],
    ledgers: LedgerSet,
    rows: Seeder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy.pause()
    assert await code_of(accounts[0], ledgers) == "quota_unavailable"
    await until(lambda: database.is_silent)

    monkeypatch.undo()
    proxy.resume()
    await until(lambda: not database.is_silent)
    codes = await asyncio.gather(*(code_of(account, ledgers) for account in accounts[:10]))

    assert set(codes) == {""}
    # What was reserved for the caller that had gone by then was given back.
    await until(lambda: rows.one("SELECT sum(used) FROM apimgmt_trialquota") == 10)


async def test_a_caller_whose_reservation_comes_too_late_gives_it_back(
    proxy: PausingProxy,
    accounts: list[TrialAccount],
    ledgers: LedgerSet,
    rows: Seeder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await code_of(accounts[0], ledgers) == ""  # there is a connection now
    monkeypatch.setattr(connections, "TIMEOUT_S", 30.0)
    proxy.pause()
    assert await code_of(accounts[0], ledgers) == "quota_unavailable"

    proxy.resume()

    await until(lambda: rows.sql("SELECT reserved, returned FROM apimgmt_trialuse") == [(2, 1)])
    assert rows.one("SELECT sum(used) FROM apimgmt_trialquota") == 1


async def test_a_database_that_refuses_connections_is_asked_each_time(database: Database, rows: Seeder) -> None:
    """It answers at once, so nobody has to be kept from it, and the first call after its return is served."""
    database._find_url = lambda: "postgresql://127.0.0.1:1/nothing"
    for _ in range(3):
        with pytest.raises(DatabaseAway):
            await database.connect()

    assert not database.is_silent
    database._find_url = lambda: rows.url
    async with database.transaction() as connection:
        await connection.execute("SELECT 1")
