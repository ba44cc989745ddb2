"""Categories, ranges and numbers that are too large: what is matched, what is refused, and what is warned of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from onnx import TensorProto

from contract.model_spec import Column, ModelSpec, spec_from_json, spec_to_json
from contract.problems import RowError
from inference.formats import Reply, answered, choose
from inference.predictor import Predictor
from testkit.graphs import Made, graph, node
from tests.conftest import Load
from tests.inference.client import JSON, completed, manual_body, refused, send

TOWNS = ("Oslo", " Private", "NA")


def spec(*columns: Column) -> ModelSpec:
    sample = {column.name: (column.categories or ("x",))[0] if column.type == "string" else 1 for column in columns}
    return ModelSpec(task="regression", columns=columns, input="columns", sample=sample)


def measured(*columns: Column, kinds: dict[str, str]) -> Made:
    """Texts count as the number that a graph's own table has for them, numbers as themselves."""
    nodes = []
    for name, kind in kinds.items():
        if kind == "string":
            nodes += [
                node(
                    "LabelEncoder",
                    [name],
                    [f"{name}_n"],
                    domain="ai.onnx.ml",
                    keys_strings=list(TOWNS),
                    values_floats=[10.0, 20.0, 30.0],
                    default_float=-1.0,
                ),
                node("Cast", [f"{name}_n"], [f"{name}_d"], to=TensorProto.DOUBLE),
            ]
        else:
            nodes.append(node("Cast", [name], [f"{name}_d"], to=TensorProto.DOUBLE))
    nodes.append(node("Sum", [f"{name}_d" for name in kinds], ["y"]))
    shape: list[int | None] = [None, 1]
    return spec(*columns), graph([(name, kind, shape) for name, kind in kinds.items()], [("y", "double", shape)], nodes)


def town(**rest: Any) -> Column:
    return Column(name="town", type="string", **({"categories": TOWNS} | rest))


@pytest.fixture
def towns(load: Load) -> Predictor:
    """`town` (an open list), `v` (from 0 to 10, as was stated)."""
    ranged = Column(name="v", type="float", min=0, max=10, is_range_known=True)
    return load(measured(town(), ranged, kinds={"town": "string", "v": "float"}))


def answer(predictor: Predictor, body: bytes | dict[str, Any], media: str = JSON, *, hides: bool = False) -> Reply:
    request_format = choose("predict", {b"content-type": media.encode(), b"accept": b"application/json"})
    decoded = request_format.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), predictor)
    prediction = predictor.predict(decoded.table)
    return completed(answered(request_format, prediction, decoded, predictor, "2"), hides_schema=hides)


def warnings(predictor: Predictor, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer(predictor, {"rows": rows}).body).get("warnings", [])
    return found


def test_old_descriptions_stay_as_they_are() -> None:
    document = {"name": "town", "type": "string", "categories": ["a"]}

    stored = spec_to_json(spec_from_json({**spec_to_json(spec(town())), "columns": [document]}))

    assert json.loads(json.dumps(stored))["columns"] == [document]


@pytest.mark.parametrize("n_rows", [1, 100])
@pytest.mark.parametrize("sent", [" Private", "Private", "\u3000Private "])
def test_a_text_is_the_category_that_it_looks_like(towns: Predictor, sent: str, n_rows: int) -> None:
    body = {"rows": [{"town": sent, "v": 1}] * n_rows}
    quoted = "town,v\n" + f'"{sent}",1\n' * n_rows
    tensors = {
        "inputs": [
            {"name": "town", "shape": [n_rows], "datatype": "BYTES", "data": [sent] * n_rows},
            {"name": "v", "shape": [n_rows], "datatype": "FP32", "data": [1] * n_rows},
        ]
    }

    assert json.loads(send(towns, "predict", body).body)["predictions"] == [{"value": 21.0}] * n_rows
    assert send(towns, "predict", quoted.encode(), "text/csv").body == b"prediction\n" + b"21.0\n" * n_rows
    answered = json.loads(send(towns, "v2/models/m/infer", tensors).body)
    assert answered["outputs"][0]["data"] == [21.0] * n_rows


