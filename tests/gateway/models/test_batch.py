"""Large bodies in batch processes: how many run, how many wait, and what goes wrong there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contract.incidents import encode_reason
from contract.problems import Problem
from gateway.models import batch
from gateway.models.batch import (
    BODIES_AT_ONCE,
    BODIES_OF_AN_API,
    RUNNING,
    WAITING,
    BatchPool,
    FileLocks,
    FileReply,
    Limits,
)
from gateway.models.incidents import IncidentLog
from gateway.models.spool import Spool
from inference.engines import ModelFailed
from testkit.harmful import POISON, allocating, dividing, looping
from tests.gateway.model_store import Made, predict_request, stored_model
from tests.gateway.serving import until

API = "a" * 16
ONE_ROUND = b'{"rows": [{"n": 1}]}'


@pytest.fixture
def pools(tmp_path: Path) -> Iterator[list[BatchPool]]:
    """Those of two workers of one machine."""
    made = [
        BatchPool(
            spool_dir=tmp_path / "spool",
            store_dir=tmp_path / "store",
            run_dir=tmp_path / "run",
            incidents=IncidentLog("w"),
            limits=Limits(max_body_bytes=10_000_000, trial_max_rows=10),
        )
        for _ in range(2)
    ]
    (tmp_path / "store").mkdir()
    yield made
    for pool in made:
        pool.close()


@pytest.fixture
def pool(pools: list[BatchPool]) -> BatchPool:
    return pools[0]


async def predict(pool: BatchPool, made: Made, body: bytes) -> bytes:
    spool = Spool(pool.spool_dir)
    spool.append(body)
    reply = await pool.predict(API, predict_request(stored_model(pool.store_dir, made), None), spool, None)
    assert isinstance(reply, FileReply)
    return reply.spool.read(0, reply.spool.size)


async def outcome(pool: BatchPool, made: Made, body: bytes) -> str:
    try:
        await predict(pool, made, body)
    except Problem as problem:
        return problem.kind.code
    return "ok"


async def test_a_body_is_answered_from_file_to_file_and_the_process_is_used_again(pool: BatchPool) -> None:
    answer = await predict(pool, looping(), ONE_ROUND)
    first = psutil.Process().children()

    assert answer == b'{"model_version":"1","predictions":[{"value":1.0}]}'
    assert await predict(pool, looping(), ONE_ROUND) == answer
    assert psutil.Process().children() == first
    assert list(pool.spool_dir.iterdir()) == []


async def test_two_run_four_wait_and_the_rest_is_refused_in_all_workers_together(pools: list[BatchPool]) -> None:
    locks = FileLocks(pools[0].run_dir, "batch-slot", RUNNING)
    taken = [locks.take() for _ in range(RUNNING)]  # as if another worker computed two
    assert None not in taken
    assert locks.take() is None

    tasks = [asyncio.create_task(outcome(pools[n % 2], looping(), ONE_ROUND)) for n in range(RUNNING + WAITING + 2)]
    await until(lambda: sum(task.done() for task in tasks) == 2)
    waiting = sum(pool.n_waiting for pool in pools)
    for fd in taken:
        os.close(fd or 0)
    outcomes = await asyncio.gather(*tasks)

    assert waiting == RUNNING + WAITING
    assert sorted(outcomes) == ["ok"] * (RUNNING + WAITING) + ["too_many_requests"] * 2


async def test_what_takes_too_long_ends_with_its_process(pool: BatchPool) -> None:
    pool.timeout_s = 1.0

    assert await outcome(pool, looping(), b'{"rows": [{"n": 1000000000000}]}') == "model_timeout"
    assert pool._idle == []
    assert pool.incidents._waiting == []  # a large body may take long without a fault of the model


async def test_a_body_that_ends_its_process_is_an_incident_and_the_next_gets_another(pool: BatchPool) -> None:
    with pytest.raises(ModelFailed, match="SIGFPE"):
        await predict(pool, dividing(), POISON)

    (incident,) = pool.incidents._waiting
    assert (incident.kind, incident.reason) == ("process_crashed", encode_reason("batch_process_ended", end="SIGFPE"))
    assert await outcome(pool, dividing(), b'{"rows": [{"a": 6, "b": 3}]}') == "ok"


async def test_a_body_that_needs_too_much_memory_is_told_to_be_smaller(pool: BatchPool) -> None:
    with pytest.raises(ModelFailed, match="fewer rows"):
        await predict(pool, allocating(), b'{"rows": [{"n": 20000000000}]}')


async def test_a_process_that_had_a_very_large_body_is_not_used_again(
    pool: BatchPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_LARGE_BODY_BYTES", len(ONE_ROUND) - 1)

    assert await outcome(pool, looping(), ONE_ROUND) == "ok"

    assert pool._idle == []


async def test_a_process_that_nobody_needs_is_ended(pool: BatchPool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await outcome(pool, looping(), ONE_ROUND) == "ok"
    ((_, process),) = pool._idle
    pool.tend()
    was_running = process.is_running
    monkeypatch.setattr(batch, "_IDLE_S", -1.0)

    pool.tend()

    assert was_running
    assert not process.is_running
    assert pool._idle == []


async def test_no_room_for_an_answer_starts_no_process(pool: BatchPool, tmp_path: Path) -> None:
    pool.spool_dir.write_text("a file where a folder should be")
    request = predict_request(stored_model(pool.store_dir, looping()), None)
    before = psutil.Process().children()

    with pytest.raises(Problem) as refused:
        await pool.predict(API, request, Spool(tmp_path / "bodies"), None)

    assert refused.value.kind.code == "not_ready"
    assert psutil.Process().children() == before


def test_bodies_that_come_in_are_bounded_for_an_api_and_for_the_worker(pool: BatchPool) -> None:
    taken = [(f"api{n}", pool.take_body(f"api{n}")) for n in range(4) for _ in range(BODIES_OF_AN_API)]
    assert len(taken) == BODIES_AT_ONCE
    with pytest.raises(Problem, match="too_many_requests"):
        pool.take_body("another")
    pool.leave_body(*taken.pop())

    with pytest.raises(Problem, match="too_many_requests"):
        pool.take_body("api0")
    taken.append(("another", pool.take_body("another")))

    for api_id, spool in taken:
        pool.leave_body(api_id, spool)
    assert pool._bodies == {}
