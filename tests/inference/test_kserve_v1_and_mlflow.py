"""KServe v1 and MLflow scoring: rows under other keys, one value a row back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contract.problems import PROBLEM_TYPES, Problem, RowError
from inference.formats import find, refusal, sample_csv
from inference.predictor import Predictor
from tests import model_files as made
from tests.conftest import Load
from tests.inference.client import answer, refused, send
from tests.model_files import spec_of

V1, EXPLAIN, MLFLOW = "v1/models/m:predict", "v1/models/m:explain", "invocations"


@pytest.fixture
def penguins(load: Load) -> Predictor:
    return load(made.penguins())


def listed(predictor: Predictor) -> list[Any]:
    return [predictor.spec.sample.get(column.name) for column in predictor.spec.columns]


def test_instances_are_objects_or_lists(penguins: Predictor) -> None:
    body = {"instances": [penguins.spec.sample, listed(penguins)], "parameters": {"any": 1}}

    assert answer(penguins, V1, body) == {"predictions": ["Chinstrap", "Chinstrap"]}
    assert answer(penguins, V1, {"instances": [{}]})["predictions"]


def test_values_and_whole_number_labels_are_numbers(load: Load) -> None:
    diabetes, wine = load(made.diabetes()), load(made.wine(zipmap=True))

    assert isinstance(answer(diabetes, V1, {"instances": [listed(diabetes)]})["predictions"][0], float)
    assert answer(wine, V1, {"instances": [listed(wine)]}) == {"predictions": [2]}


def test_the_bare_value_of_the_only_column(load: Load) -> None:
    predictor = load((spec_of({"x": "float"}, {"x": 1.0}), made.summing({"x": "float"})))

    assert answer(predictor, V1, {"instances": [1.5, [2.5], {"x": 3.5}]}) == {"predictions": [1.5, 2.5, 3.5]}


def test_explain_adds_each_variable_s_contribution(penguins: Predictor, load: Load) -> None:
    (one,) = answer(penguins, EXPLAIN, {"instances": [listed(penguins)]})["explanations"]

    assert one["class"] == "Chinstrap"
    assert list(one["contributions"]) == [column.name for column in penguins.spec.columns]
    diabetes = load(made.diabetes())
    assert "class" not in answer(diabetes, EXPLAIN, {"instances": [listed(diabetes)]})["explanations"][0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_body"),
        (b"{", "malformed_body"),
        (b'{"instances": [1, }', "malformed_body"),
        (b"[" * 5000, "malformed_body"),
        (b'{"instances":' + b"[" * 5000, "malformed_body"),
        (b'{"instances": [\xff]}', "malformed_body"),
        ([], "invalid_rows"),
        ({}, "invalid_rows"),
        ({"rows": [{}]}, "invalid_rows"),
        ({"inputs": []}, "invalid_rows"),
        ({"instances": []}, "invalid_rows"),
        ({"instances": {}}, "invalid_rows"),
        ({"instances": None}, "invalid_rows"),
        ({"instances": [1]}, "invalid_rows"),
        ({"instances": [[1]]}, "invalid_rows"),
        ({"instances": [[1] * 10_000]}, "invalid_rows"),
        ({"instances": [{"island": 1}]}, "invalid_rows"),
        ({"instances": [{"iland": "Dream"}]}, "invalid_rows"),
        ({"instances": [[None] * 5 + [[]]]}, "invalid_rows"),
    ],
)
def test_bad_instances_are_refused(penguins: Predictor, body: Any, code: str) -> None:
    for path in (V1, EXPLAIN):
        assert refused(penguins, path, body).kind.code == code


def mlflow_bodies(predictor: Predictor) -> list[dict[str, Any]]:
    names = [column.name for column in predictor.spec.columns]
    row = listed(predictor)
    turned = {"columns": names[::-1], "data": [row[::-1]], "index": [7]}
    return [
        {"dataframe_split": turned},
        {"dataframe_split": turned, "params": {"any": 1}},
        {"dataframe_records": [predictor.spec.sample]},
        {"instances": [row]},
        {"instances": [predictor.spec.sample]},
        {"inputs": [row]},
        {"inputs": {name: [value] for name, value in zip(names, row, strict=True)}},
        {"inputs": {name: [[value]] for name, value in zip(names, row, strict=True)}},
    ]


@pytest.mark.parametrize("number", range(8))
def test_every_mlflow_shape(penguins: Predictor, number: int) -> None:
    body = mlflow_bodies(penguins)[number]

    assert answer(penguins, MLFLOW, body) == {"predictions": ["Chinstrap"]}
    with_nan = json.dumps(body).replace("null", "NaN").encode()
    assert json.loads(send(penguins, MLFLOW, with_nan).body) == {"predictions": ["Chinstrap"]}


def test_mlflow_csv_is_answered_with_json(penguins: Predictor) -> None:
    reply = send(penguins, MLFLOW, sample_csv(penguins.spec), "text/csv; charset=utf-8")

    assert json.loads(reply.body) == {"predictions": ["Chinstrap"]}
    assert dict(reply.headers)[b"x-csv-dialect"].startswith(b"charset=utf-8")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "malformed_body"),
        ({"rows": []}, "malformed_body"),
        ({"inputs": [[1]], "instances": [[1]]}, "malformed_body"),
        ([], "invalid_rows"),
        ({"dataframe_split": {"columns": ["island"]}}, "invalid_rows"),
        ({"dataframe_split": {"columns": ["island", "island"], "data": [["Dream", "Dream"]]}}, "malformed_body"),
        ({"dataframe_split": {"columns": [1], "data": [[1]]}}, "invalid_rows"),
        ({"dataframe_split": {"columns": [], "data": [[]]}}, "invalid_rows"),
        ({"dataframe_split": {"columns": ["island"], "data": [["Dream", 1]]}}, "invalid_rows"),
        ({"dataframe_split": []}, "invalid_rows"),
        ({"dataframe_records": [["Dream"]]}, "invalid_rows"),
        ({"dataframe_records": {"island": ["Dream"]}}, "invalid_rows"),
        ({"inputs": {"island": ["Dream"], "sex": []}}, "invalid_rows"),
        ({"inputs": {"island": "Dream"}}, "invalid_rows"),
        ({"inputs": {}}, "invalid_rows"),
        ({"inputs": "Dream"}, "invalid_rows"),
        (b'{"inputs": [[Infinity]]}', "malformed_body"),
        (b'{"inputs": [[NaN, Infinity]]}', "malformed_body"),
        (b"NaN" * 1000, "malformed_body"),
        (b"", "malformed_body"),
    ],
)
def test_bad_scoring_requests_are_refused(penguins: Predictor, body: Any, code: str) -> None:
    assert refused(penguins, MLFLOW, body).kind.code == code


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (MLFLOW, "text/plain"),
        (MLFLOW, ""),
        (MLFLOW, "application/json; charset=utf-16"),
        (MLFLOW, "text/csv; charset=klingon"),
        (V1, "text/csv"),
        (V1, "application/json; charset=utf-16"),
        ("v2/models/m/infer", "text/csv"),
    ],
)
def test_other_content_types_and_charsets_are_415(penguins: Predictor, path: str, content_type: str) -> None:
    assert refused(penguins, path, b"{}", content_type).kind.status == 415


ERROR = Problem("invalid_rows", "1 fault in 1 row.", errors=(RowError(1, "iland", "text", "a number", "island"),))


@pytest.mark.parametrize("path", ["v1/models/m:predict", "v1/models/other", "", "v2/models/m/infer", "v2/nothing"])
def test_refusals_of_kserve_are_one_text(path: str) -> None:
    body, media = refusal(path, ERROR, "id", "https://docs")

    assert media == b"application/json"
    words = "Row 1, iland: expected text, received a number (nearest: island)."
    assert json.loads(body) == {"error": f"invalid_rows: 1 fault in 1 row. {words}"}


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_refusals_of_mlflow_have_its_words(code: str) -> None:
    body, media = refusal("invocations", Problem(code), "id", "https://docs")

    document = json.loads(body)
    assert media == b"application/json"
    assert set(document) == {"error_code", "message"}
    assert document["error_code"].isupper()
    assert document["message"].startswith(f"{code}: ")


def test_only_predict_has_the_manual_s_members_and_other_paths_plain_problems() -> None:
    assert b"error_code" in refusal("predict", ERROR, "id", "https://docs")[0]
    for path in ("nothing", "docs", "openapi.json", "predict/more"):
        body, media = refusal(path, ERROR, "id", "https://docs")
        assert media == b"application/problem+json"
        assert b"error_code" not in body


def test_names_in_paths() -> None:
    endpoint = find("v1/models/penguin-species:predict")
    assert endpoint is not None
    endpoint.check_names("abc", "penguin-species", "1")
    with pytest.raises(Problem) as caught:
        endpoint.check_names("abc", "other", "1")
    assert caught.value.kind.code == "unknown_path"
    versioned = find("v2/models/abc/versions/2/infer")
    assert versioned is not None
    versioned.check_names("abc", "", "2")
    with pytest.raises(Problem):
        versioned.check_names("abc", "", "3")
