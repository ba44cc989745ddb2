"""Calls that a person can copy: real address, real sample row."""

from __future__ import annotations

import json
import shlex
from typing import Any

from gateway import snippets
from gateway.modelspec import ModelSpec
from gateway.problems import PROBLEM_TYPES


def sample_row(spec: ModelSpec) -> str:
    return json.dumps(snippets.ordered_sample(spec), ensure_ascii=False, indent=2)


def _key_header(key: str | None) -> str:
    """The header as a shell word: the key literally, or a variable that the shell fills in."""
    return f'"x-api-key: ${snippets.KEY_VARIABLE}"' if key is None else shlex.quote(f"x-api-key: {key}")


def curl_json(url: str, spec: ModelSpec, key: str | None = None) -> str:
    """A curl call for a POSIX shell; without a key it takes $API_KEY from the environment."""
    return snippets.curl(url, spec, _key_header(key))


def curl_csv(url: str) -> str:
    lines = [
        f"curl {shlex.quote(url)}",
        f"-H {_key_header(None)}",
        "-H 'content-type: text/csv'",
        "--data-binary @rows.csv",
    ]
    return " \\\n  ".join(lines)


def python_call(url: str, spec: ModelSpec) -> str:
    """A call with nothing but Python's standard library."""
    return snippets.python(url, spec)


def reply_json(spec: ModelSpec) -> str:
    """The shape of an answer for one row, with made-up numbers."""
    prediction: dict[str, Any]
    if spec.task == "regression":
        prediction = {"value": 152.1}
    else:
        prediction = {"class": spec.classes[0], "probabilities": dict(_shares(spec.classes))}
    document = {"model_version": "1", "predictions": [prediction]}
    return json.dumps(document, indent=2, ensure_ascii=False)


def reply_csv(spec: ModelSpec) -> str:
    """The same as CSV."""
    if spec.task == "regression":
        return "prediction\n152.1"
    shares = _shares(spec.classes)
    header = ",".join(["prediction", *(f"probability_{name}" for name, _share in shares)])
    return f"{header}\n{','.join([spec.classes[0], *(str(share) for _name, share in shares)])}"


def _shares(classes: tuple[str, ...]) -> list[tuple[str, float]]:
    """Probabilities that sum to 1, the first class ahead."""
    rest = round(0.06 / max(1, len(classes) - 1), 4)
    first = round(1 - rest * (len(classes) - 1), 4)
    return [(name, first if index == 0 else rest) for index, name in enumerate(classes)]


def problem_json() -> str:
    """The body of a refusal, one with a list of faults."""
    kind = PROBLEM_TYPES["invalid_rows"]
    fault = {"row": 1, "column": "bil_length_mm", "expected": "a known column", "received": "bil_length_mm"}
    document = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": kind.when,
        "request_id": "0191b2c4d5e6",
        "errors": [{**fault, "nearest": "bill_length_mm"}],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
