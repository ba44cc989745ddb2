"""Models come into memory one after the other in a thread, beside the requests, and go when no route names them.

Loading never delays the applying of a route. What became of it is reported apart, per API and version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import structlog

from contract.model_store import stored_path
from gateway.models.incidents import IncidentLog
from gateway.models.isolated_model import IsolatedModel
from gateway.models.load_reports import LoadReports
from gateway.models.loaded_model import Demand, LoadedModel, Version
from gateway.models.memory_budget import MemoryBudget
from gateway.models.placement import Placement, expected_bytes, place
from gateway.models.process_places import ProcessPlaces
from inference.predictor import ModelFailed, ModelLoadError
from inference.sandbox.prediction_messages import ModelRef

_RETRY_S: Final = 15.0
_IDLE_PROCESS_S: Final = 60.0

_log = structlog.get_logger("gateway.models.loader")

Loading = Callable[[str, int], AbstractContextManager[None]]
"""Entered, on the event loop, with API and version around what may crash the process: who recovers its ledger then
knows which model it was."""


class ModelLoader:
    """Loads what routes demand. `on_report` is called when there is something to tell the database."""

    def __init__(
        self,
        store_dir: Path,
        on_report: Callable[[], None],
        incidents: IncidentLog,
        *,
        memory_bytes: int,
        places: ProcessPlaces | None = None,
        loading: Loading = lambda _api_id, _version_id: nullcontext(),
    ) -> None:
        self._store_dir = store_dir
        self._on_report = on_report
        self._incidents = incidents
        self._loading = loading
        self._places = places
        self._thread = ThreadPoolExecutor(1, "model-loading")
        self._models: dict[tuple[str, int], LoadedModel] = {}
        self._budget = MemoryBudget(memory_bytes, self._models)
        self._queue: list[LoadedModel] = []
        self._background: list[LoadedModel] = []  # operated before this worker did: loaded while there is room
        self._cooling_down: set[LoadedModel] = set()  # failed a moment ago: not tried again yet, whoever asks
        self._task: asyncio.Task[None] | None = None
        self.reports = LoadReports()
        self._quarantined: frozenset[tuple[str, int]] = frozenset()

    @property
    def n_loaded(self) -> int:
        return sum(model.is_ready for model in self._models.values())

    @property
    def used_bytes(self) -> int:
        return self._budget.used_bytes

    @property
    def n_waiting(self) -> int:
        """Requests that wait for their model's own process."""
        return sum(model.process.n_waiting for model in self._models.values())

    # --- what is wanted ---

    def follow(self, demands: Sequence[Demand], *, is_first: bool = False) -> None:
        """Queue and drop what changed routes ask for. To be called before anything is reported to the database.

        `is_first`: the routes are those this worker found when it started. They operated before, with workers that
        have confirmed them, so they may be loaded in the background; the latest changes first, because the console may
        be waiting for those.
        """
        if is_first:
            demands = sorted(demands, key=lambda demand: demand.revision, reverse=True)
        for demand in demands:
            self._follow(demand, is_first=is_first)
        self._start_work()

    def _follow(self, demand: Demand, *, is_first: bool) -> None:
        wanted = {version.version_id: version for version in demand.wanted}
        for version_id, model in list(demand.models.items()):
            if wanted.get(version_id) != model.version:
                self._drop(model)
                del demand.models[version_id]
        for version_id, version in wanted.items():
            if version_id not in demand.models:
                model = demand.models[version_id] = self._make(demand, version)
                was_served = is_first and version == demand.served  # else a build waits for it
                (self._background if was_served else self._queue).append(model)

    def _make(self, demand: Demand, version: Version) -> LoadedModel:
        api_id = demand.api_id
        path = stored_path(self._store_dir, version.sha256)
        ref = ModelRef(version.version_id, str(path), version.format, version.described_json)
        process = IsolatedModel(api_id, ref, self._incidents, places=self._places, workspace_id=demand.workspace_id)
        model = LoadedModel(api_id, version, ref, process, self._request_load)
        self._models[model.key] = model
        return model

    def _drop(self, model: LoadedModel) -> None:
        model.is_wanted = False
        model.process.retire()
        if self._models.get(model.key) is model:
            del self._models[model.key]
        self.reports.dropped(model.key)

    def _request_load(self, model: LoadedModel) -> None:
        """Somebody waits for it."""
        if model not in self._cooling_down:
            self._enqueue(model)

    def _enqueue(self, model: LoadedModel) -> None:
        if model.is_wanted and not model.is_ready and model not in self._queue:
            self._queue.append(model)
            self._start_work()

    def quarantine(self, versions: frozenset[tuple[str, int]]) -> None:
        """These crashed a worker: they run in processes of their own from now on."""
        for key in versions - self._quarantined:
            model = self._models.get(key)
            if model is not None and model.predictor is not None:
                _log.warning("model_quarantined", api_id=model.api_id, version=model.version.number)
                model.unload()
                self._queue.append(model)
        self._quarantined = versions
        self._start_work()

    def tend(self) -> None:
        """Note what was used since the last time, and end idle processes. To be called every second."""
        self._budget.note_use()
        now = time.monotonic()
        for model in self._models.values():
            model.process.tend()
            is_idle = not model.process.is_busy and now - model.process.last_used > _IDLE_PROCESS_S
            if is_idle and not model.is_isolated:
                model.process.close()

    async def idle(self) -> None:
        """Wait until everything that was asked for so far has been loaded or has failed."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Load nothing more; a load in progress ends in its thread."""
        self._queue.clear()
        self._background.clear()
        for model in self._models.values():
            model.process.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- loading ---

    def _start_work(self) -> None:
        if (self._queue or self._background) and self._task is None:
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while (model := self._next()) is not None:
                if model.is_wanted and not model.is_ready and model not in self._cooling_down:
                    await self._load(model)
        finally:
            self._task = None

    def _next(self) -> LoadedModel | None:
        """What somebody waits for, then what changed, then what there is room for."""
        model = next((model for model in self._queue if model.is_awaited), None) or next(iter(self._queue), None)
        if model is not None:
            self._queue.remove(model)
        elif self._background:
            model = self._background.pop(0)
            if not self._budget.has_room_for(expected_bytes(model.ref)):
                self._defer([model, *self._background])
                return None
        return model

    def _defer(self, models: list[LoadedModel]) -> None:
        """There is no room for all: these are loaded when they are first asked for.

        For the console they are here: they were loaded by the workers that confirmed them, and are by this one in time.
        """
        self._background.clear()
        for model in models:
            if model.is_wanted and model.error is None:  # neither dropped, nor asked for before and failed
                self.reports.loaded(model.key, None)
        self._on_report()

    async def _load(self, model: LoadedModel) -> None:
        started = time.perf_counter()
        obstacle = ""
        try:
            placement = await self._placed(model)
            obstacle = placement.obstacle
            if placement.predictor is None:
                await model.process.load()
        except (ModelLoadError, ModelFailed) as error:
            model.set_failed(str(error))
            self._cooling_down.add(model)
            asyncio.get_running_loop().call_later(_RETRY_S, self._try_again, model)  # perhaps the store was away
        else:
            self._budget.make_room_for(placement.size_bytes)
            model.set_loaded(placement)
        if not model.is_wanted:
            model.process.retire()
            return
        self.reports.loaded(model.key, model.error)
        _log.info(
            "model_loaded" if model.error is None else "model_not_loaded",
            api_id=model.api_id,
            version=model.version.number,
            seconds=round(time.perf_counter() - started, 4),
            error=model.error,
            in_process_because=obstacle if model.is_isolated else None,
        )
        self._on_report()

    async def _placed(self, model: LoadedModel) -> Placement:
        """Loaded in the thread. Raises `ModelLoadError`, `ModelFailed`."""
        loop = asyncio.get_running_loop()
        while True:
            obstacle = "it crashed a gateway worker" if model.key in self._quarantined else ""
            with self._loading(*model.key):
                placement = await loop.run_in_executor(self._thread, place, model.ref, obstacle)
            if placement.predictor is None or model.key not in self._quarantined:  # it may have crashed another worker
                return placement

    def _try_again(self, model: LoadedModel) -> None:
        self._cooling_down.discard(model)
        self._enqueue(model)
