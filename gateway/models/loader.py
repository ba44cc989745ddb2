"""Models in memory: loaded one after the other in a thread, beside the requests, and dropped when no route names them.

Loading never delays the applying of a route. What became of it is told apart, per API and version. Together they stay
within a budget: what nobody has asked for longest makes room, and is loaded again when it is asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from contract.model_spec import ModelSpec
from contract.model_store import stored_path
from gateway.db.statements.workers import ModelLoad
from gateway.models.incidents import IncidentLog
from gateway.models.isolated_model import IsolatedModel
from inference import formats
from inference.engines import engine_for
from inference.predictor import ModelFailed, ModelLoadError, Predictor
from inference.sandbox.prediction_messages import ModelRef

if TYPE_CHECKING:
    from gateway.routing.routes import Change, Route

INLINE_WORK_S: Final = 0.001  # more than this would hold up the event loop, and with it all other APIs
SLOW_ROW_S: Final = 0.25  # seen once, it is not measured any further

_RETRY_S: Final = 15.0
_TIMED_RUNS: Final = 5
_IDLE_PROCESS_S: Final = 60.0
# Measured: a session of a small model and the decoders compiled for it; a large one grows with its file.
_MODEL_BYTES: Final = 400_000
_BYTES_PER_FILE_BYTE: Final = 5
_PROCESS_BYTES: Final = 90_000_000

_log = structlog.get_logger("gateway.models.loader")

Loading = Callable[[str, int], AbstractContextManager[None]]
"""Entered, on the event loop, with API and version around what may crash the process: its heir then knows what."""


@dataclass(frozen=True)
class Version:
    """One artefact to serve. Equal versions need no second load; a changed description is another version."""

    version_id: int
    number: int
    sha256: str
    format: str
    spec_json: bytes


class LoadedModel:
    """A version on its way into memory. `error` says why that failed.

    One of two ways: with a `predictor` it may run on the event loop, one row in `row_s`; else it `is_isolated`, and all
    its work is done in `process`. Neither: it is not here yet, or no longer, and `arrival` brings it.
    """

    __slots__ = (
        "_arrived",
        "_summon",
        "api_id",
        "error",
        "is_awaited",
        "is_isolated",
        "is_used",
        "is_wanted",
        "last_used",
        "predictor",
        "process",
        "ref",
        "row_s",
        "size_bytes",
        "spec",
        "version",
    )

    def __init__(
        self,
        api_id: str,
        version: Version,
        ref: ModelRef,
        process: IsolatedModel,
        summon: Callable[[LoadedModel], None],
    ) -> None:
        self.api_id = api_id
        self.version = version
        self.ref = ref
        self.process = process
        self.predictor: Predictor | None = None
        self.spec: ModelSpec | None = None
        self.error: str | None = None
        self.is_isolated = False
        self.row_s = 0.0
        self.size_bytes = 0
        self.is_wanted = True
        self.is_awaited = False
        self.is_used = False
        self.last_used = 0.0
        self._summon = summon
        self._arrived = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self.predictor is not None or self.is_isolated

    async def arrival(self, timeout_s: float) -> bool:
        """Wait until it is loaded or has failed; false when that takes too long. The awaited ones are loaded first."""
        self.is_awaited = True
        self._summon(self)
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True

    def arrive(self, made: _Made) -> None:
        self.predictor, self.row_s, self.is_isolated = made.predictor, made.row_s, made.predictor is None
        self.spec, self.size_bytes, self.error = made.spec, made.size_bytes, None
        self.is_used = True
        self._arrived.set()

    def fail(self, error: str) -> None:
        self.error = error
        self._arrived.set()

    def leave(self) -> None:
        """Out of memory, until it is asked for again. Requests in progress keep what they have."""
        self.predictor, self.is_isolated, self.is_awaited, self.size_bytes = None, False, False, 0
        self._arrived.clear()
        if not self.process.is_busy:
            self.process.close()


class ModelLoader:
    """Loads what routes name. `on_news` is called when there is something to tell the database."""

    def __init__(
        self,
        store_dir: Path,
        on_news: Callable[[], None],
        incidents: IncidentLog,
        *,
        memory_bytes: int,
        loading: Loading = lambda _api_id, _version_id: nullcontext(),
    ) -> None:
        self._store_dir = store_dir
        self._on_news = on_news
        self._incidents = incidents
        self._memory_bytes = memory_bytes
        self._loading = loading
        self._thread = ThreadPoolExecutor(1, "model-loading")
        self._models: dict[tuple[str, int], LoadedModel] = {}
        self._queue: list[LoadedModel] = []
        self._spare: list[LoadedModel] = []  # operating since before this worker began: loaded while there is room
        self._resting: set[LoadedModel] = set()  # failed a moment ago: not tried again yet, whoever asks
        self._task: asyncio.Task[None] | None = None
        self._loads: dict[tuple[str, int], ModelLoad] = {}
        self._dropped: dict[tuple[str, int], None] = {}
        self._quarantined: frozenset[tuple[str, int]] = frozenset()

    @property
    def n_loaded(self) -> int:
        return sum(model.is_ready for model in self._models.values())

    @property
    def used_bytes(self) -> int:
        return sum(model.size_bytes for model in self._models.values())

    @property
    def n_waiting(self) -> int:
        """Requests that wait for their model's own process."""
        return sum(model.process.n_waiting for model in self._models.values())

    def follow(self, changes: list[Change], *, is_first: bool = False) -> None:
        """Queue and drop what changed routes ask for. To be called before anything is told to the database.

        `is_first`: the routes are those this worker found when it started. They operated before, with workers that
        have confirmed them, so they may be loaded in the background; the latest changes first, because the console may
        be waiting for those.
        """
        for change in sorted(changes, key=_revision, reverse=True) if is_first else changes:
            self._follow(change.old, change.new, is_first=is_first)
        self._go_on()

    def _go_on(self) -> None:
        if (self._queue or self._spare) and self._task is None:
            self._task = asyncio.create_task(self._work())

    def _follow(self, old: Route | None, new: Route | None, *, is_first: bool) -> None:
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
                model = state.models[version_id] = self._make(new.api_id, version)
                was_served = is_first and not new.refusal and version == new.version  # else a build waits for it
                (self._spare if was_served else self._queue).append(model)

    def _make(self, api_id: str, version: Version) -> LoadedModel:
        path = stored_path(self._store_dir, version.sha256)
        ref = ModelRef(version.version_id, str(path), version.format, version.spec_json)
        model = LoadedModel(api_id, version, ref, IsolatedModel(api_id, ref, self._incidents), self._summon)
        self._models[api_id, version.version_id] = model
        return model

    def _drop(self, model: LoadedModel) -> None:
        model.is_wanted = False
        model.process.retire()
        key = (model.api_id, model.version.version_id)
        if self._models.get(key) is model:
            del self._models[key]
        self._loads.pop(key, None)
        self._dropped[key] = None

    def _summon(self, model: LoadedModel) -> None:
        """Somebody waits for it."""
        if model not in self._resting:
            self._enqueue(model)

    def _enqueue(self, model: LoadedModel) -> None:
        if model.is_wanted and not model.is_ready and model not in self._queue:
            self._queue.append(model)
            self._go_on()

    def quarantine(self, versions: frozenset[tuple[str, int]]) -> None:
        """These crashed a worker: they run in processes of their own from now on."""
        for key in versions - self._quarantined:
            model = self._models.get(key)
            if model is not None and model.predictor is not None:
                _log.warning("model_quarantined", api_id=model.api_id, version=model.version.number)
                model.leave()
                self._queue.append(model)
        self._quarantined = versions
        self._go_on()

    async def idle(self) -> None:
        """Wait until everything that was asked for so far has been loaded or has failed."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Load nothing more; a load in progress ends in its thread."""
        self._queue.clear()
        self._spare.clear()
        for model in self._models.values():
            model.process.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    # --- memory ---

    def tend(self) -> None:
        """Note what was used since the last time, and end idle processes. To be called every second."""
        now = time.monotonic()
        for model in self._models.values():
            if model.is_used:
                model.is_used, model.last_used = False, now
            is_idle = not model.process.is_busy and now - model.process.last_used > _IDLE_PROCESS_S
            if is_idle and not model.is_isolated:
                model.process.close()

    def _make_room(self, needed: int) -> None:
        """Let go of what was not asked for longest. What is awaited comes in however large it is."""
        used = self.used_bytes
        for model in self._by_age():
            if used + needed <= self._memory_bytes:
                return
            used -= model.size_bytes
            _log.info("model_unloaded", api_id=model.api_id, version=model.version.number)
            model.leave()

    def _by_age(self) -> Iterator[LoadedModel]:
        self.tend()
        idle = [model for model in self._models.values() if model.is_ready and not model.process.is_busy]
        return iter(sorted(idle, key=lambda model: model.last_used))

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
            while (model := self._next()) is not None:
                if model.is_wanted and not model.is_ready and model not in self._resting:
                    await self._load(model)
        finally:
            self._task = None

    def _next(self) -> LoadedModel | None:
        """What somebody waits for, then what changed, then what there is room for."""
        model = next((model for model in self._queue if model.is_awaited), None) or next(iter(self._queue), None)
        if model is not None:
            self._queue.remove(model)
        elif self._spare:
            model = self._spare.pop(0)
            if self.used_bytes + _expected_bytes(model) > self._memory_bytes:
                self._put_off([model, *self._spare])
                return None
        return model

    def _put_off(self, models: list[LoadedModel]) -> None:
        """There is no room for all: these are loaded when they are first asked for.

        For the console they are here: they were loaded by the workers that confirmed them, and are by this one in time.
        """
        self._spare.clear()
        for model in models:
            if not model.is_wanted or model.error is not None:  # dropped, or asked for before and failed
                continue
            key = (model.api_id, model.version.version_id)
            self._loads[key] = ModelLoad(*key, None)
        self._on_news()

    async def _load(self, model: LoadedModel) -> None:
        started = time.perf_counter()
        key = (model.api_id, model.version.version_id)
        try:
            made = await self._made(model, key)
            if made.predictor is None:
                await model.process.load()
        except (ModelLoadError, ModelFailed) as error:
            model.fail(str(error))
            self._resting.add(model)
            asyncio.get_running_loop().call_later(_RETRY_S, self._try_again, model)  # perhaps the store was away
        else:
            self._make_room(made.size_bytes)
            model.arrive(made)
        if not model.is_wanted:
            model.process.retire()
            return
        self._loads[key] = ModelLoad(*key, model.error)
        _log.info(
            "model_loaded" if model.error is None else "model_not_loaded",
            api_id=model.api_id,
            version=model.version.number,
            seconds=round(time.perf_counter() - started, 4),
            error=model.error,
            in_process_because=made.obstacle if model.is_isolated else None,
        )
        self._on_news()

    async def _made(self, model: LoadedModel, key: tuple[str, int]) -> _Made:
        """Loaded in the thread. Raises `ModelLoadError`, `ModelFailed`."""
        loop = asyncio.get_running_loop()
        while True:
            obstacle = "it crashed a gateway worker" if key in self._quarantined else ""
            with self._loading(*key):
                made = await loop.run_in_executor(self._thread, _loaded, model.ref, obstacle)
            if made.predictor is None or key not in self._quarantined:  # it may have crashed another worker meanwhile
                return made

    def _try_again(self, model: LoadedModel) -> None:
        self._resting.discard(model)
        self._enqueue(model)


