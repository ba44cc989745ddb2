"""What a fuzzer calls: any bytes as a request body in any format, as far as its answer or its refusal."""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from functools import cache
from pathlib import Path

from contract.problems import Problem
from inference.formats import choose, inflated, refusal, sample_body, sample_csv, warm_up
from inference.predictor import ModelFailed, Predictor
from testkit.graphs import spec_of
from tests.model_files import penguins, summing

REFUSALS = {"malformed_body", "invalid_rows", "payload_too_large", "unsupported_media_type"}
LIMIT_BYTES = 1_000_000

_JSON, _CSV = b"application/json", b"text/csv"
FORMATS: tuple[tuple[str, dict[bytes, bytes]], ...] = (
    ("predict", {b"content-type": _JSON}),
    ("predict", {b"content-type": _CSV}),
    ("predict", {b"content-type": _CSV + b"; charset=utf-16"}),
    ("predict", {b"content-type": _CSV + b"; charset=shift_jis"}),
    ("predict", {b"content-type": _JSON, b"content-encoding": b"gzip"}),
    ("predict", {b"content-type": _CSV, b"content-encoding": b"deflate"}),
    ("v2/models/m/infer", {b"content-type": _JSON}),
    ("v2/models/m/infer", {b"content-type": _JSON, b"inference-header-content-length": b"100"}),
    ("v1/models/m:predict", {b"content-type": _JSON}),
    ("v1/models/m:explain", {b"content-type": _JSON}),
    ("invocations", {b"content-type": _JSON}),
    ("invocations", {b"content-type": _CSV}),
)

_DATATYPES = {str: "BYTES", bool: "BOOL", int: "INT64", float: "FP64"}


@cache
def predictors() -> tuple[Predictor, ...]:
    """One of numbers, truth values and gaps, and one with categories."""
    columns = {"age": "int", "height": "float", "is_member": "bool", "weight": "float?"}
    kinds = {"age": "int64", "height": "float", "is_member": "bool", "weight": "float"}
    numbers = spec_of(columns, {"age": 3, "height": 1.5, "is_member": True, "weight": 70.0}), summing(kinds)
    folder = Path(tempfile.mkdtemp(prefix="fuzzing-"))
    loaded = []
    for name, (spec, content) in (("numbers", numbers), ("categories", penguins())):
        (folder / name).write_bytes(content)
        loaded.append(Predictor(folder / name, spec))
        warm_up(loaded[-1])
    return tuple(loaded)


def read_body(data: bytes) -> str:
    """The first byte names the format and the model, the rest is the body. Returns what it came to.

    Fails for whatever is neither an answer nor a refusal in the format's own words.
    """
    if not data:
        return "nothing"
    kind, which = divmod(data[0], len(predictors()))
    path, headers = FORMATS[kind % len(FORMATS)]
    predictor = predictors()[which]
    try:
        request_format = choose(path, headers)
        body = data[1:]
        if encoding := headers.get(b"content-encoding"):
            body = inflated(body, encoding, LIMIT_BYTES)
        decoded = request_format.decode(body, predictor)
        assert decoded.table.n_rows >= 1
        reply = request_format.encode(predictor.predict(decoded.table), decoded, predictor, "1")
        assert reply.body
    except ModelFailed:  # numbers that are too large for this model
        return "model_failed"
    except Problem as problem:
        return _checked(problem, path)
    return "answered"


def _checked(problem: Problem, path: str) -> str:
    assert problem.kind.code in REFUSALS, problem
    assert problem.detail
    assert len(problem.errors) <= 100
    content, _ = refusal(path, problem, "id", "https://docs")
    assert isinstance(json.loads(content), dict)
    return str(problem.kind.code)


def seeds() -> list[bytes]:
    """An honest body of each format and model: where a fuzzer begins."""
    made = []
    for which, predictor in enumerate(predictors()):
        rows, csv = sample_body(predictor.spec), sample_csv(predictor.spec)
        row = json.loads(rows)["rows"][0]
        tensors = [
            {"name": name, "datatype": _DATATYPES[type(value)], "shape": [1], "data": [value]}
            for name, value in row.items()
        ]
        document = json.dumps({"inputs": tensors}).encode()
        instances = json.dumps({"instances": [row]}).encode()
        split = json.dumps({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}).encode()
        utf16 = csv.decode().encode("utf-16")
        bodies = (rows, csv, utf16, csv, gzip.compress(rows), zlib.compress(csv))
        bodies += (document, document, instances, instances, split, csv)
        made += [bytes([kind * len(predictors()) + which]) + body for kind, body in enumerate(bodies)]
    return made
