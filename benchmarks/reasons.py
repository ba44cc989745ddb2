"""What prediction reasons cost beside the same request without them: `python -m benchmarks.reasons`.

For each demo model, a request's own work: reading, predicting, explaining, writing; without HTTP. CPU time, the two
taken in turns, so that a busy machine slows both; the least of many rounds.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

import msgspec

from contract.model_spec import ModelSpec, spec_from_json
from contract.settings import PROJECT_DIR
from inference import formats
from inference.predictor import Predictor
from inference.reasons import Explainer

_MODELS = ("breast_cancer", "penguins", "diabetes")
_ROUNDS, _CALLS = 60, 100
_HEADERS = {b"content-type": b"application/json"}

Work = Callable[[], object]


def main() -> None:
    print("| model | columns | format | plain | with reasons | ratio |")
    print("|---|---|---|---|---|---|")
    gc.disable()
    for stem in _MODELS:
        predictor = _load(stem)
        for title, plain, explained in _pairs(predictor):
            plain_us, explained_us = _measure(plain, explained)
            cells = [stem, str(len(predictor.spec.columns)), title, f"{plain_us:.0f} µs", f"{explained_us:.0f} µs"]
            print(f"| {' | '.join(cells)} | {explained_us / plain_us:.1f} |")
            sys.stdout.flush()


def _load(stem: str) -> Predictor:
    path = PROJECT_DIR / "demo" / "models" / f"{stem}.onnx"
    document = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    layout = "matrix" if len({column["type"] for column in document["columns"]}) == 1 else "columns"
    predictor = Predictor(path, spec_from_json({"input": layout} | document))
    formats.warm_up(predictor)
    return predictor


def _pairs(predictor: Predictor) -> list[tuple[str, Work, Work]]:
    """Of each format that can explain: its name, a request without reasons, the same with them."""
    spec = predictor.spec
    engine = formats.sample_table(predictor)
    prediction = predictor.predict(engine)
    explainer = predictor.prepared(Explainer)
    v1 = _sample("kserve-v1", spec)
    return [
        (
            "the engine alone",
            lambda: predictor.predict(engine),
            lambda: explainer.explain(engine, prediction, predictor.predict),
        ),
        ("KServe v1", _request(predictor, "v1/models/m:predict", v1), _request(predictor, "v1/models/m:explain", v1)),
        ("named inputs", _named(predictor, spec, has_reasons=False), _named(predictor, spec, has_reasons=True)),
    ]


def _sample(anchor: str, spec: ModelSpec) -> bytes:
    return next(one for one in formats.FORMATS if one.anchor == anchor).sample(spec)


def _named(predictor: Predictor, spec: ModelSpec, *, has_reasons: bool) -> Work:
    document = msgspec.json.decode(_sample("named-inputs", spec))
    for one in document["inputs"]:
        if one["name"] == "ar":
            one["data"] = has_reasons
    return _request(predictor, "predict", msgspec.json.encode(document))


def _request(predictor: Predictor, path: str, body: bytes) -> Work:
    def work() -> object:
        request_format = formats.choose(path, _HEADERS)
        decoded = request_format.decode(body, predictor)
        return request_format.encode(predictor.predict(decoded.table), decoded, predictor, "1")

    return work


def _measure(*works: Work) -> list[float]:
    """Microseconds of CPU time of one call of each."""
    least = [float("inf")] * len(works)
    for _ in range(_ROUNDS):
        for index, work in enumerate(works):
            began = time.process_time_ns()
            for _ in range(_CALLS):
                work()
            least[index] = min(least[index], (time.process_time_ns() - began) / _CALLS / 1000)
    return least


if __name__ == "__main__":
    main()
