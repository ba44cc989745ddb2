"""What the sockets bring in one turn of the event loop is parsed together, then answered together.

Each case brings two things into the same turn that usually come in different ones, over real connections and on the
event loop that workers run on: uvloop raises where asyncio's own forgives, as for a write to a closed connection.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
import uvloop

from gateway.http.application import Pending, Request
from gateway.http.protocol import GatewayProtocol
from gateway.processes.worker import Worker
from gateway.request.api_request import ApiRequest
from gateway.request.app import Gateway
from gateway.request.checks import REQUESTS_IN_PROGRESS
from gateway.routing.routes import ApiState
from inference.formats.json_parser import JsonParser
from testkit.harmful import looping
from tests.gateway.raw_http import QUICK, Served, both_ends, head, serving
from tests.gateway.serving import Api, Seeder, loaded, until

pytestmark = pytest.mark.one_worker

new_event_loop = uvloop.new_event_loop


@pytest.fixture
async def served(worker: Worker) -> AsyncIterator[Served]:
    async with serving(worker, QUICK) as running, running.connected():  # so that no other connection is alone
        yield running


@pytest.fixture
async def isolated(rows: Seeder, worker: Worker) -> Api:
    made = rows.api(looping())
    await loaded(worker, made)
    return made


def state_of(served: Served, api: Api) -> ApiState:
    route = served.worker.table.get(api.id)
    assert route is not None
    return route.state


async def test_nothing_is_asked_behind_the_last_answer(
    served: Served, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read in the turn in which the connection is closed would be counted, and answered to nobody."""
    write_response = GatewayProtocol.write_response

    def while_more_comes(connection: GatewayProtocol, *given: Any) -> bool:
        connection.data_received(head(api) + api.body)
        return write_response(connection, *given)

    monkeypatch.setattr(GatewayProtocol, "write_response", while_more_comes)
    async with both_ends(served) as (client, _):
        client.send(head(api, "connection: close"), api.body[:-1])
        await until(lambda: served.worker.ledgers.requests_in_flight == 1)
        client.send(api.body[-1:])

        assert (await client.answer()).headers["connection"] == "close"
        assert await client.is_closed()
    assert state_of(served, api).answers == {200: 1}


async def test_what_is_malformed_in_the_turn_of_a_refusal_is_not_counted(served: Served, api: Api) -> None:
    """One request, one answer: the refusal of the head is not told any more, so it isn't counted."""
    async with both_ends(served) as (client, connection):
        chunked = head(api, "transfer-encoding: chunked", length=-1)
        connection.data_received(chunked.replace(api.key.encode(), b"wrong"))
        connection.data_received(b"ZZ\r\n")

        assert (await client.answer()).code == "malformed_request"
        assert await client.is_closed()
    assert state_of(served, api).answers == {}
    assert served.worker.ledgers.requests_in_flight == 0


@pytest.mark.parametrize("stage", ["start", "complete"])
async def test_a_fault_of_ours_is_500_and_harms_no_other(
    served: Served, api: Api, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    failing, work = [], getattr(Gateway, stage)

    def fail_once(app: Gateway, subject: object) -> object:
        if not failing:
            failing.append(subject)
            raise ArithmeticError("a fault of ours")
        return work(app, subject)

    monkeypatch.setattr(Gateway, stage, fail_once)
    with structlog.testing.capture_logs() as logs:
        async with both_ends(served) as (client, first), both_ends(served) as (other, second):
            first.data_received((head(api) + api.body) * 2)
            second.data_received(head(api) + api.body)

            answer = await client.answer()
            assert (answer.status, answer.code) == (500, "internal_error")
            assert answer.headers["connection"] == "close"
            assert await client.is_closed()
            assert (await other.answer()).status == 200
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["internal_error"]
    assert state_of(served, api).in_progress == 0


async def test_a_request_that_waits_for_nothing_takes_no_place(served: Served, api: Api) -> None:
    """Those of one turn are started before the first is answered, but they are not in progress beside each other."""
    state_of(served, api).in_progress = REQUESTS_IN_PROGRESS - 2
    async with (
        both_ends(served) as (client, first),
        both_ends(served) as (other, second),
        both_ends(served) as (
            third_client,
            third,
        ),
    ):
        for connection in (first, second, third):
            connection.data_received(head(api) + api.body)

        assert [(await one.answer()).status for one in (client, other, third_client)] == [200] * 3
    assert state_of(served, api).in_progress == REQUESTS_IN_PROGRESS - 2


async def test_who_leaves_before_a_request_goes_on_in_its_task_is_counted(
    served: Served, rows: Seeder, isolated: Api
) -> None:
    async with both_ends(served) as (_, connection):
        connection.transport.abort()  # the reset is seen in the turn of the request
        connection.data_received(head(isolated) + isolated.body)
        served.server.manager.batch.run()
        assert served.worker.ledgers.requests_in_flight == 1
    await until(lambda: served.worker.ledgers.requests_in_flight == 0)

    assert state_of(served, isolated).answers == {200: 1}


async def test_who_leaves_with_requests_in_his_pipeline_is_not_written_to(
    served: Served, isolated: Api, caplog: pytest.LogCaptureFixture
) -> None:
    async with both_ends(served) as (_, connection):
        connection.data_received((head(isolated) + isolated.body) * 2)
        served.server.manager.batch.run()
        connection.transport.abort()
    await until(lambda: served.worker.ledgers.requests_in_flight == 0)
    await until(lambda: not served.server.manager.tasks)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
    assert state_of(served, isolated).answers == {200: 1}


async def test_a_request_that_had_to_wait_leaves_nothing_for_the_garbage_collector(
    served: Served, isolated: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[weakref.ref[ApiRequest]] = []
    start = Gateway.start

    def noted(app: Gateway, http: Request) -> Pending:
        pending = start(app, http)
        assert isinstance(pending, ApiRequest)
        started.append(weakref.ref(pending))
        return pending

    monkeypatch.setattr(Gateway, "start", noted)
    async with both_ends(served) as (client, _):
        gc.disable()
        try:
            client.send(head(isolated) + isolated.body)
            assert (await client.answer()).status == 200
            await until(lambda: started[0]() is None)
        finally:
            gc.enable()


async def test_work_that_goes_elsewhere_is_decoded_here_once(
    served: Served, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_of(served, api).models[api.version_id].row_s = 1.0
    decoded, decode = [], JsonParser.quick_table

    def noted(parser: JsonParser, *given: object) -> object:
        decoded.append(parser)
        return decode(parser, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(JsonParser, "quick_table", noted)
    async with both_ends(served) as (client, _):
        client.send(head(api), api.body)

        assert (await client.answer()).status == 200
    assert len(decoded) == 1
