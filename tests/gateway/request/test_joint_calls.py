"""Requests to one version that come in the same turn of the event loop are one call of its model, and nobody notices.

Over real connections: only there do several requests come in one turn. How much is computed at once is taken for
granted here, `tests/inference/test_row_cost.py` has for which models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import uvloop
from msgspec import structs

from contract.model_spec import Column
from gateway.http.application import Request
from gateway.http.protocol import GatewayProtocol
from gateway.processes.worker import Worker
from gateway.request.app import Gateway
from inference.table import Table
from tests.gateway.raw_http import QUICK, Answered, Client, Served, both_ends, head, serving
from tests.gateway.serving import Api, Seeder, loaded, model_of, until
from tests.meant_models import surprising
from tests.model_files import cancer, penguins, spec_of, summing

pytestmark = pytest.mark.one_worker

new_event_loop = uvloop.new_event_loop


@pytest.fixture
async def served(worker: Worker) -> AsyncIterator[Served]:
    async with serving(worker, QUICK) as running, running.connected():  # so that no other connection is alone
        yield running


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Served, Api], list[int]]:
    """Makes the model one whose rows are joined, and notes how many rows each of its calls has from now on."""

    def note(served: Served, api: Api, rows_a_call: int = 32) -> list[int]:
        model, noted = model_of(served.worker, api), []
        monkeypatch.setattr(model, "rows_a_call", rows_a_call)
        assert model.predictor is not None
        predict = model.predictor.predict

        def predicted(table: Table) -> Any:
            noted.append(table.n_rows)
            return predict(table)

        monkeypatch.setattr(model.predictor, "predict", predicted)
        return noted

    return note


async def ready(served: Served, api: Api) -> Api:
    await loaded(served.worker, api)
    return api


def request(api: Api, rows: list[dict[str, Any]]) -> bytes:
    body = json.dumps({"rows": rows}).encode()
    return head(api, length=len(body)) + body


class Turn:
    """Connections whose requests come in one turn."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.ends: list[tuple[Client, GatewayProtocol]] = []

    async def answers(self, *requests: bytes) -> list[Answered]:
        async with AsyncExitStack() as stack:
            self.ends = [await stack.enter_async_context(both_ends(self.served)) for _ in requests]
            for (_, connection), sent in zip(self.ends, requests, strict=True):
                connection.data_received(sent)
            return [await client.answer() for client, _ in self.ends]


def asked(api: Api) -> Request:
    """The sample row as a request, without a connection."""
    http = Request()
    http.method, http.path, http.body, http.peer = "POST", api.path, api.body, "127.0.0.1"
    http.headers = {name.encode(): value.encode() for name, value in api.headers.items()}
    http.lines = list(http.headers.items())
    return http


def changed(api: Api, number: int) -> dict[str, Any]:
    """A row of its own for each request."""
    sample = dict(api.spec.sample)
    name = api.spec.columns[number % len(api.spec.columns)].name
    return sample | {name: float(sample[name] or 0) * (1.5 + number)}


