"""A model in a process of its own: slow, greedy or deadly, it fails alone and comes back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import pytest

from contract.incidents import encode_reason
from contract.problems import Problem
from gateway.models.incidents import IncidentLog
from gateway.models.isolated_model import IsolatedModel
from gateway.usage.ledger import LedgerSet
from inference.engines import ModelFailed
from inference.formats import Reply
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

    def __init__(self, store_dir: Path, made: Made) -> None:
        self.ref = stored_model(store_dir, made)
        self.log = IncidentLog("w")
        self.model = IsolatedModel(API, self.ref, self.log)

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
def isolated(tmp_path: Path) -> Iterator[Callable[[Made], Isolated]]:
    made_ones: list[Isolated] = []

    def make(made: Made) -> Isolated:
        made_ones.append(Isolated(tmp_path, made))
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
    monkeypatch.setattr("gateway.models.model_process._RESTART_PAUSE_S", 1000.0)
    one = isolated(dividing())
    good = b'{"rows": [{"a": 6, "b": 3}]}'

    poisoned = await one.outcome(POISON)
    at_once = await one.outcome(good)
    one.model.pause.ends_at = 0.0  # the pause is over

    assert "SIGFPE" in poisoned
    assert at_once == "The model ended its process a moment ago."
    assert await one.outcome(good) == "ok"
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
