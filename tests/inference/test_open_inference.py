"""Open Inference Protocol v2 and its binary extension."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from inference.formats import ApiInfo, choose, find, table_from_rows, warm_up
from inference.predictor import Predictor
from tests import model_files as made
from tests.conftest import Load
from tests.inference.client import answer, refused, send
from tests.model_files import spec_of

PATH = "v2/models/m/infer"
KINDS = {"age": "int64", "height": "float", "is_member": "bool", "weight": "float"}
COLUMNS = {"age": "int", "height": "float", "is_member": "bool", "weight": "float?"}
SAMPLE: dict[str, Any] = {"age": 3, "height": 1.5, "is_member": True, "weight": 70.0}


@pytest.fixture
def mixed(load: Load) -> Predictor:
    return load((spec_of(COLUMNS, SAMPLE), made.summing(KINDS)))  # type: ignore[arg-type]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data} | more


def mixed_inputs(**changes: Any) -> dict[str, Any]:
    tensors = {
        "age": tensor("age", "INT64", [3, 4]),
        "height": tensor("height", "FP32", [1.5, 2.5], [2, 1]),
        "is_member": tensor("is_member", "BOOL", [True, False]),
        "weight": tensor("weight", "FP64", [70.0, None]),
    } | changes
    return {"inputs": [one for one in tensors.values() if one is not None]}


def binary(inputs: list[tuple[dict[str, Any], bytes]], **document: Any) -> tuple[bytes, str]:
    """A body with raw tensors behind its JSON, and the JSON's length."""
    heads = [head | {"parameters": {"binary_data_size": len(raw)}} for head, raw in inputs]
    text = json.dumps({"inputs": heads} | document).encode()
    return text + b"".join(raw for _, raw in inputs), str(len(text))


