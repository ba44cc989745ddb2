"""Requests to one version that are there at the same moment, on the event loop: one call of its model for all of them.

What was read in one turn of the loop is there at the same moment; nobody waits for company. Each request keeps its own
checks, its own answer, and its own failure. docs/decisions/0140-requests-joined.md has what that gains.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from contract.problems import Problem
from gateway.models.loaded_model import LoadedModel
from gateway.models.placement import INLINE_WORK_S
from gateway.request.api_request import ApiRequest
from gateway.usage.ledger_file import IN_CALL
from inference.formats import Decoded, Reply
from inference.predictor import Predictor
from inference.table import Prediction, joined, parted

ALONE_S: Final = 1.0
"""How long after a call for several failed each request to that model has a call of its own."""

_log = structlog.get_logger("gateway.request.joint_calls")


@dataclass(frozen=True)
class Steps:
    """What is done with one request. `compute` and `encode` raise whatever `refuse` makes an answer of.

    `compute` gives None for what is too much for the event loop, which never joins others.
    """

    compute: Callable[[ApiRequest, Predictor, Decoded], Reply | None]
    encode: Callable[[ApiRequest, Predictor, Decoded, Prediction], Reply]
    refuse: Callable[[ApiRequest, Exception], Problem]


class JointCall:
    """Requests whose rows are computed by the same call; each has its `outcome` when that was made."""

    __slots__ = ("_done", "_model", "_open", "_predictor", "_requests", "_steps", "n_rows")

    def __init__(
        self, model: LoadedModel, predictor: Predictor, steps: Steps, open_calls: dict[LoadedModel, JointCall]
    ) -> None:
        """`open_calls`: those that more requests may join; this one is among them until it is made."""
        open_calls[model] = self
        self._open = open_calls
        self._model = model
        self._predictor = predictor
        self.n_rows = 0
        self._steps = steps
        self._requests: list[tuple[ApiRequest, Decoded]] = []
        self._done: asyncio.Event | None = None

    def add(self, request: ApiRequest, decoded: Decoded) -> None:
        self._requests.append((request, decoded))
        self.n_rows += decoded.table.n_rows
        request.make_outcome = self.make

    async def wait(self) -> None:
        """Until it was made: by a request that does not wait, else as soon as all that is ready now has joined."""
        if self._done is None:
            self._done = asyncio.Event()
            asyncio.get_running_loop().call_soon(self.make)
        await self._done.wait()

    def make(self) -> None:
        """Does nothing the second time. Requests that were released meanwhile are left out."""
        if self._open.get(self._model) is self:
            del self._open[self._model]
        present = [(request, decoded) for request, decoded in self._requests if request.cell is not None]
        self._requests.clear()
        try:
            for (request, decoded), prediction in zip(present, self._predictions(present), strict=True):
                request.outcome = self._outcome(request, decoded, prediction)
        finally:
            if self._done is not None:
                self._done.set()

    def _predictions(self, present: list[tuple[ApiRequest, Decoded]]) -> list[Prediction | None]:
        """One for each request; None where it is to be computed alone."""
        alone: list[Prediction | None] = [None] * len(present)
        if len(present) < 2:
            return alone
        tables = [decoded.table for _, decoded in present]
        cell = present[0][0].present_cell
        cell.counts[IN_CALL] = cell.index
        try:
            prediction = self._predictor.predict(joined(tables))
            return [*parted(prediction, [table.n_rows for table in tables])]
        except Exception as error:  # noqa: BLE001  (whatever it was: computed alone, each request tells its own)
            self._model.alone_until = time.monotonic() + ALONE_S
            _log.warning("joint_call_failed", api_id=self._model.api_id, requests=len(present), error=str(error))
            return alone
        finally:
            cell.counts[IN_CALL] = 0

    def _outcome(self, request: ApiRequest, decoded: Decoded, prediction: Prediction | None) -> Reply | Problem | None:
        try:
            if prediction is None:
                return self._steps.compute(request, self._predictor, decoded)
            return self._steps.encode(request, self._predictor, decoded, prediction)
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets a response, and the others theirs)
            return self._steps.refuse(request, error)


class JointCalls:
    """One worker's."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._open: dict[LoadedModel, JointCall] = {}

    def join(self, request: ApiRequest, decoded: Decoded, predictor: Predictor) -> JointCall | None:
        """The call that will answer it; None if it has to have its own."""
        model, n_rows = request.model, decoded.table.n_rows
        if decoded.row_predictions > 1 or n_rows >= model.rows_a_call or n_rows * model.row_s > INLINE_WORK_S:
            return None
        if time.monotonic() < model.alone_until:
            return None
        call = self._open.get(model)
        if call is None or call.n_rows + n_rows > model.rows_a_call:  # a full one is made all the same
            call = JointCall(model, predictor, self._steps, self._open)
        call.add(request, decoded)
        return call
