"""Models on their way into memory and out of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.models import loader as loader_module
from gateway.models.incidents import IncidentLog
from gateway.models.loaded_model import Demand, LoadedModel, Version
from gateway.models.loader import ModelLoader
from inference.engines import ModelLoadError
from inference.sandbox.prediction_messages import ModelRef
from testkit.harmful import looping
from tests.gateway.model_store import Made, stored_version
from tests.model_files import cancer, diabetes

ROOM_FOR_TWO = 1_000_000


class Loading:
    """A loader, its store, and the models of its APIs."""

    def __init__(self, store_dir: Path, memory_bytes: int) -> None:
        self.store_dir = store_dir
        self.loader = ModelLoader(store_dir, self._note, IncidentLog("w"), memory_bytes=memory_bytes)
        self.models: dict[str, dict[int, LoadedModel]] = {}
        self.n_reports = 0

    def _note(self) -> None:
        self.n_reports += 1

    def demand(self, api_id: str, made: Made, *, number: int = 1, is_served: bool = True) -> Demand:
        version = stored_version(self.store_dir, made, number)
        models = self.models.setdefault(api_id, {})
        return Demand(api_id, number, models, wanted=(version,), served=version if is_served else None)

    async def follow(self, *demands: Demand, is_first: bool = False) -> list[LoadedModel]:
        self.loader.follow(demands, is_first=is_first)
        await self.loader.idle()
        return [model for demand in demands for model in demand.models.values()]

    @property
    def reported(self) -> list[tuple[str, int, str | None]]:
        return [(load.api_id, load.version_id, load.error) for load in self.loader.reports.pending()[0]]


@pytest.fixture
def loading(tmp_path: Path) -> Iterator[Callable[..., Loading]]:
    made: list[Loading] = []

    def make(memory_bytes: int = 1 << 30) -> Loading:
        made.append(Loading(tmp_path, memory_bytes))
        return made[-1]

    yield make
    for one in made:
        one.loader.close()


async def test_what_is_demanded_is_loaded_and_reported(loading: Callable[..., Loading]) -> None:
    one = loading()

    (model,) = await one.follow(one.demand("api", cancer()))

    assert model.predictor is not None
    assert not model.is_isolated
    assert model.spec == cancer()[0]
    assert one.reported == [("api", 1, None)]
    assert one.n_reports == 1


async def test_an_equal_version_is_loaded_once_and_another_replaces_it(loading: Callable[..., Loading]) -> None:
    one = loading()
    (first,) = await one.follow(one.demand("api", cancer()))

    (same,) = await one.follow(one.demand("api", cancer()))
    (other,) = await one.follow(one.demand("api", diabetes(), number=2))

    assert same is first
    assert other is not first
    assert not first.is_wanted
    loads, dropped = one.loader.reports.pending()
    assert [load.version_id for load in loads] == [2]
    assert dropped == [("api", 1)]
    one.loader.reports.acknowledge(loads, dropped)
    assert one.loader.reports.pending() == ([], [])


async def test_a_changed_description_of_the_same_version_is_loaded_again(loading: Callable[..., Loading]) -> None:
    one = loading()
    (first,) = await one.follow(one.demand("api", cancer()))

    (second,) = await one.follow(one.demand("api", cancer("columns")))

    assert second is not first
    assert second.is_ready


async def test_a_meaning_that_was_written_down_later_loads_nothing_again(loading: Callable[..., Loading]) -> None:
    one = loading()
    before = one.demand("api", cancer())
    (first,) = await one.follow(before)
    version = replace(before.wanted[0], meaning_json=b'{"outputs":[]}')

    (same,) = await one.follow(replace(before, revision=2, wanted=(version,), served=version))

    assert same is first
    assert len(one.reported) == 1


async def test_nothing_is_wanted_any_more(loading: Callable[..., Loading]) -> None:
    one = loading()
    await one.follow(one.demand("api", cancer()))

    await one.follow(Demand("api", 2, one.models["api"]))

    assert one.models["api"] == {}
    assert one.loader.n_loaded == 0
    assert one.loader.reports.pending() == ([], [("api", 1)])


async def test_a_file_that_is_not_there_is_reported(loading: Callable[..., Loading]) -> None:
    one = loading()
    version = Version(1, 1, "0" * 64, "onnx", b"{}")

    (model,) = await one.follow(Demand("api", 1, {}, wanted=(version,)))

    assert not model.is_ready
    assert await model.wait_until_loaded(0)
    ((_, _, error),) = one.reported
    assert error


async def test_a_model_that_cannot_be_loaded_is_not_loaded_for_each_caller(
    loading: Callable[..., Loading], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading is one after the other: other APIs' models would wait for it."""
    tries = []

    def fail(ref: ModelRef, obstacle: str) -> object:
        tries.append(ref)
        raise ModelLoadError("no")

    monkeypatch.setattr(loader_module, "place", fail)
    one = loading()
    (model,) = await one.follow(one.demand("api", cancer()))

    waited = [await model.wait_until_loaded(30) for _ in range(10)]
    await one.loader.idle()

    assert waited == [True] * 10
    assert (model.is_ready, model.error) == (False, "no")
    assert len(tries) == 1