def texts(*values: str | bytes) -> bytes:
    encoded = [value if isinstance(value, bytes) else value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def test_a_tensor_per_column(load: Load) -> None:
    predictor = load(made.penguins())
    sample = predictor.spec.sample
    kinds = {str: "BYTES", float: "FP64", int: "INT64"}
    inputs = [tensor(name, kinds[type(value)], [value], [1, 1]) for name, value in sample.items()]

    document = answer(predictor, PATH, {"id": "a7", "inputs": inputs})

    prediction = predictor.predict(table_from_rows(predictor, [sample]))
    assert (document["model_name"], document["model_version"], document["id"]) == ("m", "3", "a7")
    label, probabilities = document["outputs"]
    assert label == {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["Chinstrap"]}
    assert (probabilities["name"], probabilities["datatype"], probabilities["shape"]) == (
        "probabilities",
        "FP32",
        [1, 3],
    )
    assert probabilities["data"] == pytest.approx(prediction.probabilities[0].tolist())


def test_a_matrix_of_all_columns(load: Load) -> None:
    predictor = load(made.diabetes())
    row = list(predictor.spec.sample.values())

    document = answer(predictor, PATH, {"inputs": [tensor("X", "FP32", [row, row], [2, 10])]})

    assert "id" not in document
    (value,) = document["outputs"]
    assert (value["name"], value["shape"]) == ("value", [2])
    single = answer(predictor, PATH, {"inputs": [tensor("X", "FP64", row, [1, 10])]})
    assert single["outputs"][0]["data"][0] == value["data"][0]


def test_labels_that_are_whole_numbers_are_numbers(load: Load) -> None:
    predictor = load(made.wine(zipmap=False))
    row = list(predictor.spec.sample.values())

    document = answer(predictor, PATH, {"inputs": [tensor("X", "FP64", row, [1, 13])]})

    assert document["outputs"][0] == {"name": "label", "datatype": "INT64", "shape": [1], "data": [2]}


def test_kinds_and_missing_values(mixed: Predictor) -> None:
    with_missing = mixed_inputs(weight=tensor("weight", "FP32", [70, 0]))

    assert answer(mixed, PATH, with_missing)["outputs"][0]["data"] == [75.5, 6.5]
    problem = refused(mixed, PATH, mixed_inputs(height=tensor("height", "FP32", [1, None])))
    assert [(error.row, error.column) for error in problem.errors] == [(2, "height")]


def test_binary_in_and_out(load: Load) -> None:
    predictor = load(made.penguins())
    inputs = [
        ({"name": "island", "datatype": "BYTES", "shape": [2, 1]}, texts("Dream", "")),
        ({"name": "bill_length_mm", "datatype": "FP32", "shape": [2]}, np.array([46.5, np.nan], "<f4").tobytes()),
        ({"name": "body_mass_g", "datatype": "INT16", "shape": [2]}, np.array([3500, 4000], "<i2").tobytes()),
    ]
    body, json_length = binary(inputs, parameters={"binary_data_output": True})

    reply = send(predictor, PATH, body, "", inference_header_content_length=json_length)

    assert reply.content_type == b"application/octet-stream"
    ((name, value),) = reply.headers
    assert name == b"inference-header-content-length"
    document = json.loads(reply.body[: int(value)])
    label, probabilities = document["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in (label, probabilities)]
    raw = reply.body[int(value) :]
    assert len(raw) == sum(sizes)
    assert raw[sizes[0] :] == np.frombuffer(raw[sizes[0] :], "<f4").tobytes()
    assert np.frombuffer(raw[sizes[0] :], "<f4").reshape(2, 3).sum(axis=1) == pytest.approx(1)
    plain = {
        "inputs": [
            tensor("island", "BYTES", ["Dream", ""]),
            tensor("bill_length_mm", "FP32", [46.5, None]),
            tensor("body_mass_g", "INT64", [3500, 4000]),
        ]
    }
    expected = answer(predictor, PATH, plain)["outputs"][0]["data"]
    assert raw[: sizes[0]] == texts(*expected)


def test_a_missing_number_may_be_written_nan(mixed: Predictor) -> None:
    """As tritonclient writes it in JSON."""
    spelt = json.dumps(mixed_inputs(weight=tensor("weight", "FP64", [70.0, float("nan")]))).encode()
    assert b"NaN" in spelt

    table = choose(PATH, {}).decode(spelt, mixed).table

    assert str(table.columns[3].tolist()) == "[[70.0], [nan]]"
    for wrong in (spelt.replace(b"NaN", b"Infinity"), spelt.replace(b"NaN", b"-NaN"), spelt + b"NaN"):
        assert refused(mixed, PATH, wrong).kind.code == "malformed_body"
    assert refused(mixed, PATH, {"inputs": [{"name": "NaN"}]}).kind.code == "malformed_body"
    beyond = refused(mixed, PATH, spelt.replace(b"70.0", b"1e400"))  # a number too large is not a missing one
    assert beyond.detail == refused(mixed, PATH, spelt.replace(b"70.0", b"1e400").replace(b"NaN", b"null")).detail


def test_outputs_that_are_asked_for(load: Load) -> None:
    predictor = load(made.penguins())
    inputs = [tensor("island", "BYTES", ["Dream"])]
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]

    reply = send(predictor, PATH, {"inputs": inputs, "outputs": wanted})

    document = json.loads(reply.body[: int(reply.headers[0][1])])
    assert [output["name"] for output in document["outputs"]] == ["probabilities", "label"]
    assert len(reply.body) - int(reply.headers[0][1]) == 12
    only = answer(predictor, PATH, {"inputs": inputs, "outputs": [{"name": "label"}]})
    assert [output["name"] for output in only["outputs"]] == ["label"]


BAD: list[tuple[Any, str]] = [
    ([], "not an inference request"),
    ({}, "missing required field"),
    ({"rows": [{"age": 1}]}, "missing required field"),
    ({"inputs": []}, "is empty"),
    ({"inputs": [{"name": "age"}]}, "missing required field"),
    (mixed_inputs(age=tensor("age", "INT64", [3])), "has 2 rows"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4, 5], [2])), "3 elements, its shape says 2"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4], [2, 2])), "a column is"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4], [-2])), "negative"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4], [2**62, 1])), "its shape says"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4], [2**63])), "fit 64 bits"),
    (mixed_inputs(age=tensor("age", "FP64", [3.0, 2.0**63])), "1 fault"),
    (mixed_inputs(age=tensor("age", "FP64", [3.0, -(2.0**64)])), "1 fault"),
    (mixed_inputs(age=tensor("age", "BF16", [3, 4])), "not supported; supported are BOOL"),
    (mixed_inputs(age=tensor("age", "INT8", [3, 400])), "does not fit INT8"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4.5])), "does not fit"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 10**30])), "does not fit"),
    (mixed_inputs(age=tensor("age", "UINT64", [3, -1])), "does not fit"),
    (mixed_inputs(age=tensor("age", "INT64", ["3", "4"])), "not a number"),
    (mixed_inputs(age=tensor("age", "INT64", [True, 4])), "not a number"),
    (mixed_inputs(age=tensor("age", "INT64", [[3], 4])), "unevenly"),
    (mixed_inputs(age=tensor("age", "INT64", [[3], [4, 5]])), "ragged"),
    (mixed_inputs(age=tensor("age", "INT64", {"a": 1}, [2])), "not a list"),  # type: ignore[arg-type]
    (mixed_inputs(age=tensor("age", "BYTES", ["3", "4"])), "2 faults in 2 of 2 rows"),
    (mixed_inputs(is_member=tensor("is_member", "INT64", [1, 0])), "2 faults"),
    (mixed_inputs(height=tensor("height", "FP64", [1e300, 1.0])), "1 fault"),
    (mixed_inputs(age=None), "1 fault"),
    (mixed_inputs(more=tensor("age", "INT64", [3, 4])), "Two inputs"),
    ({"inputs": [tensor("X", "FP32", [1, 2, 3, 4], [1, 4])]}, "Not all columns are numbers"),
    (mixed_inputs() | {"outputs": [{"name": "label"}]}, "the model's outputs: value"),
    (mixed_inputs() | {"outputs": [{"name": "value", "parameters": {"classification": 1}}]}, "classification"),
    (mixed_inputs(age={"name": "age", "datatype": "INT64", "shape": [2]}), "has no data"),
    (mixed_inputs(age=tensor("age", "INT64", [3, 4], parameters={"binary_data_size": 8})), "both data and"),
    (
        mixed_inputs(age={"name": "age", "datatype": "INT64", "shape": [2], "parameters": {"binary_data_size": 16}}),
        "needs",
    ),
    (mixed_inputs(heigth=tensor("heigth", "FP32", [1, 1]), height=None), "1 fault"),
]


