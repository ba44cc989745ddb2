"""Sends requests in any format to one loaded model, without a server."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

import msgspec
import pytest

from contract.problems import Problem
from inference.formats import Reply, answered, choose, refusal, sample_csv
from inference.predictor import Predictor

JSON = "application/json"


def send(predictor: Predictor, path: str, body: Any, content_type: str = JSON, **headers: str) -> Reply:
    """The whole way of one request. `body`: bytes, or what becomes JSON."""
    sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    sent |= {b"content-type": content_type.encode()} if content_type else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request_format = choose(path, sent)
    decoded = request_format.decode(content, predictor)
    prediction = predictor.predict(decoded.table)
    reply = answered(request_format, prediction, decoded, predictor, "3")
    return completed(reply)


def completed(reply: Reply, *, hides_schema: bool = False) -> Reply:
    """As it goes out."""
    body = reply.body + reply.ending(hides_schema=hides_schema)
    return msgspec.structs.replace(reply, body=body, endings=None)


def answer(predictor: Predictor, path: str, body: Any, **headers: str) -> Any:
    """The reply's JSON."""
    return json.loads(send(predictor, path, body, **headers).body)


def refused(predictor: Predictor, path: str, body: Any, content_type: str = JSON, **headers: str) -> Problem:
    """The refusal; its shape on this path is JSON that says what it is."""
    with pytest.raises(Problem) as caught:
        send(predictor, path, body, content_type, **headers)
    assert 400 <= caught.value.kind.status < 500
    content, media = refusal(path, caught.value, "id", "https://docs")
    assert isinstance(json.loads(content), dict)
    assert media in {b"application/json", b"application/problem+json"}
    return caught.value


def manual_body(csv_text: str | bytes, **options: Any) -> dict[str, Any]:
    """A request in the manual's format; options left out are those of the shortest request."""
    content = csv_text.encode() if isinstance(csv_text, str) else csv_text
    given = {"ar": False, "ad": False, "nc": False} | options
    kinds = {bool: "boolean", str: "string"}
    inputs = [{"name": "pr", "type": "csv", "data": base64.b64encode(content).decode()}]
    inputs += [{"name": name, "type": kinds[type(value)], "data": value} for name, value in given.items()]
    return {"inputs": inputs}


def manual(predictor: Predictor, csv_text: str | bytes | None = None, **options: Any) -> dict[str, list[list[str]]]:
    """Output name -> its CSV's records. Without a CSV: of the sample row."""
    document = answer(predictor, "predict", manual_body(csv_text or sample_csv(predictor.spec), **options))
    assert document["version"] == "3"
    return {
        output["name"]: list(csv.reader(io.StringIO(base64.b64decode(output["data"]).decode())))
        for output in document["outputs"]
    }
