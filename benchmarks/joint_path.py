"""Where the time of a joint call goes: `python -m benchmarks.joint_path`.

Microseconds of CPU a request with one row, the least of many rounds, in this process: what a worker does, and what a
model's own process does with the message of a worker.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.bench_models import BenchModel
from benchmarks.heavy import MODELS
from inference import formats
from inference.predictor import Predictor
from inference.sandbox.prediction_messages import ModelRef, Predict, PredictEach, Replied, RepliedEach
from inference.sandbox.protocol import encode, response_decoder
from inference.table import joined, parted

_ROWS: Final = (1, 16, 32)
_ROUND_S: Final = 0.5
_HEADERS: Final = {b"content-type": b"application/json"}

STAGES: Final = (
    "reading the row",
    "joining the tables",
    "the model",
    "parting its answer",
    "writing the answer",
    "to a process and back: packing and unpacking",
)


def main() -> None:
    print(f"| µs a request | {' | '.join(f'{name}, {rows}' for name in MODELS for rows in _ROWS)} |")
    print(f"|---|{'---|' * len(MODELS) * len(_ROWS)}")
    with tempfile.TemporaryDirectory() as folder:
        columns = [
            _stages(make(), Path(folder) / str(index), rows)
            for index, make in enumerate(MODELS.values())
            for rows in _ROWS
        ]
    for stage, name in enumerate(STAGES):
        print(f"| {name} | {' | '.join(f'{column[stage]:.1f}' for column in columns)} |")


def _stages(model: BenchModel, path: Path, rows: int) -> list[float]:
    path.write_bytes(model.content)
    predictor = Predictor(path, model.spec)
    formats.warm_up(predictor)
    body = msgspec.json.encode({"rows": [model.spec.sample]})
    form = formats.choose("predict", _HEADERS)
    tables = [form.decode(body, predictor).table for _ in range(rows)]
    decoded, table = form.decode(body, predictor), joined(tables)
    prediction = predictor.predict(table)
    part = parted(prediction, [1] * rows)[0]
    reply = form.encode(part, decoded, predictor, "1")
    ref = ModelRef(1, str(path), "onnx", msgspec.json.encode(model.spec))
    asked = Predict(ref, "predict", _HEADERS, "1", body, needs_approval=False, max_body_bytes=1)
    replied = Replied(reply.content_type, reply.headers, reply.body, len(reply.body))
    message, answer = PredictEach((asked,) * rows, rows), RepliedEach((replied,) * rows)
    requests, responses = msgspec.msgpack.Decoder(PredictEach), response_decoder(PredictEach)

    def there_and_back() -> None:
        requests.decode(encode(message))
        responses.decode(encode(answer))

    return [
        _least(lambda: form.decode(body, predictor)),
        _least(lambda: joined(tables)) / rows,
        _least(lambda: predictor.predict(table)) / rows,
        _least(lambda: parted(prediction, [1] * rows)) / rows,
        _least(lambda: form.encode(part, decoded, predictor, "1")),
        _least(there_and_back) / rows,
    ]


def _least(work: Callable[[], Any]) -> float:
    """Microseconds a call."""
    least, ends = float("inf"), time.monotonic() + _ROUND_S
    while time.monotonic() < ends:
        began = time.process_time_ns()
        work()
        least = min(least, time.process_time_ns() - began)
    return least / 1000


if __name__ == "__main__":
    main()