async def test_a_process_that_cannot_be_started_fails_one_model_and_not_the_loading(
    loading: Callable[..., Loading], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = loading()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))

    isolated, usual = await one.follow(one.demand("slow", looping()), one.demand("usual", cancer()))

    assert "can't start a process" in (isolated.error or "")
    assert usual.is_ready


async def test_a_version_that_crashes_another_worker_while_it_is_loaded_comes_into_a_process(
    loading: Callable[..., Loading], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, place, obstacles = loading(), loader_module.place, []

    def crashed_meanwhile(ref: ModelRef, obstacle: str) -> object:
        obstacles.append(obstacle)
        placed = place(ref, obstacle)
        one.loader._quarantined = frozenset({("api", 1)})
        return placed

    monkeypatch.setattr(loader_module, "place", crashed_meanwhile)
    (model,) = await one.follow(one.demand("api", cancer()))

    assert obstacles == ["", "it crashed a gateway worker"]
    assert model.is_isolated


async def test_a_quarantined_version_leaves_the_worker_and_comes_into_a_process(
    loading: Callable[..., Loading],
) -> None:
    one = loading()
    (model,) = await one.follow(one.demand("api", cancer()))

    one.loader.quarantine(frozenset({("api", 1)}))
    await one.loader.idle()

    assert model.predictor is None
    assert model.is_isolated
    assert model.process.pid is not None


# --- memory ---


async def test_what_is_used_least_makes_room_and_comes_back(loading: Callable[..., Loading]) -> None:
    one = loading(ROOM_FOR_TWO)
    models = [(await one.follow(one.demand(f"api{n}", cancer(), is_served=False)))[0] for n in range(3)]
    ready = [model.is_ready for model in models]
    one.loader.tend()
    models[1].is_used = True

    came_back = await models[0].wait_until_loaded(30)

    assert ready == [False, True, True]
    assert came_back
    assert [model.is_ready for model in models] == [True, True, False]
    assert one.loader.used_bytes <= ROOM_FOR_TWO
    assert len(one.reported) == 3


async def test_a_worker_that_starts_loads_what_there_is_room_for_and_the_rest_when_asked(
    loading: Callable[..., Loading],
) -> None:
    one = loading(ROOM_FOR_TWO)
    demands = [one.demand(f"api{n}", cancer(), number=n) for n in range(1, 6)]

    models = await one.follow(*demands, is_first=True)

    ready = [model.version.number for model in models if model.is_ready]
    assert ready == [4, 5]  # the latest changes: somebody may be waiting for those
    assert sorted(number for _, number, _ in one.reported) == [1, 2, 3, 4, 5]
    assert await models[0].wait_until_loaded(30)
    assert models[0].is_ready


async def test_what_a_build_waits_for_is_loaded_though_there_is_no_room(loading: Callable[..., Loading]) -> None:
    one = loading(1)

    models = await one.follow(
        one.demand("served", cancer()), one.demand("building", cancer(), is_served=False), is_first=True
    )

    assert [model.is_ready for model in models] == [False, True]


async def test_what_there_is_no_room_for_is_called_loaded_unless_it_failed_or_went(tmp_path: Path) -> None:
    loader = ModelLoader(tmp_path, lambda: None, IncidentLog("w"), memory_bytes=1)
    for number in (1, 2, 3):
        version = Version(number, number, "0" * 64, "onnx", b"{}")
        loader._background.append(loader._make(Demand("a" * 16, 1, {}), version))
    loader._background[0].set_failed("no")
    loader._drop(loader._background[1])

    loader._start_work()
    await loader.idle()

    loads, dropped = loader.reports.pending()
    assert [(load.version_id, load.error) for load in loads] == [(3, None)]
    assert dropped == [("a" * 16, 2)]
    loader.close()


async def test_what_somebody_waits_for_is_loaded_first(
    loading: Callable[..., Loading], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, place, order = loading(), loader_module.place, []

    def noted(ref: ModelRef, obstacle: str) -> object:
        order.append(ref.version_id)
        return place(ref, obstacle)

    monkeypatch.setattr(loader_module, "place", noted)
    demands = [one.demand(f"api{n}", cancer(), number=n) for n in (1, 2, 3)]
    one.loader.follow(demands)

    waited = asyncio.create_task(one.models["api3"][3].wait_until_loaded(30))
    await asyncio.sleep(0)
    await one.loader.idle()

    assert await waited
    assert sorted(order) == [1, 2, 3]
    assert order.index(3) < 2