@dataclass(frozen=True)
class _Made:
    """What loading came to. Without a predictor: why the model needs a process of its own."""

    spec: ModelSpec
    size_bytes: int
    predictor: Predictor | None = None
    row_s: float = 0.0
    obstacle: str = ""


def _loaded(ref: ModelRef, obstacle: str) -> _Made:
    """Load and warm up, but only what may run in this process. Raises `ModelLoadError`, `ModelFailed`."""
    try:
        spec = msgspec.json.decode(ref.spec_json, type=ModelSpec)
        content = Path(ref.path).read_bytes()
        in_process = _Made(spec, _PROCESS_BYTES + _BYTES_PER_FILE_BYTE * len(content))
        obstacle = obstacle or engine_for(ref.format).obstacle_to_inline(content)
        if obstacle:
            return replace(in_process, obstacle=obstacle)
        predictor = Predictor(Path(ref.path), spec, ref.format)
        row_s = _row_seconds(predictor)
        if row_s > INLINE_WORK_S:
            return replace(in_process, obstacle=f"one row takes {row_s * 1000:.1f} ms")
        formats.warm_up(predictor)
        return _Made(spec, _MODEL_BYTES + _BYTES_PER_FILE_BYTE * len(content), predictor, row_s)
    except (ModelLoadError, ModelFailed):
        raise
    except FileNotFoundError:
        raise ModelLoadError("The model's file is not in the model store of this gateway.") from None
    except msgspec.DecodeError as error:
        raise ModelLoadError(f"The version's description can't be read: {error}.") from None
    except Exception as error:  # noqa: BLE001  (a library's own kinds of failure must not end the loading of others)
        _log.exception("model_load_crashed", version_id=ref.version_id)
        raise ModelLoadError(f"Loading the model failed unexpectedly ({type(error).__name__}).") from None


def _row_seconds(predictor: Predictor) -> float:
    """The best of a few runs of the sample row, in this thread's CPU time: a busy machine makes no model slower."""
    table = formats.sample_table(predictor)
    best = float("inf")
    for _ in range(_TIMED_RUNS):
        started = time.thread_time()
        predictor.predict(table)
        best = min(best, time.thread_time() - started)
        if best > SLOW_ROW_S:
            break
    return best


def _expected_bytes(model: LoadedModel) -> int:
    path = Path(model.ref.path)
    return _MODEL_BYTES + _BYTES_PER_FILE_BYTE * (path.stat().st_size if path.exists() else 0)


def _revision(change: Change) -> int:
    return change.new.revision if change.new else 0
