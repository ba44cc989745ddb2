"""Trials: exactly as many 200s as the quota says, whatever happens around them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from contract.settings import Settings
from gateway.db.connection import Connection, DatabaseAway
from gateway.db.statements.quota import answered_requests
from gateway.processes.worker import Worker
from gateway.usage import trial_quota
from gateway.usage.recovery import recover_orphans
from inference.predictor import ModelFailed
from tests.gateway.serving import Answer, Api, Caller, Seeder, loaded, running_worker, until
from tests.model_files import cancer

pytestmark = pytest.mark.one_worker


@pytest.fixture
async def trial(rows: Seeder, worker: Worker) -> Api:
    """A trial of three requests."""
    made = rows.api(cancer(), trial_of=3)
    await loaded(worker, made)
    return made


async def test_each_reply_tells_what_remains(call: Caller, trial: Api, rows: Seeder) -> None:
    refused = await call(trial, headers={})
    answers = [await call(trial) for _ in range(4)]

    told = [(answer.status, answer.headers["x-quota-limit"], answer.headers["x-quota-remaining"]) for answer in answers]
    assert told == [(200, "3", "2"), (200, "3", "1"), (200, "3", "0"), (429, "3", "0")]
    assert (refused.headers["x-quota-limit"], refused.headers["x-quota-remaining"]) == ("3", "3")
    assert answers[-1].code == "quota_exhausted"
    assert "retry-after" not in answers[-1].headers


async def test_final_exhaustion_costs_the_database_nothing(
    call: Caller, trial: Api, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        await call(trial)

    def away() -> None:
        raise DatabaseAway

    monkeypatch.setattr(worker.database, "lent", away)
    answers = [await call(trial, body=b"not even read") for _ in range(50)]

    assert {(answer.status, answer.code) for answer in answers} == {(429, "quota_exhausted")}


async def test_a_raised_limit_ends_the_exhaustion(call: Caller, trial: Api, worker: Worker, rows: Seeder) -> None:
    for _ in range(4):
        await call(trial)

    rows.sql("UPDATE apimgmt_trialquota SET request_limit = 4 WHERE api_id = %s", trial.id)
    revision = rows.revision
    await until(lambda: worker.table.revision >= revision)

    assert [(await call(trial)).status for _ in range(2)] == [200, 429]


async def test_only_a_200_uses_the_quota(call: Caller, trial: Api, worker: Worker, rows: Seeder) -> None:
    route = worker.table.get(trial.id)
    assert route is not None
    model = route.state.models[trial.version_id]
    assert model.predictor is not None
    predict = model.predictor.predict

    def fail(table: object) -> object:
        raise ModelFailed("It could not.")

    model.predictor.predict = fail  # type: ignore[assignment]
    failed = [await call(trial) for _ in range(5)]
    model.predictor.predict = predict
    invalid = [await call(trial, body=b'{"rows": [{}]}') for _ in range(5)]

    assert {answer.code for answer in failed} == {"model_failed"}
    assert {answer.code for answer in invalid} == {"invalid_rows"}
    await until(lambda: rows.used(trial.id) == 0)
    assert [(await call(trial)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_more_rows_than_a_trial_takes(gateway_env: Settings, rows: Seeder) -> None:
    async with running_worker(replace(gateway_env, trial_max_rows=2)) as worker:
        trial = rows.api(cancer(), trial_of=3)
        official = rows.api(cancer())
        await loaded(worker, trial)
        await loaded(worker, official)
        body = b'{"rows": [' + b",".join([trial.body[len(b'{"rows": [') : -2]] * 3) + b"]}"

        refused = await Caller(worker)(trial, body=body)
        answered = await Caller(worker)(official, body=body)

    assert (refused.status, refused.code) == (422, "invalid_rows")
    assert answered.status == 200
    assert rows.used(trial.id) == 0


async def test_a_stop_while_a_reservation_is_held_gives_it_back(
    call: Caller, trial: Api, worker: Worker, rows: Seeder
) -> None:
    route = worker.table.get(trial.id)
    assert route is not None
    account = route.state.account
    assert account is not None
    reserve = account.reserve

    async def reserve_and_stop(ledger: object) -> object:
        reservation = await reserve(ledger)  # type: ignore[arg-type]
        revision = trial.set(target="stopped")
        await until(lambda: worker.table.revision >= revision)
        return reservation

    account.reserve = reserve_and_stop  # type: ignore[method-assign, assignment]
    answer = await call(trial)

    assert answer.code == "api_stopped"
    await until(lambda: rows.used(trial.id) == 0)


async def test_without_the_database_a_trial_is_unavailable_and_an_official_api_serves(
    gateway_env: Settings, rows: Seeder
) -> None:
    async with running_worker(gateway_env) as worker:
        trial, official = rows.api(cancer(), trial_of=3), rows.api(cancer())
        await loaded(worker, trial)
        await loaded(worker, official)
        worker.database._find_url = lambda: "postgresql://127.0.0.1:1/nothing"
        await worker.database.close()

        refused, answered = await Caller(worker)(trial), await Caller(worker)(official)
        worker.database._find_url = lambda: rows.url
        again = await Caller(worker)(trial)

    assert (refused.status, refused.code) == (503, "quota_unavailable")
    assert refused.headers["retry-after"]
    assert answered.status == 200
    assert again.status == 200


async def test_exactly_the_quota_under_64_parallel_callers_on_two_workers(gateway_env: Settings, rows: Seeder) -> None:
    """300 calls, half of them invalid, on a trial of 100."""
    async with running_worker(gateway_env) as first, running_worker(gateway_env, slot=1) as second:
        trial = rows.api(cancer(), trial_of=100)
        for worker in (first, second):
            await loaded(worker, trial)
        callers = [Caller(first), Caller(second)]
        calls = [(random.choice(callers), valid) for valid in [True, False] * 150]
        room = asyncio.Semaphore(64)

        async def one(caller: Caller, valid: bool) -> Answer:
            async with room:
                return await caller(trial, body=None if valid else b'{"rows": [{}]}')

        answers = await asyncio.gather(*(one(*call) for call in calls))

        assert Counter(answer.status for answer in answers) == {200: 100, 422: 150, 429: 50}
        assert rows.used(trial.id) == 100
        await until(lambda: rows.counts(trial.id) == (100, 200, 0))


async def test_callers_wait_for_what_others_may_give_back(
    call: Caller, trial: Api, rows: Seeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else holds the whole quota, and gives one back after a moment."""
    looks = 0

    async def counted(connection: Connection, api_id: str) -> int:
        nonlocal looks
        looks += 1
        return await answered_requests(connection, api_id)

    monkeypatch.setattr(trial_quota, "answered_requests", counted)
    rows.sql("UPDATE apimgmt_trialquota SET used = 3 WHERE api_id = %s", trial.id)
    waiting = [asyncio.create_task(call(trial)) for _ in range(2)]
    await until(lambda: looks > 1)
    rows.sql("UPDATE apimgmt_trialquota SET used = 2 WHERE api_id = %s", trial.id)

    answers = sorted(await asyncio.gather(*waiting), key=lambda answer: answer.status)

    assert [answer.status for answer in answers] == [200, 429]
    assert answers[1].code == "quota_exhausted"
    assert answers[1].headers["retry-after"] == "1"


