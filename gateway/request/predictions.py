"""What computes a prediction request once its checks have passed: here on the event loop, or in another process.

`start` goes as far as nothing has to be waited for; `finish` goes on. Where it pays, requests that are here at the same
moment are computed together: `gateway.request.joint_calls`.
"""

from __future__ import annotations

from functools import partial

from contract.problems import Problem
from gateway.http.application import Receive
from gateway.models.batch import Limits
from gateway.models.placement import INLINE_WORK_S
from gateway.models.runner import Runner
from gateway.models.spool import Spool
from gateway.request.api_request import ApiRequest
from gateway.request.bodies import INLINE_BODY_BYTES, BodyReader
from gateway.request.checks import Checks, refusal_of
from gateway.request.joint_calls import JointCalls, Steps
from gateway.usage.ledger_file import IN_CALL
from inference import formats
from inference.engines import ModelFailed
from inference.formats import Decoded, Reply
from inference.predictor import Predictor
from inference.table import Prediction


class Predictions:
    """One worker's. Both raise `Problem` and `ModelFailed`."""

    def __init__(self, checks: Checks, runner: Runner, limits: Limits) -> None:
        self._checks = checks
        self._runner = runner
        self._bodies = BodyReader(checks, runner.batch)
        self._inline_body_bytes = min(INLINE_BODY_BYTES, limits.max_body_bytes)
        self._joint_calls = JointCalls(Steps(self._computed, self._encoded, self.refusal))

    def start(self, request: ApiRequest) -> Reply | None:
        """None if it has to wait: for its model, its body, its quota, another process, or for the other requests of
        this turn, when it `make_outcome`s.
        """
        request.request_format = self._checks.check_head(request)
        model, body = request.model, request.http.body
        predictor = model.predictor
        if predictor is None or body is None or len(body) > self._inline_body_bytes or request.route.is_trial:
            return None
        if b"content-encoding" in request.headers:
            return None
        model.is_used = True
        decoded = self._checks.decode(request, body, predictor)
        if model.rows_a_call > 1 and self._joint_calls.join(request, decoded, predictor) is not None:
            return None
        return self._computed(request, predictor, decoded)

    async def finish(self, request: ApiRequest, receive: Receive) -> Reply | Problem:
        """Raises `ClientGone` too."""
        model = request.model
        if model.predictor is None and not model.is_isolated:
            await self._checks.wait_for_model(model)
        model.is_used = True
        body = await self._body(request, receive)
        predictor = model.predictor
        if predictor is None or not isinstance(body, bytes) or request.is_too_much_here:
            return await self._elsewhere(request, body)
        decoded = self._checks.decode(request, body, predictor)
        if request.route.is_trial:
            await self._checks.reserve(request, decoded.table.n_rows)
        elif model.rows_a_call > 1 and (call := self._joint_calls.join(request, decoded, predictor)) is not None:
            await call.wait()
            return request.joint_outcome()
        return self._computed(request, predictor, decoded) or await self._elsewhere(request, body)

    def refusal(self, request: ApiRequest, error: Exception) -> Problem:
        """What is answered. The console is told where the model gave an answer that its description rules out."""
        if isinstance(error, ModelFailed):
            self._runner.note_failure(request.model, error)
        return refusal_of(error)

    async def _body(self, request: ApiRequest, receive: Receive) -> bytes | Spool:
        body: bytes | Spool | None = request.http.body  # of a client that has left since, too
        if not isinstance(body, bytes) or len(body) > self._inline_body_bytes:
            body = await self._bodies.read(request, receive)
        if b"content-encoding" in request.headers and isinstance(body, bytes):
            body = await self._bodies.inflated(request, body, receive)
        return body

    def _computed(self, request: ApiRequest, predictor: Predictor, decoded: Decoded) -> Reply | None:
        """None if it takes too long here, where all other requests wait for it."""
        if decoded.table.n_rows * decoded.row_predictions * request.model.row_s > INLINE_WORK_S:
            request.is_too_much_here = True
            return None
        cell = request.present_cell
        cell.counts[IN_CALL] = cell.index  # who recovers the ledger of a crashed worker sees whose model it was
        try:
            prediction = predictor.predict(decoded.table)
            return formats.answered(request.request_format, prediction, decoded, predictor, request.route.number)
        finally:
            cell.counts[IN_CALL] = 0

    def _encoded(self, request: ApiRequest, predictor: Predictor, decoded: Decoded, prediction: Prediction) -> Reply:
        """What was predicted for it beside others."""
        return formats.answered(request.request_format, prediction, decoded, predictor, request.route.number)

    async def _elsewhere(self, request: ApiRequest, body: bytes | Spool) -> Reply:
        """In another process. A trial's quota is reserved between its decoding and its predicting."""
        needs_reservation = request.route.is_trial and request.reservation is None
        return await self._runner.predict(
            request.model,
            body,
            path=request.below,
            headers=request.headers,
            csv_default=request.route.csv_default,
            approve=partial(self._checks.reserve, request) if needs_reservation else None,
        )