def test_case_counts(towns: Predictor) -> None:
    assert [warning["value"] for warning in warnings(towns, {"town": "oslo", "v": 1})] == ["oslo"]


def test_usual_values_are_answered_without_a_word(towns: Predictor) -> None:
    reply = answer(towns, {"rows": [{"town": "Oslo", "v": 10}]})

    assert (reply.headers, reply.warned) == ((), ())
    assert "warnings" not in json.loads(reply.body)


def test_each_odd_value_is_listed_with_its_place(towns: Predictor) -> None:
    rows = [{"town": "Oslo", "v": 1}, {"town": "Rome", "v": 10.5}, {"town": "NA", "v": 2**24 + 1}]

    assert warnings(towns, *rows) == [
        {
            "row": 2,
            "column": "town",
            "code": "unknown_category",
            "expected": 'one of "Oslo", " Private", "NA"',
            "value": "Rome",
        },
        {"row": 2, "column": "v", "code": "out_of_range", "expected": "from 0 to 10", "value": 10.5},
        {"row": 3, "column": "v", "code": "out_of_range", "expected": "from 0 to 10", "value": 2**24 + 1},
        {
            "row": 3,
            "column": "v",
            "code": "inexact_number",
            "expected": "a whole number of at most 16777216",
            "value": 2**24 + 1,
        },
    ]


@pytest.mark.parametrize("n_rows", [1, 50])
def test_every_format_notices_the_same(towns: Predictor, n_rows: int) -> None:
    text = "town,v\n" + "Rome,11\n" * n_rows
    bodies: list[tuple[str, Any, str]] = [
        ("predict", {"rows": [{"town": "Rome", "v": 11}] * n_rows}, JSON),
        ("predict", text.encode(), "text/csv"),
        ("predict", manual_body(text), JSON),
        ("v1/models/m:predict", {"instances": [["Rome", 11]] * n_rows}, JSON),
        ("invocations", {"dataframe_split": {"columns": ["v", "town"], "data": [[11, "Rome"]] * n_rows}}, JSON),
        (
            "v2/models/m/infer",
            {
                "inputs": [
                    {"name": "v", "shape": [n_rows], "datatype": "INT32", "data": [11] * n_rows},
                    {"name": "town", "shape": [n_rows, 1], "datatype": "BYTES", "data": ["Rome"] * n_rows},
                ]
            },
            JSON,
        ),
    ]

    for path, body, media in bodies:
        reply = send(towns, path, body, media)
        assert set(reply.warned) == {("town", "unknown_category", n_rows), ("v", "out_of_range", n_rows)}
        assert (b"x-prediction-warnings", b"%d" % (2 * n_rows)) in reply.headers


def test_at_most_a_hundred_are_listed_and_all_are_counted(towns: Predictor) -> None:
    reply = answer(towns, {"rows": [{"town": "Rome", "v": -1}] * 80})

    assert len(json.loads(reply.body)["warnings"]) == 100
    assert reply.headers == ((b"x-prediction-warnings", b"160"),)


def test_an_api_that_hides_its_schema_names_no_column_and_no_value(towns: Predictor) -> None:
    reply = answer(towns, {"rows": [{"town": "Rome", "v": 1}]}, hides=True)

    assert json.loads(reply.body)["warnings"] == [{"row": 1, "code": "unknown_category"}]
    assert reply.headers == ((b"x-prediction-warnings", b"1"),)


def test_a_range_that_was_learnt_from_few_rows_says_nothing(load: Load) -> None:
    predictor = load(measured(Column(name="v", type="float", min=0, max=10), kinds={"v": "float"}))

    assert warnings(predictor, {"v": 1000}) == []


