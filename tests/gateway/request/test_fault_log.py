"""The request ID of a 5xx finds it in the log, whatever way the request went."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import structlog
from structlog.typing import EventDict

from contract.problems import Problem
from gateway.http.application import Request
from gateway.http.protocol import GatewayProtocol
from gateway.processes.worker import Worker
from gateway.request.app import Gateway
from gateway.request.fault_log import UNAVAILABLE_LINES_A_SECOND, FaultLog
from gateway.usage.ledger import Cell
from testkit.harmful import looping
from tests.gateway.raw_http import Answered, Served, head
from tests.gateway.serving import Api, Caller, Seeder, loaded, until
from tests.model_files import cancer


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def codes_in(logs: list[EventDict], answer: Answered) -> list[str]:
    """What the log says of the request that was answered so."""
    request_id = answer.headers["x-request-id"]
    assert json.loads(answer.body)["request_id"] == request_id
    return [str(line["code"]) for line in logs if line.get("request_id") == request_id]


async def asked(served: Served, api: Api, body: bytes | None = None) -> Answered:
    body = api.body if body is None else body
    async with served.connected() as client:
        client.send(head(api, length=len(body)), body)
        answer = await client.answer()
    assert answer.headers["content-type"] == "application/problem+json"
    return answer


class Broken:
    """Anything that breaks inside."""

    def __getattr__(self, name: str) -> Any:
        raise ArithmeticError("a fault of ours")


async def test_a_fault_on_the_event_loop(served: Served, api: Api, logs: list[EventDict]) -> None:
    route = served.worker.table.get(api.id)
    assert route is not None
    route.state.models[api.version_id].predictor = cast(Any, Broken())

    answer = await asked(served, api)

    assert (answer.status, codes_in(logs, answer)) == (500, ["internal_error"])
    assert [line["exc_info"].args for line in logs if line["event"] == "internal_error"] == [("a fault of ours",)]


async def test_a_fault_in_a_task(
    served: Served, rows: Seeder, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = rows.api(cancer(), trial_of=3)
    await loaded(served.worker, trial)
    monkeypatch.setattr(served.worker.app._checks, "reserve", Broken)

    answer = await asked(served, trial)

    assert (answer.status, codes_in(logs, answer)) == (500, ["internal_error"])


@pytest.mark.parametrize("is_trial", [False, True], ids=["on the event loop", "in a task"])
@pytest.mark.parametrize("is_counted_before", [False, True])
async def test_a_fault_while_it_is_decided_is_counted_as_it_is_answered(
    served: Served,
    rows: Seeder,
    logs: list[EventDict],
    monkeypatch: pytest.MonkeyPatch,
    is_trial: bool,
    is_counted_before: bool,
) -> None:
    api = rows.api(cancer(), trial_of=3 if is_trial else None)
    await loaded(served.worker, api)
    decide = Gateway._decide

    def failing(app: Gateway, request: Any) -> object:
        if is_counted_before:
            decide(app, request)
        raise ArithmeticError("a fault of ours")

    monkeypatch.setattr(Gateway, "_decide", failing)

    answer = await asked(served, api)

    assert (answer.status, codes_in(logs, answer)) == (500, ["internal_error"])
    await until(lambda: rows.counts(api.id) == (0, 0, 1))


async def test_a_count_that_fails_is_a_fault_too(
    served: Served, api: Api, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "_count", Broken.__getattr__)

    answer = await asked(served, api)

    assert (answer.status, codes_in(logs, answer)) == (500, ["internal_error"])


async def test_a_model_that_fails_on_the_event_loop(served: Served, rows: Seeder, logs: list[EventDict]) -> None:
    spec, _ = cancer()
    api = rows.api((spec, b"no model at all"))
    await loaded(served.worker, api)

    answer = await asked(served, api)

    assert (answer.status, codes_in(logs, answer)) == (500, ["model_failed"])


async def test_a_model_that_fails_in_its_own_process(served: Served, rows: Seeder, logs: list[EventDict]) -> None:
    api = rows.api(looping())
    await loaded(served.worker, api)
    route = served.worker.table.get(api.id)
    assert route is not None
    process = route.state.models[api.version_id].process
    process.timeout_s = 0.3

    answer = await asked(served, api, b'{"rows": [{"n": 1000000000}]}')

    assert (answer.status, codes_in(logs, answer)) == (504, ["model_timeout"])


async def test_a_large_body_whose_process_ends(
    served: Served, api: Api, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.worker.runner.batch, "timeout_s", 0.0)
    body = json.dumps({"rows": [api.spec.sample] * 500}).encode()

    answer = await asked(served, api, body)

    assert (answer.status, codes_in(logs, answer)) == (504, ["model_timeout"])


@pytest.mark.parametrize("name", ["on_head_begin", "on_request"])
async def test_a_fault_of_the_protocol_is_no_fault_of_the_client(
    served: Served, api: Api, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It was a 400 before: whatever is raised while httptools parses, httptools raises as an error of the input."""
    monkeypatch.setattr(GatewayProtocol, name, Broken.__getattr__)

    answer = await asked(served, api)

    assert (answer.status, codes_in(logs, answer)) == (500, ["internal_error"])


async def test_when_all_connections_are_taken(
    worker: Worker, served: Served, api: Api, logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.server.manager, "has_room", lambda: False)
    async with served.connected() as client:
        answer = await client.answer()

    assert (answer.status, codes_in(logs, answer)) == (503, ["too_many_connections"])


async def test_a_refusal_that_comes_as_often_as_it_is_asked_for_does_not_fill_the_disk(logs: list[EventDict]) -> None:
    now = 1000.0
    faults = FaultLog(now=lambda: now)
    for number in range(50):
        faults.note(Problem("catching_up"), b"%d" % number, "an-api")
        faults.note(Problem("model_failed"), b"%d" % number, "an-api")
    now += 1

    faults.note(Problem("catching_up"), b"later", "an-api")

    said = [line["code"] for line in logs]
    assert said.count("catching_up") == UNAVAILABLE_LINES_A_SECOND + 1
    assert said.count("model_failed") == 50


async def test_a_request_that_is_cancelled_while_it_waits_is_refused_and_counted(
    worker: Worker, rows: Seeder, api: Api
) -> None:
    """When draining takes too long."""
    pending = worker.app.start(_large_request(api))
    assert pending.is_waiting
    waiting = asyncio.Event()

    async def receive() -> dict[str, Any]:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(worker.app.finish(pending, receive, cast(Any, None)))
    await waiting.wait()
    task.cancel()
    response = await task

    assert response is not None
    assert response[0] == 503
    assert worker.ledgers.requests_in_flight == 0
    await until(lambda: rows.counts(api.id) == (0, 0, 1))


def _large_request(api: Api) -> Request:
    request = Request()
    request.method, request.path, request.peer = "POST", api.path, "192.0.2.7"
    request.lines = [(name.encode(), value.encode()) for name, value in api.headers.items()]
    request.headers = dict(request.lines)
    return request


async def test_internal_errors_tell_their_caller_nothing(call: Caller, api: Api, worker: Worker) -> None:
    def fail(api_id: str) -> Cell:
        raise ArithmeticError("a fault of ours")

    worker.ledgers.cell = fail  # type: ignore[method-assign]

    answer = await call(api)

    assert (answer.status, answer.code) == (500, "internal_error")
    assert "fault of ours" not in answer.body.decode()
