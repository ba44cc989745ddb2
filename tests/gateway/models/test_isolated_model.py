"""A model in a process of its own: slow, greedy or deadly, it fails alone and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest
from msgspec import structs

from contract.incidents import encode_reason
from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.isolated_model import IsolatedModel
from gateway.models.model_process import ModelProcess
from gateway.models.process_places import Place, ProcessPlaces
from gateway.usage.ledger import LedgerSet
from inference.engines import ModelFailed
from inference.formats import Reply
from inference.row_cost import RowCost
from inference.sandbox.prediction_messages import Predict
from testkit.harmful import POISON, allocating, dividing, looping
from tests.gateway.model_store import Made, predict_request, stored_model
from tests.gateway.serving import until
from tests.meant_models import surprising

API = "a" * 16
ONE_ROUND = b'{"rows": [{"n": 1}]}'
SOME_ROUNDS = b'{"rows": [{"n": 200000}]}'
FOR_EVER = b'{"rows": [{"n": 1000000000000}]}'
TOO_MUCH = b'{"rows": [{"n": 20000000000}]}'


class Isolated:
    """One model in its process, and what was noted against it."""

    def __init__(self, store_dir: Path, made: Made, places: ProcessPlaces | None = None) -> None:
        self.ref = stored_model(store_dir, made)
        self.log = IncidentLog("w")
        self.model = IsolatedModel(API, self.ref, self.log, places=places)

    async def predict(self, body: bytes) -> Reply:
        return await self.model.predict(predict_request(self.ref, body), None)

    async def outcome(self, body: bytes) -> str:
        """The code of the refusal, or "ok"."""
        try:
            await self.predict(body)
        except Problem as problem:
            return problem.kind.code
        except ModelFailed as error:
            return str(error)
        return "ok"

    async def refused(self, body: bytes) -> Problem:
        with pytest.raises(Problem) as caught:
            await self.predict(body)
        return caught.value

    @property
    def incidents(self) -> list[tuple[str, str]]:
        return [(incident.kind, incident.reason) for incident in self.log._waiting]


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Callable[..., Isolated]]:
    made_ones: list[Isolated] = []

    def make(made: Made, **options: Any) -> Isolated:
        made_ones.append(Isolated(tmp_path, made, **options))
        return made_ones[-1]

    yield make
    for one in made_ones:
        one.model.close()


async def test_it_answers_and_refuses_as_the_worker_would(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(looping())
    await one.model.load()

    reply = await one.predict(ONE_ROUND)

    assert reply.body == b'{"model_version":"1","predictions":[{"value":1.0}]}'
    assert one.model.pid in [child.pid for child in psutil.Process().children()]
    assert await one.outcome(b'{"rows": [{"n": "x"}]}') == "invalid_rows"
    assert await one.outcome(b"{") == "malformed_body"
    assert one.incidents == []


async def test_its_process_has_no_file_of_the_worker(isolated: Callable[[Made], Isolated], tmp_path: Path) -> None:
    """A lock that a child holds would keep a dead worker's counts from being recovered."""
    ledgers = LedgerSet(tmp_path / "ledgers", "w" * 32, ZoneInfo("UTC"))
    assert ledgers.cell(API)
    one = isolated(looping())
    await one.model.load()
    pid = one.model.pid

    opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    ledgers.release()

    assert not [path for path in opened if path.endswith((".ledger", ".lock"))]
    assert len([path for path in opened if path.startswith("socket:")]) == 1


