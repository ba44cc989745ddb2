"""A version of a model as its routes and requests see it: on its way into memory, there, or no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.model_spec import ModelSpec
from gateway.models.isolated_model import IsolatedModel
from gateway.models.placement import Placement
from inference.predictor import Predictor
from inference.sandbox.prediction_messages import ModelRef


@dataclass(frozen=True)
class Version:
    """One artefact to serve. Equal versions need no second load; a changed description is another version."""

    version_id: int
    number: int
    sha256: str
    format: str
    spec_json: bytes
    meaning_json: bytes = field(default=b"null", compare=False)
    """Where it was stored later than the version, it says what the version was loaded with: no reason to load again."""

    @property
    def described_json(self) -> bytes:
        """The description with its meaning."""
        if self.meaning_json == b"null":
            return self.spec_json
        return b'%b,"meaning":%b}' % (self.spec_json.rstrip()[:-1], self.meaning_json)


@dataclass(frozen=True, slots=True)
class Demand:
    """Which versions one API needs in memory by its present rule, and which it has: `models`, by their ids.

    `served`: the wanted version that answers requests already; None while the API does not operate.
    """

    api_id: str
    revision: int
    models: dict[int, LoadedModel]
    wanted: tuple[Version, ...] = ()
    served: Version | None = None
    workspace_id: int | None = None


class LoadedModel:
    """One of two ways: with a `predictor` it may run on the event loop, one row in `row_s`; else it `is_isolated`, and
    all its work is done in `process`. Neither: it is not here yet, or no longer, and `wait_until_loaded` brings it.

    `rows_a_call`: how many rows of several requests one call on the event loop should have; 1: each has its own.

    `error` says why loading failed.
    """

    __slots__ = (
        "_is_settled",
        "_request_load",
        "alone_until",
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
        "rows_a_call",
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
        request_load: Callable[[LoadedModel], None],
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
        self.rows_a_call = 1
        self.alone_until = 0.0
        self.size_bytes = 0
        self.is_wanted = True
        self.is_awaited = False
        self.is_used = False
        self.last_used = 0.0
        self._request_load = request_load
        self._is_settled = asyncio.Event()

    @property
    def key(self) -> tuple[str, int]:
        """(API, version)."""
        return self.api_id, self.version.version_id

    @property
    def is_ready(self) -> bool:
        return self.predictor is not None or self.is_isolated

    async def wait_until_loaded(self, timeout_s: float) -> bool:
        """Until it is loaded or has failed; false when that takes too long. The awaited ones are loaded first."""
        self.is_awaited = True
        self._request_load(self)
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_settled.wait()
        except TimeoutError:
            return False
        return True

    def set_loaded(self, placement: Placement) -> None:
        self.predictor, self.row_s = placement.predictor, placement.cost.alone_s
        self.rows_a_call = placement.cost.rows_a_call
        self.is_isolated = placement.predictor is None
        self.spec, self.size_bytes, self.error = placement.spec, placement.size_bytes, None
        self.is_used = True
        self._is_settled.set()

    def set_failed(self, error: str) -> None:
        self.error = error
        self._is_settled.set()

    def unload(self) -> None:
        """Out of memory, until it is asked for again. Requests in progress keep what they have."""
        self.predictor, self.is_isolated, self.is_awaited, self.size_bytes = None, False, False, 0
        self._is_settled.clear()
        if not self.process.is_busy:
            self.process.close()