@pytest.mark.parametrize(("body", "words"), BAD)
def test_what_is_no_request_is_refused(mixed: Predictor, body: Any, words: str) -> None:
    problem = refused(mixed, PATH, body)

    assert words in problem.detail


def test_a_matrix_of_more_rows_than_python_writes_out_is_refused(load: Load) -> None:
    predictor = load(made.cancer())

    problem = refused(predictor, PATH, {"inputs": [tensor("X", "FP64", [1.0], [int("9" * 4300), 30])]})

    assert problem.kind.code == "malformed_body"
    assert problem.detail.endswith("fit 64 bits.")


INT = {"name": "age", "datatype": "INT64", "shape": [1]}
TEXT = {"name": "island", "datatype": "BYTES", "shape": [2]}


@pytest.mark.parametrize(
    ("head", "raw", "words"),
    [
        (INT, b"\0" * 7, "its shape says 1 INT64 elements, its data has 7 bytes"),
        (INT | {"shape": [2**60]}, b"\0" * 8, "its data has 8 bytes"),
        (TEXT, texts("Dream") + struct.pack("<I", 99) + b"x", "element 2 ends after"),
        (TEXT, texts("Dream") + b"\1", "element 2 ends after"),
        (TEXT, texts("Dream"), "1 elements, its shape says 2"),
        (TEXT, texts("a", "b", "c"), "more than 2"),
        (TEXT, texts(b"\xff\xff", "b"), "element 1 is not UTF-8"),
    ],
)
def test_binary_data_that_lies_is_refused(load: Load, head: dict[str, Any], raw: bytes, words: str) -> None:
    body, length = binary([(head, raw)])

    problem = refused(load(made.penguins()), PATH, body, "", inference_header_content_length=length)

    assert (problem.kind.code, words in problem.detail) == ("malformed_body", True), problem.detail