async def test_how_an_answer_is_ruled_out_comes_back_from_the_process(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(surprising())

    with pytest.raises(ModelFailed) as caught:
        await one.predict(b'{"rows": [{"pick": 2, "n0": 1, "n1": 0}]}')

    assert caught.value.ruled_out == "unknown_class"
    assert await one.outcome(b'{"rows": [{"pick": 1, "n0": 1, "n1": 0}]}') == "ok"


async def test_a_model_that_wants_all_memory_fails_and_goes_on(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(allocating())

    assert "memory" in await one.outcome(TOO_MUCH)
    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.incidents == [("memory", encode_reason("memory_limit"))]


async def test_a_model_that_ends_its_process_fails_pauses_and_comes_back(
    isolated: Callable[[Made], Isolated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks in the pause waits for its end, if that is soon."""
    monkeypatch.setattr("gateway.models.model_process._RESTART_PAUSE_S", 1000.0)
    one = isolated(dividing())
    good = b'{"rows": [{"a": 6, "b": 3}]}'

    poisoned = await one.outcome(POISON)
    at_once = await one.outcome(good)
    one.model.pause.ends_at = time.monotonic() + 0.1
    soon = await one.outcome(good)

    assert "SIGFPE" in poisoned
    assert at_once == "too_many_requests"
    assert soon == "ok"
    assert one.incidents == [("process_crashed", encode_reason("process_ended", end="SIGFPE"))]


async def test_a_process_that_is_killed_between_requests_is_started_again(
    isolated: Callable[[Made], Isolated],
) -> None:
    one = isolated(looping())
    await one.model.load()
    os.kill(one.model.pid or 0, signal.SIGKILL)
    await until(lambda: one.model.pid is None)

    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.incidents == []


async def test_a_model_without_end_is_stopped_and_the_next_request_gets_a_fresh_process(
    isolated: Callable[[Made], Isolated],
) -> None:
    one = isolated(looping())
    await one.model.load()
    first = one.model.pid
    one.model.timeout_s = 0.5

    ended = await one.outcome(FOR_EVER)
    one.model.timeout_s, one.model.pause.ends_at = 30.0, 0.0

    assert ended == "model_timeout"
    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.model.pid != first
    assert one.incidents == [("timeout", encode_reason("time_limit", timeout_s=0.5))]


async def test_requests_wait_for_each_other_up_to_a_time(
    isolated: Callable[[Made], Isolated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are; the one that is computed has its own time."""
    monkeypatch.setattr("gateway.models.isolated_model.QUEUE_S", 0.3)
    one = isolated(looping())
    await one.model.load()
    endless = asyncio.create_task(one.outcome(FOR_EVER))
    waiting = [asyncio.create_task(one.outcome(ONE_ROUND)) for _ in range(40)]
    await until(lambda: one.model.n_waiting == 40)

    outcomes = await asyncio.gather(*waiting)
    at_once = await one.refused(ONE_ROUND)
    was_done = endless.done()
    endless.cancel()
    await asyncio.wait({endless})

    assert outcomes == ["too_many_requests"] * 40
    assert at_once.kind.code == "too_many_requests"
    assert (at_once.retry_after_s or 0) >= 1
    assert not was_done
    await until(lambda: not one.model.is_busy)
    assert await one.outcome(ONE_ROUND) == "ok"


async def test_quick_answers_are_waited_for_by_any_number(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(looping())
    await one.model.load()

    assert await asyncio.gather(*(one.outcome(ONE_ROUND) for _ in range(200))) == ["ok"] * 200


async def test_a_caller_that_leaves_ends_what_it_asked_for(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(looping())
    await one.model.load()
    first = one.model.pid
    task = asyncio.create_task(one.predict(FOR_EVER))
    await until(lambda: one.model.is_busy and not one.model.n_waiting)

    task.cancel()
    await asyncio.wait({task})

    await until(lambda: one.model.pid is None)
    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.model.pid != first


async def test_a_retired_model_answers_first(isolated: Callable[[Made], Isolated]) -> None:
    one = isolated(looping())
    await one.model.load()
    tasks = [asyncio.create_task(one.outcome(SOME_ROUNDS)) for _ in range(2)]
    await until(lambda: one.model.n_waiting == 1)

    one.model.retire()

    assert await asyncio.gather(*tasks) == ["ok", "ok"]
    assert one.model.pid is None


async def test_starting_a_process_is_not_taken_for_computing(isolated: Callable[[Made], Isolated]) -> None:
    """Else callers would be refused for a wait that is over."""
    one = isolated(looping())
    await one.model.load()
    one.model.note_cost(RowCost(0.003))
    os.kill(one.model.pid or 0, signal.SIGKILL)
    await until(lambda: one.model.pid is None)

    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.model._call_s == 0.003
    assert await one.outcome(ONE_ROUND) == "ok"
    assert one.model._call_s != 0.003


async def test_a_model_that_is_closed_in_the_middle_is_held_against_nobody(
    isolated: Callable[[Made], Isolated],
) -> None:
    one = isolated(looping())
    await one.model.load()
    task = asyncio.create_task(one.outcome(FOR_EVER))
    await until(lambda: one.model.is_busy and not one.model.n_waiting)

    one.model.close()

    assert await task == "The gateway ended the model's process."
    assert one.incidents == []


# --- together ---

JOINING = RowCost(0.003, 0.0005, 32)


def divided(a: int, b: int) -> bytes:
    return f'{{"rows": [{{"a": {a}, "b": {b}}}]}}'.encode()


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each message to a process has."""
    noted: list[int] = []
    alone, each = ModelProcess.predict, ModelProcess.predict_each

    async def noted_alone(process: ModelProcess, *given: Any) -> Any:
        noted.append(1)
        return await alone(process, *given)

    async def noted_each(process: ModelProcess, requests: Sequence[Predict], most_rows: int) -> Any:
        noted.append(len(requests))
        return await each(process, requests, most_rows)

    monkeypatch.setattr(ModelProcess, "predict", noted_alone)
    monkeypatch.setattr(ModelProcess, "predict_each", noted_each)
    return noted


async def joining(isolated: Callable[[Made], Isolated], made: Made) -> Isolated:
    one = isolated(made)
    await one.model.load()
    one.model.note_cost(JOINING)
    return one


async def test_what_queued_while_a_call_ran_is_one_call(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    one = await joining(isolated, looping())
    first = asyncio.create_task(one.predict(SOME_ROUNDS))
    await until(lambda: messages == [1])  # a lone request waits for nobody

    replies = await asyncio.gather(*(one.predict(ONE_ROUND) for _ in range(5)))

    assert {reply.body for reply in replies} == {b'{"model_version":"1","predictions":[{"value":1.0}]}'}
    assert (await first).body == b'{"model_version":"1","predictions":[{"value":200000.0}]}'
    assert messages == [1, 5]


async def test_what_comes_in_one_turn_is_one_call_of_so_many_rows(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    one = await joining(isolated, dividing())

    replies = await asyncio.gather(*(one.predict(divided(6 * n, 3)) for n in range(40)))

    values = [json.loads(reply.body)["predictions"][0]["value"] for reply in replies]
    assert values == [2.0 * n for n in range(40)]
    assert messages == [32, 8]


async def test_a_lone_request_waits_for_nobody(isolated: Callable[[Made], Isolated], messages: list[int]) -> None:
    one = await joining(isolated, dividing())
    for number in range(3):
        task = asyncio.create_task(one.predict(divided(6, 3)))
        for _ in range(4):  # turns of the loop
            await asyncio.sleep(0)

        assert messages == [1] * (number + 1)
        await task


async def test_those_who_were_answered_together_ask_again_together(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    """Their requests come turn after turn; a call for the first of them would cost as much as one for all."""
    one = await joining(isolated, dividing())
    one.model.note_cost(RowCost(0.1, 0.02, 8))
    await asyncio.gather(*(one.predict(divided(6, 3)) for _ in range(3)))
    tasks = []
    for _ in range(3):
        tasks.append(asyncio.create_task(one.predict(divided(6, 3))))
        for _ in range(4):
            await asyncio.sleep(0)

    await asyncio.gather(*tasks)

    assert messages == [3, 3]


async def test_each_of_a_call_has_its_own_refusal(isolated: Callable[[Made], Isolated], messages: list[int]) -> None:
    one = await joining(isolated, dividing())
    bodies = [divided(6, 3), divided(6, 3), b"{", b'{"rows": [{"a": "x", "b": 1}]}', divided(8, 2)]

    outcomes = await asyncio.gather(*map(one.outcome, bodies))

    assert outcomes == ["ok", "ok", "malformed_body", "invalid_rows", "ok"]
    assert messages == [5]
    assert one.incidents == []


async def test_many_rows_are_fewer_requests_a_call(isolated: Callable[[Made], Isolated], messages: list[int]) -> None:
    one = await joining(isolated, dividing())
    body = b'{"rows": [%b]}' % b", ".join([b'{"a": 6, "b": 3}'] * 12)

    replies = await asyncio.gather(*(one.predict(body) for _ in range(9)))

    assert {len(json.loads(reply.body)["predictions"]) for reply in replies} == {12}
    assert messages[:2] == [9, 2]  # of the nine, the first two were answered


async def test_a_request_of_many_rows_is_a_call_of_its_own(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    """It may take longer than a call for several."""
    one = await joining(isolated, dividing())
    large = b'{"rows": [%b]}' % b", ".join([b'{"a": 6, "b": 3}'] * 40)

    replies = await asyncio.gather(*(one.predict(body) for body in (large, *[divided(6, 3)] * 3)))

    assert [len(json.loads(reply.body)["predictions"]) for reply in replies] == [40, 1, 1, 1]
    assert messages == [4, 1, 3]  # of the four, none was answered


async def test_a_request_that_the_model_fails_for_spoils_no_other(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    one = await joining(isolated, surprising())
    bodies = [b'{"rows": [{"pick": %d, "n0": 1, "n1": 0}]}' % pick for pick in (0, 1, 2, 1)]

    outcomes = await asyncio.gather(*map(one.outcome, bodies))

    assert [outcome == "ok" for outcome in outcomes] == [True, True, False, True]
    assert messages == [4, 1, 1, 1, 1]


async def test_a_request_that_ends_the_process_spoils_no_other(
    isolated: Callable[[Made], Isolated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.models.model_process._RESTART_PAUSE_S", 0.1)
    one = await joining(isolated, dividing())
    bodies = [divided(6, 3), divided(6, 3), POISON, divided(6, 3), POISON, divided(6, 3)]

    outcomes = await asyncio.gather(*map(one.outcome, bodies))

    assert [outcome for outcome in outcomes if outcome != "ok"] == [
        "The model ended the process that computed it (SIGFPE)."
    ] * 2
    assert [outcome == "ok" for outcome in outcomes] == [True, True, False, True, False, True]


async def test_a_process_that_is_killed_in_a_call_for_several_costs_nobody_an_answer(
    isolated: Callable[[Made], Isolated], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await joining(isolated, dividing())
    each = ModelProcess.predict_each

    async def killed(process: ModelProcess, *given: Any) -> Any:
        os.kill(process.pid or 0, signal.SIGKILL)
        return await each(process, *given)

    monkeypatch.setattr(ModelProcess, "predict_each", killed)

    assert await asyncio.gather(*(one.outcome(divided(6, 3)) for _ in range(20))) == ["ok"] * 20
    assert one.incidents == [("process_crashed", encode_reason("process_ended", end="SIGKILL"))]


async def test_a_process_that_starts_again_has_one_request_first(
    isolated: Callable[[Made], Isolated], messages: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a large model takes longer than a call for several may."""
    monkeypatch.setattr("gateway.models.model_process.JOINT_TIMEOUT_S", 0.1)
    one = await joining(isolated, dividing())
    os.kill(one.model.pid or 0, signal.SIGKILL)
    await until(lambda: one.model.pid is None)

    assert await asyncio.gather(*(one.outcome(divided(6, 3)) for _ in range(4))) == ["ok"] * 4
    assert messages == [1, 3]


async def test_a_call_for_several_that_takes_too_long_is_ended_and_each_has_its_own(
    isolated: Callable[[Made], Isolated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.models.model_process.JOINT_TIMEOUT_S", 0.5)
    one = await joining(isolated, looping())
    one.model.timeout_s = 5.0  # in which a process starts

    outcomes = await asyncio.gather(*map(one.outcome, [ONE_ROUND, ONE_ROUND, ONE_ROUND, FOR_EVER]))

    assert outcomes == ["ok", "ok", "ok", "model_timeout"]
    assert one.incidents == [("timeout", encode_reason("time_limit", timeout_s=5.0))]


async def test_a_request_that_needs_approval_is_alone(
    isolated: Callable[[Made], Isolated], messages: list[int]
) -> None:
    one = await joining(isolated, dividing())
    asked = predict_request(one.ref, divided(6, 3))
    approved: list[int] = []

    async def approve(n_rows: int) -> None:
        approved.append(n_rows)
        if len(approved) == 2:
            raise Problem("quota_exhausted")

    trials = [one.model.predict(structs.replace(asked, needs_approval=True), approve) for _ in range(3)]
    outcomes = await asyncio.gather(one.predict(divided(6, 3)), *trials, return_exceptions=True)

    assert approved == [1, 1, 1]
    assert [getattr(outcome, "kind", None) and outcome.kind.code for outcome in outcomes] == [
        None, None, "quota_exhausted", None,
    ]  # fmt: skip
    assert messages == [1, 1, 1, 1]


async def test_a_caller_that_leaves_a_call_for_several_spoils_no_other(isolated: Callable[[Made], Isolated]) -> None:
    one = await joining(isolated, looping())
    tasks = [asyncio.create_task(one.outcome(SOME_ROUNDS)) for _ in range(4)]
    await until(lambda: one.model.is_busy and not one.model.n_waiting)  # in one call
    pid = one.model.pid

    tasks[1].cancel()
    await asyncio.wait(tasks)

    assert [task.cancelled() or task.result() for task in tasks] == ["ok", True, "ok", "ok"]
    assert one.model.pid == pid


@pytest.mark.parametrize("turns", range(1, 7))
async def test_a_caller_may_leave_in_whatever_turn(isolated: Callable[[Made], Isolated], turns: int) -> None:
    """Before its call, or in the very turn in which that starts."""
    one = await joining(isolated, dividing())
    task = asyncio.create_task(one.predict(divided(6, 3)))
    for _ in range(turns):
        await asyncio.sleep(0)

    task.cancel()
    await asyncio.wait({task})

    await until(lambda: not one.model.is_busy)
    assert await one.outcome(divided(6, 3)) == "ok"


async def test_a_retired_model_ends_its_process_when_the_last_caller_leaves(
    isolated: Callable[[Made], Isolated],
) -> None:
    """In the moment in which it is seen whether others come too."""
    one = await joining(isolated, dividing())
    task = asyncio.create_task(one.predict(divided(6, 3)))
    await asyncio.sleep(0)
    assert one.model.n_waiting == 1

    one.model.retire()
    task.cancel()
    await asyncio.wait({task})

    await until(lambda: one.model.pid is None)


# --- more processes ---


async def test_more_processes_come_while_requests_would_wait_and_go_again(
    isolated: Callable[..., Isolated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.models.isolated_model._EXTRA_IDLE_S", 0.0)
    places = ProcessPlaces(tmp_path / "run", 2)
    one = isolated(looping(), places=places)
    await one.model.load()
    one.model.note_cost(RowCost(1.0))  # a second each, as far as is known
    endless = asyncio.create_task(one.outcome(FOR_EVER))
    await until(lambda: one.model.is_busy and not one.model.n_waiting)

    answered = await asyncio.gather(*(one.outcome(ONE_ROUND) for _ in range(2)))
    n_processes, was_done = one.model.n_processes, endless.done()
    endless.cancel()
    await asyncio.wait({endless})
    await until(lambda: not one.model.is_busy)
    one.model.tend()

    assert answered == ["ok", "ok"]
    assert n_processes == 2
    assert not was_done
    assert len(one.model._extra) == 0
    taken = places.take(API, None)
    assert taken is not None  # it was given back
    taken.close()


async def test_without_a_place_there_is_one_process(isolated: Callable[..., Isolated], tmp_path: Path) -> None:
    places = ProcessPlaces(tmp_path / "run", 2)
    taken = places.take(API, None)
    assert taken is not None
    one = isolated(looping(), places=places)
    await one.model.load()
    one.model.note_cost(RowCost(1.0))

    outcomes = await asyncio.gather(*(one.outcome(ONE_ROUND) for _ in range(8)))

    assert "ok" in outcomes
    assert one.model.n_processes == 1
    taken.close()


async def test_while_one_process_may_not_start_again_another_answers(
    isolated: Callable[..., Isolated], tmp_path: Path
) -> None:
    one = isolated(looping(), places=ProcessPlaces(tmp_path / "run", 2))
    await one.model.load()
    assert one.model._grow()
    await until(lambda: one.model.n_processes == 2 and not one.model.is_busy)
    os.kill(one.model.pid or 0, signal.SIGKILL)
    await until(lambda: one.model.pid is None)
    one.model.pause.ends_at = time.monotonic() + 1000

    assert await one.outcome(ONE_ROUND) == "ok"


async def test_who_is_refused_does_not_have_the_places_searched_each_time(
    isolated: Callable[..., Isolated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are files, and refused callers ask again at once."""
    searched: list[str] = []
    monkeypatch.setattr(ProcessPlaces, "take", lambda _places, api_id, _workspace_id: searched.append(api_id))
    one = isolated(looping(), places=ProcessPlaces(tmp_path / "run", 2))
    await one.model.load()
    one.model.note_cost(RowCost(10.0))
    endless = asyncio.create_task(one.outcome(FOR_EVER))
    await until(lambda: one.model.is_busy and not one.model.n_waiting)

    outcomes = await asyncio.gather(*(one.outcome(ONE_ROUND) for _ in range(50)))
    endless.cancel()
    await asyncio.wait({endless})

    assert outcomes == ["too_many_requests"] * 50
    assert searched == [API]


def test_places_are_shared_by_apis_and_workspaces(tmp_path: Path) -> None:
    places = ProcessPlaces(tmp_path, 8)

    def taken(api_id: str, workspace_id: int, number: int) -> list[Place]:
        return [place for _ in range(number) if (place := places.take(api_id, workspace_id)) is not None]

    first, second, third, other = taken("a", 1, 9), taken("b", 1, 9), taken("c", 1, 9), taken("d", 2, 9)

    assert [len(one) for one in (first, second, third, other)] == [4, 2, 0, 2]
    for place in (*first, *second, *other):
        place.close()
    assert len(taken("d", 2, 9)) == 4
