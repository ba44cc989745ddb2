"""What a prediction child answers: requests that must not be computed in a gateway worker.

Slow or unusual models have a child of their own, large bodies share a few.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference import formats
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import Reply
from inference.predictor import Predictor
from inference.sandbox.channel import Channel
from inference.sandbox.handler import Handler, handles
from inference.sandbox.prediction_messages import Load, Loaded, ModelRef, Predict, Replied

_MODELS_KEPT: Final = 4


class PredictionHandler(Handler):
    """With the models it has loaded so far, the latest few."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._models: OrderedDict[ModelRef, Predictor] = OrderedDict()

    @handles(Load)
    def load(self, request: Load) -> Loaded:
        self._predictor(request.model)
        return Loaded()

    @handles(Predict)
    def predict(self, request: Predict) -> Replied:
        predictor = self._predictor(request.model)
        request_format = formats.choose(request.path, request.headers, request.csv_default)
        body = request.body if request.body is not None else self._spooled_body()
        if encoding := request.headers.get(b"content-encoding"):
            body = formats.inflated(body, encoding, request.max_body_bytes)
        decoded = request_format.decode(body, predictor)
        if request.needs_approval:
            self.ask_for_approval(decoded.table.n_rows)
        prediction = predictor.predict(decoded.table)
        reply = formats.answered(request_format, prediction, decoded, predictor, request.number)
        return self._replied(reply, to_file=request.body is None)

    def _spooled_body(self) -> bytes:
        with mmap.mmap(self.channel.files[0], 0, access=mmap.ACCESS_READ) as body:
            return body[:]

    def _replied(self, reply: Reply, *, to_file: bool) -> Replied:
        if not to_file:
            return _told(reply, reply.body)
        left = memoryview(reply.body)
        try:
            while left:
                left = left[os.write(self.channel.files[1], left) :]
        except OSError as error:
            raise _unwritten(error) from None
        return _told(reply, None)

    def _predictor(self, model: ModelRef) -> Predictor:
        """Loaded, and warmed up with its sample row."""
        found = self._models.get(model)
        if found is None:
            while len(self._models) >= _MODELS_KEPT:
                self._models.popitem(last=False)
            found = self._models[model] = _loaded(model)
        self._models.move_to_end(model)
        return found


def _loaded(model: ModelRef) -> Predictor:
    try:
        spec = msgspec.json.decode(model.spec_json, type=ModelSpec)
    except msgspec.DecodeError as error:
        raise ModelLoadError(f"The version's description can't be read: {error}.") from None
    predictor = Predictor(Path(model.path), spec, model.format)
    formats.warm_up(predictor)
    return predictor


def _told(reply: Reply, body: bytes | None) -> Replied:
    return Replied(reply.content_type, reply.headers, body, len(reply.body), reply.warned, reply.endings)


def _unwritten(error: OSError) -> Exception:
    """Why an answer could not be written: no fault of the model's."""
    if error.errno == errno.EFBIG:
        return ModelFailed("The answer is longer than this gateway sends. Send fewer rows at once.")
    return Problem("not_ready", "This gateway has no room on its disk for the answer.")