def test_sizes_beyond_the_body_are_refused(load: Load) -> None:
    predictor = load(made.penguins())
    body, length = binary([(INT, b"\0" * 8)])

    assert "left over" in refused(predictor, PATH, body + b"more", "", inference_header_content_length=length).detail
    for given, words in (("999999", "the body has"), ("1", "not an inference request"), ("x", "not a number of bytes")):
        assert words in refused(predictor, PATH, body, "", inference_header_content_length=given).detail
    short = body.replace(b'"binary_data_size": 8', b'"binary_data_size": 9')
    assert (
        "beyond the end of the body"
        in refused(predictor, PATH, short, "", inference_header_content_length=length).detail
    )


def test_more_than_a_hundred_faults(mixed: Predictor) -> None:
    many = {
        "inputs": [
            tensor("age", "INT64", [1] * 300),
            tensor("height", "FP32", [None] * 300),
            tensor("is_member", "BOOL", [True] * 300),
        ]
    }

    problem = refused(mixed, PATH, many)

    assert len(problem.errors) == 100
    assert "300 of 300 rows" in problem.detail


def page(predictor: Predictor, path: str, *, is_ready: bool = True, apart: bool = False) -> tuple[int, Any]:
    """`apart`: as if the model ran in a process of its own."""
    endpoint = find(path)
    assert endpoint is not None
    assert endpoint.page is not None
    info = ApiInfo(
        "id", "slug", endpoint.model, "3", "http://host/apis/id", is_ready, predictor.spec, None if apart else predictor
    )
    reply = endpoint.page.make(info)
    assert reply.content_type == b"application/json"
    return reply.status, json.loads(reply.body)


def test_metadata_names_every_column_and_output(load: Load) -> None:
    predictor = load(made.penguins())
    warm_up(predictor)

    status, document = page(predictor, "v2/models/slug")

    assert status == 200
    assert (document["name"], document["versions"]) == ("slug", ["3"])
    assert document["inputs"][0] == {"name": "bill_length_mm", "datatype": "FP32", "shape": [-1, 1]}
    assert {one["datatype"] for one in document["inputs"]} == {"FP32", "BYTES", "INT64"}
    assert document["outputs"][1] == {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}
    assert document["parameters"] == {"classes": ["Adelie", "Chinstrap", "Gentoo"]}


def test_metadata_tells_64_bit_values(mixed: Predictor) -> None:
    warm_up(mixed)

    assert page(mixed, "v2/models/slug")[1]["outputs"] == [{"name": "value", "datatype": "FP64", "shape": [-1]}]


def test_metadata_of_a_model_in_a_process_of_its_own_differs_in_widths_only(load: Load) -> None:
    predictor = load(made.penguins())
    warm_up(predictor)

    document = page(predictor, "v2/models/slug")[1]
    apart = page(predictor, "v2/models/slug", apart=True)[1]

    for one in document["inputs"]:
        one["datatype"] = one["datatype"].replace("FP32", "FP64")
    assert apart == document


def test_health_has_both_words(load: Load) -> None:
    predictor = load(made.penguins())

    assert page(predictor, "v2/health/live") == (200, {"live": True, "ready": True})
    assert page(predictor, "v2/health/ready") == (200, {"live": True, "ready": True})
    assert page(predictor, "v2/health/ready", is_ready=False) == (503, {"live": True, "ready": False})
    assert page(predictor, "v2/models/m/ready") == (200, {"name": "m", "ready": True})
    assert page(predictor, "v2/models/m/versions/3/ready", is_ready=False) == (503, {"name": "m", "ready": False})
    assert page(predictor, "v2")[1]["extensions"] == ["binary_tensor_data"]


def test_any_content_type_that_clients_leave_out_or_send() -> None:
    for media in ({}, {b"content-type": b"application/json"}, {b"content-type": b"application/octet-stream"}):
        assert choose(PATH, media).name == "open-inference"