async def test_a_caller_that_is_cancelled_gives_back(call: Caller, trial: Api, rows: Seeder, worker: Worker) -> None:
    for pause in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008):  # at another point of its way each time
        calling = asyncio.create_task(call(trial))
        await asyncio.sleep(pause)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
    await worker.ledgers.write_out(worker.database)

    answered = rows.counts(trial.id)[0]

    await until(lambda: rows.used(trial.id) == answered)
    assert worker.ledgers.requests_in_flight == 0


async def test_a_commit_whose_answer_was_lost_is_given_back(call: Caller, trial: Api, rows: Seeder) -> None:
    assert (await call(trial)).status == 200
    # What the database holds after a reservation whose answer never reached the worker.
    rows.sql("UPDATE apimgmt_trialquota SET used = used + 1 WHERE api_id = %s", trial.id)
    rows.sql("UPDATE apimgmt_trialuse SET reserved = reserved + 1 WHERE api_id = %s", trial.id)

    assert [(await call(trial)).status for _ in range(3)] == [200, 200, 429]

    assert rows.used(trial.id) == 3


async def test_a_worker_that_dies_between_reserving_and_answering(
    gateway_env: Settings, rows: Seeder, worker: Worker, call: Caller
) -> None:
    trial = rows.api(cancer(), trial_of=3)
    async with running_worker(gateway_env, slot=1) as dying:
        await loaded(dying, trial)
        route = dying.table.get(trial.id)
        assert route is not None
        assert route.state.account is not None
        assert (await Caller(dying)(trial)).status == 200
        cell = dying.ledgers.cell(trial.id)
        assert cell is not None
        await route.state.account.reserve(cell.ledger)
        assert rows.used(trial.id) == 2
    # Leaving the block gives up the locks without a word to the database, as dying does.

    await recover_orphans(worker.ledgers.directory, worker.ledgers.names, worker.database)

    assert rows.used(trial.id) == 1
    assert rows.workers()[dying.identity.id][2] == "adopted"
    await loaded(worker, trial)
    assert [(await call(trial)).status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("mark", ["revision = revision - 1", "epoch = gen_random_uuid()"])
@pytest.mark.own_worker
async def test_a_restored_database_counts_as_it_says(
    call: Caller, trial: Api, worker: Worker, rows: Seeder, mark: str
) -> None:
    """A backup from before the last two 200s: the trial is not used up, and its reservations are no lost ones."""
    assert (await call(trial)).status == 200
    await until(lambda: rows.counts(trial.id)[0] == 1)
    backup = rows.sql("SELECT used FROM apimgmt_trialquota"), rows.sql("SELECT reserved FROM apimgmt_trialuse")
    assert [(await call(trial)).status for _ in range(3)] == [200, 200, 429]
    await until(lambda: rows.counts(trial.id)[0] == 3)

    rows.sql("UPDATE apimgmt_requeststat SET count_200 = 1")
    rows.sql("UPDATE apimgmt_trialquota SET used = %s", backup[0][0][0])
    rows.sql("UPDATE apimgmt_trialuse SET reserved = %s", backup[1][0][0])
    await until(lambda: worker.table.revision == rows.revision)
    rows.sql(f"UPDATE apimgmt_installation SET {mark}")  # noqa: S608
    restored = rows.sql("SELECT epoch, revision FROM apimgmt_installation")
    await until(lambda: [(worker.table.epoch, worker.table.revision)] == restored)
    answers = [(await call(trial)).status for _ in range(3)]

    assert answers == [200, 200, 429]
    assert rows.used(trial.id) == 3
    # The old ledger brings back what the backup had forgotten.
    await until(lambda: rows.counts(trial.id)[0] == 5)


@pytest.mark.own_worker
async def test_a_request_over_midnight_is_counted_where_it_was_reserved(
    call: Caller, trial: Api, worker: Worker, rows: Seeder
) -> None:
    """Else closing yesterday's ledger would find a reservation without a 200, and give it back."""
    now = worker.ledgers._now

    async def turn_the_day() -> None:
        worker.ledgers._now = lambda: now() + 86_400
        assert worker.ledgers.cell("c" * 16) is not None

    assert (await call(trial)).status == 200
    slow = Caller(worker, slow_body=turn_the_day)
    assert (await slow(trial)).status == 200
    assert (await call(trial)).status == 200
    await until(lambda: rows.sql("SELECT count(*) FROM apimgmt_ledger WHERE state = 'closed'") == [(1,)])

    assert rows.used(trial.id) == 3
    assert (await call(trial)).status == 429
