"""Models in memory: loaded one after the other in a thread, beside the requests, and dropped when no route names them.

Loading never delays the applying of a route. What became of it is told apart, per API and version.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from gateway.database import ModelLoad
from gateway.modelspec import ModelSpec
from gateway.predictor import ModelFailed, ModelLoadError, Predictor

if TYPE_CHECKING:
    from gateway.routes import Change, Route

_RETRY_S: Final = 15.0
_TIMED_RUNS: Final = 5

_log = structlog.get_logger("gateway.loading")


@dataclass(frozen=True)
class Version:
    """One artefact to serve. Equal versions need no second load; a changed description is another version."""

    version_id: int
    number: int
    sha256: str
    format: str
    spec_json: bytes


class LoadedModel:
    """A version on its way into memory. `predictor` and `error` are None until it is loaded or has failed.

    `row_s` is how long one row takes.
    """

    __slots__ = ("_arrived", "api_id", "error", "is_awaited", "is_wanted", "predictor", "row_s", "version")

    def __init__(self, api_id: str, version: Version) -> None:
        self.api_id = api_id
        self.version = version
        self.predictor: Predictor | None = None
        self.error: str | None = None
        self.row_s = 0.0
        self.is_wanted = True
        self.is_awaited = False
        self._arrived = asyncio.Event()

    async def arrival(self, timeout_s: float) -> bool:
        """Wait until it is loaded or has failed; false when that takes too long. The awaited ones are loaded first."""
        self.is_awaited = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def arrive(self, predictor: Predictor, row_s: float) -> None:
        self.predictor, self.row_s, self.error = predictor, row_s, None
        self._arrived.set()

    def fail(self, error: str) -> None:
        self.error = error
        self._arrived.set()


class ModelLoader:
    """Loads what routes name. `on_news` is called when there is something to tell the database."""

    def __init__(self, store_dir: Path, on_news: Callable[[], None]) -> None:
        self._store_dir = store_dir
        self._on_news = on_news
        self._thread = ThreadPoolExecutor(1, "model-loading")
        self._queue: list[LoadedModel] = []
        self._task: asyncio.Task[None] | None = None
        self._loads: dict[tuple[str, int], ModelLoad] = {}
        self._dropped: dict[tuple[str, int], None] = {}

    def follow(self, changes: list[Change]) -> None:
        """Queue and drop what changed routes ask for. To be called before anything is told to the database."""
        for change in changes:
            self._follow(change.old, change.new)
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._work())

    def _follow(self, old: Route | None, new: Route | None) -> None:
        route = new or old
        if route is None:
            return
        state = route.state
        wanted = {version.version_id: version for version in new.versions_to_load} if new else {}
        for version_id, model in list(state.models.items()):
            if wanted.get(version_id) != model.version:
                self._drop(model)
                del state.models[version_id]
        for version_id, version in wanted.items():
            if version_id not in state.models and new:
                model = state.models[version_id] = LoadedModel(new.api_id, version)
                self._queue.append(model)

    def _drop(self, model: LoadedModel) -> None:
        model.is_wanted = False
        key = (model.api_id, model.version.version_id)
        self._loads.pop(key, None)
        self._dropped[key] = None

    async def idle(self) -> None:
        """Wait until everything that was asked for so far has been loaded or has failed."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Load nothing more; a load in progress ends in its thread."""
        self._queue.clear()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- telling the database ---

    def news(self) -> tuple[list[ModelLoad], list[tuple[str, int]]]:
        """What was loaded (or failed) and what was dropped since it was last told."""
        return list(self._loads.values()), list(self._dropped)

    def told(self, loads: list[ModelLoad], dropped: list[tuple[str, int]]) -> None:
        """The database has it."""
        for load in loads:
            key = (load.api_id, load.version_id)
            if self._loads.get(key) is load:
                del self._loads[key]
        for key in dropped:
            self._dropped.pop(key, None)

    # --- loading ---

    async def _work(self) -> None:
        try:
            while self._queue:
                model = next((model for model in self._queue if model.is_awaited), self._queue[0])
                self._queue.remove(model)
                if model.is_wanted:
                    await self._load(model)
        finally:
            self._task = None

    async def _load(self, model: LoadedModel) -> None:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        try:
            predictor, row_s = await loop.run_in_executor(self._thread, _loaded, self._store_dir, model.version)
        except (ModelLoadError, ModelFailed) as error:
            model.fail(str(error))
            loop.call_later(_RETRY_S, self._try_again, model)  # perhaps the store was away
        else:
            model.arrive(predictor, row_s)
        if not model.is_wanted:
            return
        key = (model.api_id, model.version.version_id)
        self._loads[key] = ModelLoad(*key, model.error)
        _log.info(
            "model_loaded" if model.error is None else "model_not_loaded",
            api_id=model.api_id,
            version=model.version.number,
            seconds=round(time.perf_counter() - started, 4),
            error=model.error,
        )
        self._on_news()

    def _try_again(self, model: LoadedModel) -> None:
        if model.is_wanted:
            self._queue.append(model)
            if self._task is None:
                self._task = asyncio.create_task(self._work())


def _loaded(store_dir: Path, version: Version) -> tuple[Predictor, float]:
    """Load and warm up, in the thread. Raises `ModelLoadError`, `ModelFailed`."""
    path = store_dir / version.sha256[:2] / version.sha256
    try:
        spec = msgspec.json.decode(version.spec_json, type=ModelSpec)
        predictor = Predictor(path, spec, version.format)
        predictor.warm_up()
        return predictor, _row_seconds(predictor)
    except (ModelLoadError, ModelFailed):
        raise
    except FileNotFoundError:
        raise ModelLoadError("The model's file is not in the model store of this gateway.") from None
    except msgspec.DecodeError as error:
        raise ModelLoadError(f"The version's description can't be read: {error}.") from None
    except Exception as error:  # noqa: BLE001  (a library's own kinds of failure must not end the loading of others)
        _log.exception("model_load_crashed", version_id=version.version_id)
        raise ModelLoadError(f"Loading the model failed unexpectedly ({type(error).__name__}).") from None


def _row_seconds(predictor: Predictor) -> float:
    """The best of a few runs of the sample row: what the model needs when nothing disturbs it."""
    table = predictor.table_from_rows([predictor.spec.sample])
    best = float("inf")
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter()
        predictor.predict(table)
        best = min(best, time.perf_counter() - started)
    return best
