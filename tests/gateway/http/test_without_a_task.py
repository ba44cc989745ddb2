"""Requests are begun without a task; each that has to wait for something goes on in one, whatever it waits for.

Over real connections, because only there a request begins that way.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from contract.settings import Settings
from testkit.harmful import looping
from tests.gateway.raw_http import QUICK, Served, head, serving
from tests.gateway.serving import Api, Seeder, loaded, model_of, running_worker, until
from tests.model_files import cancer

pytestmark = pytest.mark.one_worker


async def ready(served: Served, api: Api) -> Api:
    await loaded(served.worker, api)
    return api


async def test_a_trial_waits_for_its_quota(served: Served, rows: Seeder) -> None:
    api = await ready(served, rows.api(cancer(), trial_of=3))
    async with served.connected() as client:
        client.send(*[head(api) + api.body] * 5)

        statuses = [(await client.answer()).status for _ in range(5)]

    assert statuses == [200, 200, 200, 429, 429]
    assert rows.used(api.id) == 3


@pytest.mark.own_worker
async def test_a_trial_without_its_database_is_503(
    served: Served, rows: Seeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await ready(served, rows.api(cancer(), trial_of=3))
    rows.sql("ALTER TABLE apimgmt_trialuse RENAME TO elsewhere")
    async with served.connected() as client:
        client.send(head(api), api.body)

        answer = await client.answer()

    assert (answer.status, answer.code) == (503, "quota_unavailable")


async def test_a_model_in_its_own_process(served: Served, rows: Seeder) -> None:
    api = await ready(served, rows.api(looping()))
    async with served.connected() as client:
        client.send(*[head(api) + api.body] * 3)

        assert [(await client.answer()).status for _ in range(3)] == [200] * 3


async def test_a_large_body_that_comes_in_one_piece(served: Served, rows: Seeder) -> None:
    """And the answers to it and to the request behind it, in their order."""
    api = await ready(served, rows.api(cancer()))
    body = json.dumps({"rows": [api.spec.sample] * 150}).encode()
    assert 64 * 1024 < len(body) < 256 * 1024
    async with served.connected() as client:
        client.send(head(api, length=len(body)) + body, head(api) + api.body)

        first, second = await client.answer(), await client.answer()

    assert len(json.loads(first.body)["predictions"]) == 150
    assert len(json.loads(second.body)["predictions"]) == 1
    await until(lambda: rows.counts(api.id) == (2, 0, 0))


async def test_more_work_than_the_event_loop_takes(served: Served, rows: Seeder) -> None:
    api = await ready(served, rows.api(cancer()))
    model_of(served.worker, api).row_s = 1.0
    async with served.connected() as client:
        client.send(head(api), api.body)

        assert (await client.answer()).status == 200


async def test_a_model_that_is_brought_back_into_memory(rows: Seeder, gateway_env: Settings) -> None:
    async with running_worker(replace(gateway_env, model_memory_mb=1)) as worker, serving(worker, QUICK) as served:
        apis = [await ready(served, rows.api(cancer())) for _ in range(4)]
        async with served.connected() as client:
            for api in apis:
                client.send(head(api), api.body)
                assert (await client.answer()).status == 200


async def test_a_page_of_a_model_that_is_not_here_yet(rows: Seeder, gateway_env: Settings) -> None:
    async with running_worker(gateway_env) as worker, serving(worker, QUICK) as served:
        api = rows.api(cancer())
        await until(lambda: worker.table.get(api.id))
        async with served.connected() as client:
            path = f"/apis/{api.id}/openapi.json"
            client.send(f"GET {path} HTTP/1.1\r\nx-api-key: {api.key}\r\n\r\n".encode())

            assert (await client.answer()).status == 200


@pytest.mark.own_worker
async def test_a_client_that_leaves_while_its_request_waits(served: Served, rows: Seeder) -> None:
    api = await ready(served, rows.api(looping()))
    async with served.connected() as client:
        body = b'{"rows": [{"n": 300000}]}'
        client.send(head(api, length=len(body)), body)
        await until(lambda: served.worker.ledgers.requests_in_flight == 1)
        client.writer.transport.abort()

    await until(lambda: served.worker.ledgers.requests_in_flight == 0)
    async with served.connected() as client:
        client.send(head(api), api.body)
        assert (await client.answer()).status == 200
    await until(lambda: rows.counts(api.id) == (2, 0, 0))  # that nobody read the first changes nothing
