"""What a prediction child answers: requests that must not be computed in a gateway worker.

Slow or unusual models have a child of their own, large bodies share a few.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference import formats, row_cost
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import Decoded, Reply, RequestFormat
from inference.predictor import Predictor
from inference.sandbox.channel import Channel
from inference.sandbox.handler import Handler, failure, handles
from inference.sandbox.prediction_messages import (
    Load,
    Loaded,
    ModelRef,
    Predict,
    PredictEach,
    Replied,
    RepliedEach,
)
from inference.sandbox.protocol import Failed, Refused
from inference.table import Prediction, joined, parted

_MODELS_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class _Read:
    """A request whose rows are known."""

    request: Predict
    predictor: Predictor
    request_format: RequestFormat
    decoded: Decoded

    def answered(self, prediction: Prediction) -> Reply:
        return formats.answered(self.request_format, prediction, self.decoded, self.predictor, self.request.number)


class PredictionHandler(Handler):
    """With the models it has loaded so far, the latest few."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._models: OrderedDict[ModelRef, Predictor] = OrderedDict()

    @handles(Load)
    def load(self, request: Load) -> Loaded:
        predictor = self._predictor(request.model)
        sample = formats.sample_table(predictor)
        return Loaded(row_cost.of_joined_rows(predictor, sample, row_cost.of_a_row(predictor, sample)))

    @handles(Predict)
    def predict(self, request: Predict) -> Replied:
        one = self._read(request)
        if request.needs_approval:
            self.ask_for_approval(one.decoded.table.n_rows)
        return self._replied(one.answered(one.predictor.predict(one.decoded.table)), to_file=request.body is None)

    @handles(PredictEach)
    def predict_each(self, request: PredictEach) -> RepliedEach:
        """Raises `ModelFailed` if the call for all of them fails; then each is to be asked for alone."""
        found: list[_Read | Refused | Failed] = []
        n_rows = 0
        for each in request.requests:
            try:
                one = self._read(each)
            except Exception as error:  # noqa: BLE001  (what is nobody's fault but ours is raised again)
                found.append(failure(error))
                continue
            n_rows += one.decoded.table.n_rows
            if one.decoded.row_predictions > 1 or n_rows > request.most_rows:
                break
            found.append(one)
        predictions = iter(_predicted([one for one in found if isinstance(one, _Read)]))
        return RepliedEach(
            tuple(self._each(one, next(predictions)) if isinstance(one, _Read) else one for one in found)
        )

    def _each(self, one: _Read, prediction: Prediction | None) -> Replied | Refused | Failed:
        try:
            if prediction is None:
                prediction = one.predictor.predict(one.decoded.table)
            return self._replied(one.answered(prediction), to_file=False)
        except Exception as error:  # noqa: BLE001  (as above)
            return failure(error)

    def _read(self, request: Predict) -> _Read:
        predictor = self._predictor(request.model)
        request_format = formats.choose(request.path, request.headers, request.csv_default)
        body = request.body if request.body is not None else self._spooled_body()
        if encoding := request.headers.get(b"content-encoding"):
            body = formats.inflated(body, encoding, request.max_body_bytes)
        return _Read(request, predictor, request_format, request_format.decode(body, predictor))

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


def _predicted(requests: Sequence[_Read]) -> Sequence[Prediction | None]:
    """What each is answered, by one call; all are for one version. None for one that is alone: it has its own call."""
    if len(requests) < 2:
        return [None] * len(requests)
    tables = [one.decoded.table for one in requests]
    return parted(requests[0].predictor.predict(joined(tables)), [table.n_rows for table in tables])


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
