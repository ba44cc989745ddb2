"""Compressed bodies through the whole gateway: what is large once it is inflated never meets the event loop."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from gateway.processes.worker import Worker
from gateway.request.bodies import INLINE_BODY_BYTES
from testkit.harmful import looping
from tests.gateway.raw_http import QUICK, Answered, Client, Served, head, serving
from tests.gateway.serving import Api, Caller, Seeder, loaded, model_of, until
from tests.model_files import cancer

pytestmark = pytest.mark.one_worker

LIMIT = 50_000_000


def many_rows(api: Api, number: int) -> bytes:
    return json.dumps({"rows": [api.spec.sample] * number}).encode()


async def post(client: Client, api: Api, body: bytes, encoding: str) -> Answered:
    client.send(head(api, f"content-encoding: {encoding}", length=len(body)), body)
    return await client.answer()


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_small_body_is_inflated_and_answered(
    served: Served, api: Api, encoding: str, squeeze: Callable[[bytes], bytes]
) -> None:
    async with served.connected() as client:
        answer = await post(client, api, squeeze(api.body), encoding)
        again = await post(client, api, squeeze(api.body), encoding)

    assert (answer.status, again.status) == (200, 200)
    assert answer.body == again.body


async def test_a_small_body_that_is_large_inflated_goes_to_the_batch_processes(
    served: Served, rows: Seeder, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled = []
    take_body = served.worker.runner.batch.take_body
    monkeypatch.setattr(
        served.worker.runner.batch, "take_body", lambda api_id: spooled.append(api_id) or take_body(api_id)
    )
    plain = many_rows(api, 1000)
    body = gzip.compress(plain)
    assert len(body) < INLINE_BODY_BYTES < len(plain)

    async with served.connected() as client:
        answer = await post(client, api, body, "gzip")

    assert answer.status == 200
    assert len(json.loads(answer.body)["predictions"]) == 1000
    assert spooled == [api.id]
    model = model_of(served.worker, api)
    assert model.process.pid is None  # and not to a process of the model's own
    await until(lambda: rows.counts(api.id) == (1, 0, 0))


async def test_it_does_so_too_where_the_model_has_a_process_of_its_own(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    """That one has memory for a model, not for bodies."""
    api = rows.api(looping())
    await loaded(worker, api)
    model = model_of(worker, api)
    headers = api.headers | {"content-encoding": "gzip"}
    before = model.process.last_used

    small = await call(api, body=gzip.compress(api.body), headers=headers)
    used = model.process.last_used
    large = await call(api, body=gzip.compress(b'{"rows": [{"n": 1}' + b" " * 100_000 + b"]}"), headers=headers)

    assert (small.status, large.status) == (200, 200)
    assert small.json == large.json
    assert used > before
    assert model.process.last_used == used


def squeezed(size_bytes: int) -> bytes:
    """So many zeros; a thousandth of it."""
    squeezer = zlib.compressobj(1, wbits=31)
    million = bytes(1_000_000)
    return b"".join(squeezer.compress(million) for _ in range(size_bytes // len(million))) + squeezer.flush()


@pytest.mark.parametrize(
    "bomb",
    [
        lambda: gzip.compress(b" " * (LIMIT + 1)),
        lambda: gzip.compress(gzip.compress(b" " * LIMIT) + b" " * LIMIT),
        lambda: gzip.compress(b" " * 1_000_000) * 60,
        lambda: gzip.compress(b"") * 3000 + gzip.compress(b" " * (LIMIT + 1)),
        lambda: squeezed(4 * LIMIT),
    ],
    ids=["one member", "another one inside", "many members", "behind empty members", "four times the limit"],
)
async def test_a_bomb_is_413_and_others_go_on(
    served: Served, rows: Seeder, api: Api, bomb: Callable[[], bytes]
) -> None:
    body = await asyncio.to_thread(bomb)
    other = rows.api(cancer())
    await loaded(served.worker, other)
    async with served.connected() as client, served.connected() as neighbour:
        bombing = asyncio.create_task(post(client, api, body, "gzip"))
        while not bombing.done():
            neighbour.send(head(other), other.body)
            assert (await neighbour.answer()).status == 200

        answer = await bombing

    assert (answer.status, answer.code) == (413, "payload_too_large")
    await until(lambda: rows.counts(api.id) == (0, 1, 0))


async def test_a_bomb_that_was_compressed_twice_is_no_json(served: Served, api: Api) -> None:
    """One encoding is named, so one is taken off."""
    async with served.connected() as client:
        answer = await post(client, api, gzip.compress(gzip.compress(b" " * LIMIT)), "gzip")

    assert (answer.status, answer.code) == (400, "malformed_body")


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("deflate", 400), ("br", 415), ("gzip, gzip", 415)])
async def test_what_is_not_what_it_says_is_refused(served: Served, api: Api, encoding: str, status: int) -> None:
    async with served.connected() as client:
        answer = await post(client, api, b"\x1f\x8b" + bytes(range(256)), encoding)

    assert answer.status == status


async def test_a_trial_is_charged_for_its_compressed_answers_only(rows: Seeder, worker: Worker, call: Caller) -> None:
    """Reserving waits for the database, behind a body that came in one piece."""
    api = rows.api(cancer(), trial_of=2)
    await loaded(worker, api)
    async with serving(worker, QUICK) as served, served.connected() as client:
        statuses = [
            (await post(client, api, body, "gzip")).status
            for body in (
                gzip.compress(many_rows(api, 1001)),  # more rows than a trial may send
                gzip.compress(api.body),
                gzip.compress(many_rows(api, 900)),
                gzip.compress(api.body),
            )
        ]

    assert statuses == [422, 200, 200, 429]
    assert rows.used(api.id) == 2
