"""What computes a prediction request once its checks have passed: here on the event loop, or in another process.

`start` goes as far as nothing has to be waited for; `finish` goes on.
"""

from __future__ import annotations

from functools import partial

from gateway.http.application import Receive
from gateway.models.batch import Limits
from gateway.models.placement import INLINE_WORK_S
from gateway.models.runner import Runner
from gateway.models.spool import Spool
from gateway.request.api_request import ApiRequest
from gateway.request.bodies import INLINE_BODY_BYTES, BodyReader
from gateway.request.checks import Checks
from gateway.usage.ledger_file import IN_CALL
from inference import formats
from inference.engines import ModelFailed
from inference.formats import Decoded, Reply
from inference.predictor import Predictor


class Predictions:
    """One worker's. Both raise `Problem` and `ModelFailed`."""

    def __init__(self, checks: Checks, runner: Runner, limits: Limits) -> None:
        self._checks = checks
        self._runner = runner
        self._bodies = BodyReader(checks, runner.batch)
        self._inline_body_bytes = min(INLINE_BODY_BYTES, limits.max_body_bytes)

    def start(self, request: ApiRequest) -> Reply | None:
        """None if it has to wait: for its model, its body, its quota or another process."""
        request.request_format = self._checks.check_head(request)
        model, body = request.model, request.http.body
        predictor = model.predictor
        if predictor is None or body is None or len(body) > self._inline_body_bytes or request.route.is_trial:
            return None
        if b"content-encoding" in request.headers:
            return None
        model.is_used = True
        return self._computed(request, predictor, self._checks.decode(request, body, predictor))

    async def finish(self, request: ApiRequest, receive: Receive) -> Reply:
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
        return self._computed(request, predictor, decoded) or await self._elsewhere(request, body)

    def note_failure(self, request: ApiRequest, failure: ModelFailed) -> None:
        """Tell the console where the model gave an answer that its description rules out."""
        self._runner.note_failure(request.model, failure)

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