@pytest.mark.parametrize(
    ("kind", "column_type", "exact", "inexact"),
    [
        ("float", "float", [2**24, -(2**24), 2.0**24 + 0.5], [2**24 + 1, -(2**24) - 1, 1e20]),
        ("float", "int", [2**24], [2**24 + 1]),
        ("double", "float", [2**24 + 1, 2**53, 2.5], [2**53 + 1, 1e300]),
        ("int64", "int", [2**53 + 1, 2**62], []),
    ],
)
def test_whole_numbers_that_may_have_become_others(
    load: Load, kind: str, column_type: Any, exact: list[float], inexact: list[float]
) -> None:
    column = Column(name="v", type=column_type, nullable=kind != "int64")
    predictor = load(measured(column, kinds={"v": kind}))

    for value in exact:
        assert warnings(predictor, {"v": value}) == []
    for value in inexact:
        [warning] = warnings(predictor, {"v": value})
        assert (warning["code"], warning["value"]) == ("inexact_number", value)
        assert send(predictor, "predict", b"v\n%d\n" % value, "text/csv").warned == (("v", "inexact_number", 1),)
        assert send(predictor, "predict", b"v\n" + b"%d\n" % value * 20, "text/csv").warned == (
            ("v", "inexact_number", 20),
        )


# --- closed lists ----------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(load: Load) -> Predictor:
    grade = Column(name="grade", type="float", categories=("1", "2", "3"), is_closed=True)
    return load(measured(town(is_closed=True), grade, kinds={"town": "string", "grade": "float"}))


@pytest.mark.parametrize("n_rows", [2, 40])
def test_what_a_closed_list_lacks_is_refused_with_the_list(closed: Predictor, n_rows: int) -> None:
    good = n_rows - 1
    text = "town,grade\n" + "Oslo,1\n" * good + "Rome,4\n"
    tensors = {
        "inputs": [
            {"name": "town", "shape": [n_rows], "datatype": "BYTES", "data": ["Oslo"] * good + ["Rome"]},
            {"name": "grade", "shape": [n_rows], "datatype": "FP64", "data": [1] * good + [4]},
        ]
    }
    rows = [{"town": "Oslo", "grade": 1}] * good + [{"town": "Rome", "grade": 4}]
    towns, grades = 'one of "Oslo", " Private", "NA"', "one of 1, 2, 3"

    assert refused(closed, "predict", {"rows": rows}).errors == (
        RowError(n_rows, "town", towns, 'text "Rome"'),
        RowError(n_rows, "grade", grades, "number 4"),
    )
    assert refused(closed, "predict", text.encode(), "text/csv").errors == (
        RowError(n_rows, "town", towns, 'text "Rome"'),
        RowError(n_rows, "grade", grades, 'text "4"'),
    )
    assert refused(closed, "v2/models/m/infer", tensors).errors == (
        RowError(n_rows, "town", towns, 'text "Rome"'),
        RowError(n_rows, "grade", grades, "number 4.0"),
    )


def test_a_closed_list_takes_what_looks_like_its_own(closed: Predictor) -> None:
    assert json.loads(send(closed, "predict", {"rows": [{"town": "Private", "grade": 3.0}]}).body)["predictions"] == [
        {"value": 23.0}
    ]


def test_a_missing_text_is_no_category(load: Load) -> None:
    predictor = load(measured(town(is_closed=True, nullable=True), kinds={"town": "string"}))

    for value in (None, ""):
        assert warnings(predictor, {"town": value}) == []
    assert send(predictor, "predict", b'town\n""\n', "text/csv").warned == ()


def test_an_owners_notes_on_numbers_are_no_categories(load: Load) -> None:
    """A column of numbers could be stored with texts once."""
    predictor = load(measured(Column(name="v", type="float", categories=("low", "high")), kinds={"v": "float"}))

    assert warnings(predictor, {"v": 7}) == []
