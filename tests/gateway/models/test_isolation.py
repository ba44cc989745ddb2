"""Models that are slow, greedy or deadly, and bodies that are large: others do not notice, and the console is told."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from contract.incidents import encode_reason
from contract.settings import Settings
from gateway.db.connection import Connection, DatabaseAway
from gateway.db.statements.routes import RouteRead
from gateway.models.batch import RUNNING
from gateway.models.file_locks import FileLocks
from gateway.models.loaded_model import LoadedModel
from gateway.processes.worker import Worker
from gateway.routing import follower
from inference.engines.onnx.operators import obstacle_to_inline
from testkit.client import calling
from testkit.harmful import POISON, allocating, dividing, looping
from tests.gateway.serving import Answer, Api, Caller, Seeder, loaded, running_worker, until
from tests.meant_models import surprising
from tests.model_files import cancer, diabetes, passing_on, penguins
from tests.stack import Stack

FOR_EVER = b'{"rows": [{"n": 1000000000000}]}'
TOO_MUCH = b'{"rows": [{"n": 20000000000}]}'


async def made(rows: Seeder, worker: Worker, what: tuple[object, bytes], **options: object) -> Api:
    api = rows.api(what, **options)  # type: ignore[arg-type]
    await loaded(worker, api)
    return api


def model_of(worker: Worker, api: Api) -> LoadedModel:
    route = worker.table.get(api.id)
    assert route is not None
    return route.state.models[api.version_id]


def incidents(rows: Seeder, api: Api) -> list[str]:
    return [
        row[0] for row in rows.sql("SELECT kind FROM apimgmt_gatewayincident WHERE api_id = %s ORDER BY id", api.id)
    ]


# --- what may run on the event loop ---


@pytest.mark.parametrize("what", [cancer(), penguins(), diabetes(), cancer("columns"), dividing()])
def test_usual_models_may_run_in_the_worker(what: tuple[object, bytes]) -> None:
    assert obstacle_to_inline(what[1]) == ""


def test_loops_sizes_from_data_and_foreign_operators_may_not() -> None:
    foreign = passing_on().replace(b"Identity", b"Identitz")

    assert "Loop" in obstacle_to_inline(looping()[1])
    assert "ConstantOfShape" in obstacle_to_inline(allocating()[1])
    assert obstacle_to_inline(foreign) == ""  # an unknown operator of the standard's name is refused when it is loaded
    assert obstacle_to_inline(b"\x3a\xff\xff\xff\xff\x0f") == "its graph can't be read"
    assert obstacle_to_inline(bytes(range(256))) == "its graph can't be read"


async def test_a_loop_runs_in_a_process_of_its_own(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = await made(rows, worker, looping())

    answer = await call(api)

    assert answer.json["predictions"] == [{"value": 1.0}]
    model = model_of(worker, api)
    assert model.predictor is None
    assert model.process.pid in [child.pid for child in psutil.Process().children()]
    assert (await call(api, body=b'{"rows": [{"n": "x"}]}')).code == "invalid_rows"
    assert (await call(api, body=b"{")).code == "malformed_body"
    await until(lambda: rows.counts(api.id) == (1, 2, 0))


async def test_an_api_counts_for_its_workspace(rows: Seeder, worker: Worker) -> None:
    """So that the processes of one workspace's models leave places for others'."""
    first, second = rows.apis(looping(), 2)
    other = rows.api(looping())
    for api in (first, second, other):
        await loaded(worker, api)

    told = [model_of(worker, api).process._workspace_id for api in (first, second, other)]
    whose = (
        "SELECT m.workspace_id FROM apimgmt_model m JOIN apimgmt_predictionapi a ON a.model_id = m.id WHERE a.id = %s"
    )

    assert told == [rows.one(whose, api.id) for api in (first, second, other)]
    assert told[0] == told[1] != told[2]


async def test_a_trial_in_a_process_is_charged_for_answers_only(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = await made(rows, worker, looping(), trial_of=2)

    refused = await call(api, body=b'{"rows": [{"n": "x"}]}')
    answers = [await call(api) for _ in range(3)]

    assert refused.status == 422
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-quota-remaining"] == "1"


# --- models that do harm ---


async def test_a_model_without_end_times_out_and_others_go_on(
    rows: Seeder, worker: Worker, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = await made(rows, worker, looping()), await made(rows, worker, cancer())
    process = model_of(worker, bad).process
    endless = asyncio.create_task(call(bad, body=FOR_EVER))
    await until(lambda: process.is_busy)
    monkeypatch.setattr("gateway.models.isolated_model.QUEUE_S", 0.3)
    waiting = [asyncio.create_task(call(bad)) for _ in range(10)]
    await until(lambda: process.n_waiting == 10)

    good_answers = [await call(good) for _ in range(20)]
    refused = await asyncio.gather(*waiting)
    was_waiting = not endless.done()
    endless.cancel()
    await asyncio.wait({endless})
    await until(lambda: not process.is_busy)
    process.timeout_s = 0.5
    timed_out = await call(bad, body=FOR_EVER)

    assert {answer.status for answer in good_answers} == {200}
    assert {(answer.status, answer.code) for answer in refused} == {(429, "too_many_requests")}
    assert all(answer.headers["retry-after"] for answer in refused)
    assert was_waiting
    assert (timed_out.status, timed_out.code) == (504, "model_timeout")
    await until(lambda: incidents(rows, bad) == ["timeout"])
    process.timeout_s, process.pause.ends_at = 30.0, 0.0
    assert (await call(bad)).status == 200


async def test_a_model_that_wants_all_memory_fails_and_goes_on(rows: Seeder, worker: Worker, call: Caller) -> None:
    bad = await made(rows, worker, allocating())

    greedy = await call(bad, body=TOO_MUCH)
    modest = await call(bad)

    assert (greedy.status, greedy.code) == (500, "model_failed")
    assert "memory" in greedy.json["detail"]
    assert modest.status == 200
    await until(lambda: incidents(rows, bad) == ["memory"])


async def test_an_answer_that_the_description_rules_out_fails_alone_and_is_told(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    bad = await made(rows, worker, surprising())

    surprised = [await call(bad, body=b'{"rows": [{"pick": 2, "n0": 1, "n1": 0}]}') for _ in range(3)]
    answered = await call(bad, body=b'{"rows": [{"pick": 1, "n0": 1, "n1": 0}]}')

    assert {(answer.status, answer.code) for answer in surprised} == {(500, "model_failed")}
    assert "class that is not in its description" in surprised[0].json["detail"]
    assert answered.json["predictions"][0]["class"] == "1"
    await until(lambda: incidents(rows, bad) == ["wrong_answer"])
    await until(lambda: rows.counts(bad.id) == (1, 0, 3))


async def test_a_version_that_goes_answers_first(rows: Seeder, worker: Worker, call: Caller) -> None:
    """An update must not cost the callers of the old version their answers, nor look like a crash of the model."""
    api = await made(rows, worker, looping())
    old = model_of(worker, api)
    model_id = rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id)
    _, newer = rows.version(looping(), model_id=model_id, number=2)
    tasks = [asyncio.create_task(call(api, body=b'{"rows": [{"n": 400000}]}')) for _ in range(2)]
    await until(lambda: old.process.n_waiting == 1)

    revision = api.set(version_id=newer)
    await until(lambda: worker.table.revision >= revision)
    was_busy = old.process.is_busy
    answers = await asyncio.gather(*tasks)

    assert was_busy
    assert [answer.status for answer in answers] == [200, 200]
    assert old.process.pid is None
    assert incidents(rows, api) == []


async def test_a_quarantine_is_read_though_the_database_fails_at_that_moment(
    rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await made(rows, worker, cancer())
    read, failures = follower.read_routes, [DatabaseAway("cut")]

    async def fail_once(connection: Connection, revision: int) -> RouteRead:
        if failures:
            raise failures.pop()
        return await read(connection, revision)

    monkeypatch.setattr(follower, "read_routes", fail_once)
    rows.sql(
        "INSERT INTO apimgmt_gatewayincident (api_id, version_id, worker_id, kind, reason, at)"
        " VALUES (%s, %s, '', 'worker_crashed', '', now())",
        *(api.id, api.version_id),
    )
    rows.sql("SELECT pg_notify('gateway_route', '')")

    await until(lambda: model_of(worker, api).is_isolated)
    assert not failures


# --- a worker that crashes ---


@pytest.fixture
def live(own_stack: Stack) -> Stack:
    return own_stack.start("gateway")


async def test_a_model_that_crashes_a_worker_is_quarantined(live: Stack) -> None:
    tables = Seeder(live.env["DATABASE_URL"], live.environment.model_store_dir)
    bad, good = tables.api(dividing()), tables.api(cancer())
    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 4)

    async with calling(live.gateway_url, good, connections=4) as client:
        await until(lambda: client.answered > 50)
        crashed = await asyncio.to_thread(poison, live, bad)
        await until(lambda: tables.sql("SELECT 1 FROM apimgmt_gatewayincident WHERE kind = 'worker_crashed'"))
        await until(lambda: live.gateway.log().count('"it crashed a gateway worker"') >= 2, timeout_s=30)
        answered = client.answered
        codes = [await asyncio.to_thread(poison, live, bad) for _ in range(4)]
        await until(lambda: client.answered > answered + 50)

    assert crashed == "cut"
    assert set(codes) == {"model_failed"}
    assert set(client.answers) == {200}
    assert client.cut <= 4  # one worker's connections, once
    api_id, kind, reason = tables.sql("SELECT api_id, kind, reason FROM apimgmt_gatewayincident ORDER BY id")[0]
    assert (api_id, kind) == (bad.id, "worker_crashed")
    assert reason == encode_reason("worker_crashed", crash="Floating point exception")
    await until(lambda: tables.counts(good.id)[0] >= answered)


def poison(stack: Stack, api: Api) -> str:
    try:
        answer = httpx.post(f"{stack.gateway_url}{api.path}", content=POISON, headers=api.headers, timeout=30)
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return "cut"
    return str(answer.json()["code"])


async def test_a_killed_worker_is_held_against_no_model(live: Stack) -> None:
    tables = Seeder(live.env["DATABASE_URL"], live.environment.model_store_dir)
    api = tables.api(cancer())
    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2)
    async with calling(live.gateway_url, api, connections=16) as client:
        await until(lambda: client.answered > 100)
        for child in psutil.Process(live.gateway.pid).children():
            child.kill()
        await until(lambda: live.gateway.log().count("ledger_recovered") >= 2)

    assert tables.sql("SELECT * FROM apimgmt_gatewayincident") == []


# --- large bodies ---


def csv_of(api: Api, n_rows: int) -> bytes:
    names = [column.name for column in api.spec.columns]
    line = ",".join(str(api.spec.sample[name]) for name in names) + "\n"
    return (",".join(names) + "\n" + line * n_rows).encode()


def csv_headers(api: Api) -> dict[str, str]:
    return api.headers | {"content-type": "text/csv"}


async def post_csv(call: Caller, api: Api, n_rows: int) -> Answer:
    body = csv_of(api, n_rows)
    parts = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    return await call(api, body=parts, headers=csv_headers(api))


async def test_a_large_csv_is_answered_from_another_process(
    rows: Seeder, worker: Worker, call: Caller, tmp_path: Path
) -> None:
    api = await made(rows, worker, cancer())

    answer = await post_csv(call, api, 5000)

    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.body.splitlines()) == 5001
    assert answer.headers["content-length"] == str(len(answer.body))
    small = await call(api, body=csv_of(api, 1), headers=csv_headers(api))
    assert set(answer.body.splitlines()[1:]) == set(small.body.splitlines()[1:])
    assert list((tmp_path / "spool").iterdir()) == []
    await until(lambda: rows.counts(api.id) == (2, 0, 0))


async def test_refusals_of_large_bodies_are_those_of_small_ones(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = await made(rows, worker, cancer())
    good = csv_of(api, 1000)
    bad_cell = good[:-30] + b"x" + good[-29:]

    faulty = await call(api, body=bad_cell, headers=csv_headers(api))
    broken = await call(api, body=b'{"rows": [' + b" " * 100_000)

    assert (faulty.status, faulty.code) == (422, "invalid_rows")
    assert faulty.json["errors"][0]["row"] == 1000
    assert (broken.status, broken.code) == (400, "malformed_body")


async def test_a_trial_refuses_too_many_rows_before_they_are_computed(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    api = await made(rows, worker, cancer(), trial_of=5)

    answer = await post_csv(call, api, 1001)

    assert (answer.status, answer.code) == (422, "invalid_rows")
    assert (await post_csv(call, api, 1000)).status == 200
    await until(lambda: rows.used(api.id) == 1)


async def test_a_body_that_is_stopped_while_it_computes_is_answered_by_the_new_rule(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    api = await made(rows, worker, cancer())
    locks = FileLocks(worker.runner.batch.run_dir, "batch-slot", RUNNING)
    taken = [locks.take(), locks.take()]
    task = asyncio.create_task(post_csv(call, api, 1000))
    await until(lambda: worker.runner.batch.n_waiting == 1)

    revision = api.set(target="stopped")
    await until(lambda: worker.table.revision >= revision)
    for fd in taken:
        os.close(fd or 0)

    assert (await task).code == "api_stopped"
    await until(lambda: rows.counts(api.id) == (0, 0, 1))


async def test_counts_are_written_out_whatever_happens_to_processes(
    rows: Seeder, worker: Worker, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await made(rows, worker, cancer())
    tends = []

    def fail_once() -> None:
        tends.append(1)
        if len(tends) == 1:
            raise OSError("no such process")

    monkeypatch.setattr(worker.runner, "tend", fail_once)
    await until(lambda: tends)

    assert (await call(api)).status == 200

    await until(lambda: rows.counts(api.id) == (1, 0, 0))


# --- memory ---


@pytest.fixture
async def small_worker(gateway_env: Settings) -> AsyncIterator[Worker]:
    """Room for two models."""
    async with running_worker(replace(gateway_env, model_memory_mb=1)) as running:
        yield running


async def test_what_is_used_least_makes_room_and_comes_back(rows: Seeder, small_worker: Worker) -> None:
    apis = [await made(rows, small_worker, cancer()) for _ in range(3)]
    call = Caller(small_worker)

    answers = [await call(api) for api in [*apis, *reversed(apis)]]

    assert {answer.status for answer in answers} == {200}
    assert small_worker.loader.n_loaded == 2
    assert small_worker.loader.used_bytes <= 1_000_000
    await until(lambda: rows.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 3)


async def test_a_worker_that_starts_loads_what_there_is_room_for_and_the_rest_when_asked(
    rows: Seeder, gateway_env: Settings
) -> None:
    apis = [rows.api(cancer()) for _ in range(5)]
    async with running_worker(replace(gateway_env, model_memory_mb=1)) as worker:
        await until(lambda: rows.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 5)
        loaded_first = [api.id for api in apis if model_of(worker, api).is_ready]

        answers = [await Caller(worker)(api) for api in apis]

    assert loaded_first == [apis[3].id, apis[4].id]  # the latest changes: somebody may be waiting for those
    assert {answer.status for answer in answers} == {200}


async def test_a_thousand_routes_are_obeyed_before_their_models_are_loaded(rows: Seeder, gateway_env: Settings) -> None:
    model = rows.api(cancer())
    rows.sql(
        "INSERT INTO apimgmt_model (workspace_id, name, created_at, created_by)"
        " SELECT workspace_id, 'm' || n, now(), 't' FROM apimgmt_model, generate_series(1, 999) n WHERE id ="
        " (SELECT model_id FROM apimgmt_predictionapi WHERE id = %s)",
        model.id,
    )
    rows.sql(
        "INSERT INTO apimgmt_predictionapi (id, model_id, type, status, target, is_locked, version_id, key_digest,"
        " revision, status_since, created_at, created_by)"
        " SELECT substr(md5(m.id::text), 1, 16), m.id, a.type, a.status, a.target, false, a.version_id, a.key_digest,"
        " 0, now(), now(), 't' FROM apimgmt_predictionapi a, apimgmt_model m WHERE m.id <> a.model_id AND a.id = %s",
        model.id,
    )
    async with running_worker(gateway_env) as worker:
        n_routes, n_loaded = len(worker.table), worker.loader.n_loaded

    assert n_routes == 1000
    assert n_loaded < 1000


def test_json_is_what_the_poison_is() -> None:
    assert json.loads(POISON)["rows"][0]["a"] == -(2**63)