async def test_they_are_one_call_and_each_is_answered_as_if_it_were_alone(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    api = await ready(served, rows.api(cancer()))
    requests = [request(api, [changed(api, number)] * (1 + number % 3)) for number in range(8)]
    alone = [(await Turn(served).answers(one))[0] for one in requests]
    noted = calls(served, api)

    together = await Turn(served).answers(*requests)

    assert [answer.body for answer in together] == [answer.body for answer in alone]
    assert len({answer.body for answer in alone}) > 2
    assert noted == [sum(1 + number % 3 for number in range(8))]
    assert len({answer.headers["x-request-id"] for answer in together}) == 8
    await until(lambda: rows.counts(api.id) == (16, 0, 0))
    assert served.worker.ledgers.requests_in_flight == 0


async def test_one_that_is_alone_is_a_call_and_waits_for_nobody(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    api = await ready(served, rows.api(cancer()))
    noted = calls(served, api)
    async with both_ends(served) as (client, connection):
        connection.data_received(head(api) + api.body)
        served.server.manager.batch.run()  # the turn, and nothing after it

        assert served.worker.ledgers.requests_in_flight == 0
        assert noted == [1]
        assert (await client.answer()).status == 200


async def test_a_call_has_no_more_rows_than_it_may(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    api = await ready(served, rows.api(cancer()))
    noted = calls(served, api, rows_a_call=4)
    large = request(api, [api.spec.sample] * 5)

    answers = await Turn(served).answers(*[head(api) + api.body] * 3, large, *[head(api) + api.body] * 3)

    assert {answer.status for answer in answers} == {200}
    assert sorted(noted) == [2, 4, 5]


async def test_what_is_refused_is_in_no_call(served: Served, rows: Seeder, calls: Callable[..., list[int]]) -> None:
    api = await ready(served, rows.api(cancer()))
    noted = calls(served, api)
    good = head(api) + api.body
    bad = request(api, [api.spec.sample | {api.spec.columns[0].name: "x"}])
    keyless = good.replace(api.key.encode(), b"wrong")

    answers = await Turn(served).answers(good, bad, keyless, request(api, []), good)

    assert [answer.status for answer in answers] == [200, 422, 401, 422, 200]
    assert noted == [2]
    await until(lambda: rows.counts(api.id) == (2, 3, 0))


async def test_a_row_that_the_model_fails_for_fails_alone(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    """The call for all fails, so each gets its own; and so do those of the next second."""
    api = await ready(served, rows.api(surprising()))
    noted = calls(served, api)
    sent = [request(api, [{"pick": pick, "n0": 1, "n1": 0}]) for pick in (0, 1, 2, 1)]

    answers = await Turn(served).answers(*sent)
    next_ones = await Turn(served).answers(sent[0], sent[1])
    model_of(served.worker, api).alone_until = 0.0
    later = await Turn(served).answers(sent[0], sent[1])

    assert [answer.status for answer in answers] == [200, 200, 500, 200]
    assert answers[2].code == "model_failed"
    assert [json.loads(answers[n].body)["predictions"][0]["class"] for n in (0, 1, 3)] == ["0", "1", "1"]
    assert {answer.status for answer in next_ones + later} == {200}
    assert noted == [4, 1, 1, 1, 1, 1, 1, 2]
    await until(lambda: rows.counts(api.id) == (7, 0, 1))
    await until(
        lambda: rows.sql("SELECT kind FROM apimgmt_gatewayincident WHERE api_id = %s", api.id) == [("wrong_answer",)]
    )


async def test_each_format_has_its_own_answer(served: Served, rows: Seeder, calls: Callable[..., list[int]]) -> None:
    api = await ready(served, rows.api(cancer()))
    names = [column.name for column in api.spec.columns]
    values = [api.spec.sample[name] for name in names]
    csv = (",".join(names) + "\n" + ",".join(map(str, values)) + "\n").encode()
    tensor = {"name": "X", "shape": [1, len(names)], "datatype": "FP32", "data": values}
    v2 = json.dumps({"inputs": [tensor]}).encode()
    path = f"/apis/{api.id}/v2/models/{api.id}/infer"
    sent = [
        head(api) + api.body,
        head(api, length=len(csv)).replace(b"application/json", b"text/csv") + csv,
        head(api, length=len(v2), path=path) + v2,
    ]
    alone = [(await Turn(served).answers(one))[0] for one in sent]
    noted = calls(served, api)

    together = await Turn(served).answers(*sent)

    assert [(answer.status, answer.body) for answer in together] == [(200, answer.body) for answer in alone]
    assert noted == [3]


async def test_reasons_are_computed_apart(served: Served, rows: Seeder, calls: Callable[..., list[int]]) -> None:
    api = await ready(served, rows.api(penguins()))
    row = json.dumps({"instances": [api.spec.sample]}).encode()
    explained = head(api, length=len(row), path=f"/apis/{api.id}/v1/models/{api.id}:explain") + row
    [alone] = await Turn(served).answers(explained)
    noted = calls(served, api)

    answers = await Turn(served).answers(head(api) + api.body, explained, head(api) + api.body)

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[1].body == alone.body
    assert noted[-1] == 2  # the two others, when all that is apart was answered


async def test_warnings_are_each_requests_own(served: Served, rows: Seeder, calls: Callable[..., list[int]]) -> None:
    column = Column(name="v", type="float", min=0, max=10, is_range_known=True)
    spec = structs.replace(spec_of({"v": "float"}, {"v": 1.0}), columns=(column,))
    api = await ready(served, rows.api((spec, summing({"v": "float"}))))
    noted = calls(served, api)

    answers = await Turn(served).answers(*[request(api, [{"v": value}]) for value in (1, 11, 2)])

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.headers.get("x-prediction-warnings") for answer in answers] == [None, "1", None]
    assert [json.loads(answer.body)["predictions"][0]["value"] for answer in answers] == [1, 11, 2]
    assert noted == [3]


async def test_a_trial_is_charged_for_each_and_never_joins(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    api = await ready(served, rows.api(cancer(), trial_of=3))
    noted = calls(served, api)

    answers = await Turn(served).answers(*[head(api) + api.body] * 8)

    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 5
    assert noted == [1, 1, 1]
    assert rows.used(api.id) == 3


async def test_bodies_that_come_behind_their_heads_join_too(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    api = await ready(served, rows.api(cancer()))
    noted = calls(served, api)
    async with AsyncExitStack() as stack:
        ends = [await stack.enter_async_context(both_ends(served)) for _ in range(5)]
        for _, connection in ends:
            connection.data_received(head(api))
        served.server.manager.batch.run()
        await asyncio.sleep(0)  # now they all wait for their bodies, each in its task
        for _, connection in ends:
            connection.data_received(api.body)

        assert [(await client.answer()).status for client, _ in ends] == [200] * 5
    assert noted == [5]
    await until(lambda: rows.counts(api.id) == (5, 0, 0))


async def test_who_is_released_before_the_call_is_left_out(
    served: Served, rows: Seeder, calls: Callable[..., list[int]]
) -> None:
    """Its client was answered something else in its place, or left."""
    api = await ready(served, rows.api(cancer()))
    noted, app = calls(served, api), served.worker.app
    left, stayed = (app.start(asked(api)) for _ in range(2))

    app.release(left)
    status, _, _ = app.complete(stayed)
    app.release(stayed)

    assert status == 200
    assert noted == [1]
    assert served.worker.ledgers.requests_in_flight == 0
    await until(lambda: rows.counts(api.id) == (1, 0, 0))


async def test_others_need_not_wait_for_the_call(
    served: Served, rows: Seeder, calls: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    heavy, light = await ready(served, rows.api(cancer())), await ready(served, rows.api(penguins()))
    noted = calls(served, heavy)
    answered: list[tuple[str, int]] = []
    complete = Gateway.complete

    def completed(app: Gateway, pending: Any) -> Any:
        response = complete(app, pending)
        answered.append((pending.route.api_id, len(noted)))
        return response

    monkeypatch.setattr(Gateway, "complete", completed)

    await Turn(served).answers(*[head(heavy) + heavy.body] * 2, head(light) + light.body)

    assert answered == [(light.id, 0), (heavy.id, 1), (heavy.id, 1)]


async def test_rules_that_changed_meanwhile_hold_for_each(
    served: Served, rows: Seeder, calls: Callable[..., list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed together is decided alone: the key of a request may have been rolled while its body came."""
    api = await ready(served, rows.api(cancer()))
    calls(served, api)
    async with both_ends(served) as (old_client, old), both_ends(served) as (new_client, new):
        old.data_received(head(api))
        served.server.manager.batch.run()
        await asyncio.sleep(0)
        old_head, key = head(api), api.key
        revision = api.set(target="stopped")
        await until(lambda: served.worker.table.revision >= revision)
        old.data_received(api.body)
        new.data_received(old_head + api.body)

        assert key == api.key
        assert (await old_client.answer()).code == "api_stopped"
        assert (await new_client.answer()).code == "api_stopped"
    await until(lambda: rows.counts(api.id) == (0, 0, 2))
