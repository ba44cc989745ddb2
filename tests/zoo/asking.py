"""Asks for rows in every request format, whoever answers, and brings the answers into one form."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contract.model_spec import ModelSpec
from tests.inference.client import manual_body
from tests.zoo.catalogue import Row, table_csv

Send = Callable[[str, bytes, str], tuple[bytes, dict[str, str]]]
"""(path below the API's address, body, content type) -> body and headers of the answer, which is a 200.

`{model}` in the path stands for the name that the API's model has there.
"""


@dataclass
class Answers:
    """One line a row. `numbers`: by class or target; "" is a score alone. `digits`: how many decimals came, if cut."""

    labels: list[str] | None = None
    kind: str = "label"
    numbers: dict[str, list[float]] = field(default_factory=dict)
    digits: int | None = None


def by_json(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    predictions = _json(send, "predict", {"rows": rows})["predictions"]
    first = predictions[0]
    answers = Answers([one["class"] for one in predictions] if "class" in first else None)
    for kind in ("probabilities", "scores", "values"):
        if kind in first:
            answers.kind = kind
            answers.numbers = {name: [one[kind][name] for one in predictions] for name in first[kind]}
    for one, kind, name in (("score", "scores", ""), ("value", "values", _target(spec))):
        if one in first:
            answers.kind, answers.numbers = kind, {name: [line[one] for line in predictions]}
    return answers


def by_csv(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    body, _ = send("predict", table_csv(list(rows)), "text/csv")
    header, *records = csv.reader(io.StringIO(body.decode(), newline=""))
    table = {name: [record[index] for record in records] for index, name in enumerate(header)}
    if not spec.classes:
        named = {_target(spec) if name == "prediction" else name: cells for name, cells in table.items()}
        return Answers(None, "values", {name: list(map(float, cells)) for name, cells in named.items()})
    return _from_table(table, "prediction", {"probability_": "probabilities", "score_": "scores"})


def by_manual(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    document = _json(send, "predict", manual_body(table_csv(list(rows))))
    content = base64.b64decode(document["outputs"][0]["data"]).decode()
    header, *records = csv.reader(io.StringIO(content, newline=""))
    table = {name: [record[index] for record in records] for index, name in enumerate(header)}
    assert table.pop("Row number") == [str(number) for number in range(1, len(rows) + 1)]
    if not spec.classes:
        named = {_target(spec) if name == "Prediction value" else name: cells for name, cells in table.items()}
        return Answers(None, "values", {name: list(map(float, cells)) for name, cells in named.items()}, digits=6)
    answers = _from_table(table, spec.target, {"score_": "scores", "": "probabilities"})
    answers.digits = 6
    return answers


def by_open_inference(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    document = _json(send, "v2/models/{model}/infer", {"inputs": _tensors(spec, rows)})
    return _from_tensors(
        spec, {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in document["outputs"]}
    )


def by_binary_tensors(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    request = {"inputs": _tensors(spec, rows), "parameters": {"binary_data_output": True}}
    body, headers = send("v2/models/{model}/infer", json.dumps(request).encode(), "application/json")
    length = int(headers["inference-header-content-length"])
    data, found = body[length:], {}
    for output in json.loads(body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        part, data = data[:size], data[size:]
        kinds = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "UINT64": "<u8", "BOOL": "?"}
        cells: Any = _texts(part) if output["datatype"] == "BYTES" else np.frombuffer(part, kinds[output["datatype"]])
        found[output["name"]] = np.array(cells).reshape(output["shape"])
    return _from_tensors(spec, found)


def by_kserve(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    return _plain(spec, _json(send, "v1/models/{model}:predict", {"instances": rows})["predictions"])


def by_mlflow(send: Send, spec: ModelSpec, rows: Sequence[Row]) -> Answers:
    names = [column.name for column in spec.columns]
    split = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
    return _plain(spec, _json(send, "invocations", {"dataframe_split": split})["predictions"])


FORMATS = (by_json, by_csv, by_manual, by_open_inference, by_binary_tensors, by_kserve, by_mlflow)


def _json(send: Send, path: str, document: Any) -> Any:
    return json.loads(send(path, json.dumps(document).encode(), "application/json")[0])


def _target(spec: ModelSpec) -> str:
    assert spec.meaning is not None
    return spec.meaning.targets[0] if spec.meaning.targets else ""


def _from_table(table: dict[str, list[str]], label: str, prefixes: dict[str, str]) -> Answers:
    answers = Answers(table.pop(label))
    for name, cells in table.items():
        numbers = list(map(float, cells))
        if name == "score":
            answers.kind, answers.numbers = "scores", {"": numbers}
            continue
        prefix = next(one for one in prefixes if name.startswith(one))
        answers.kind = prefixes[prefix]
        answers.numbers[name.removeprefix(prefix)] = numbers
    return answers


def _tensors(spec: ModelSpec, rows: Sequence[Row]) -> list[dict[str, Any]]:
    names = [column.name for column in spec.columns]
    if spec.input == "matrix":
        cells = [row[name] for row in rows for name in names]
        return [{"name": "rows", "datatype": "FP32", "shape": [len(rows), len(names)], "data": cells}]
    kinds = {"float": "FP32", "int": "INT64", "string": "BYTES", "bool": "BOOL"}
    return [
        {"name": c.name, "datatype": kinds[c.type], "shape": [len(rows), 1], "data": [row[c.name] for row in rows]}
        for c in spec.columns
    ]


def _from_tensors(spec: ModelSpec, found: dict[str, Any]) -> Answers:
    if not spec.classes:
        named = {_target(spec) if name == "value" else name: tensor for name, tensor in found.items()}
        return Answers(None, "values", {name: tensor.reshape(-1).tolist() for name, tensor in named.items()})
    answers = Answers([str(one) for one in found.pop("label").reshape(-1).tolist()])
    for name, tensor in found.items():
        answers.kind = "scores" if name == "score" else name
        wide = {"": tensor.reshape(-1)} if name == "score" else dict(zip(spec.classes, tensor.T, strict=True))
        answers.numbers = {key: numbers.tolist() for key, numbers in wide.items()}
    return answers


def _texts(data: bytes) -> list[str]:
    found, place = [], 0
    while place < len(data):
        stop = place + 4 + int.from_bytes(data[place : place + 4], "little")
        found.append(data[place + 4 : stop].decode())
        place = stop
    return found


def _plain(spec: ModelSpec, predictions: list[Any]) -> Answers:
    if spec.classes:
        return Answers([str(one) for one in predictions], "class")
    if isinstance(predictions[0], dict):
        return Answers(None, "values", {name: [one[name] for one in predictions] for name in predictions[0]})
    return Answers(None, "values", {_target(spec): predictions})
