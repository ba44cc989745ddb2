"""JSON rows in, JSON out: what is taken, what is refused, and in which words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from contract.model_spec import ModelSpec
from contract.problems import Problem, RowError
from inference.formats import choose, describe_columns, sample_body, too_many_rows
from inference.predictor import Predictor
from inference.table import Table
from tests import model_files as made
from tests.conftest import Load
from tests.model_files import spec_of

HEADERS = {b"content-type": b"application/json"}


def decode(predictor: Predictor, body: bytes | dict[str, Any]) -> Table:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return choose("predict", HEADERS).decode(text, predictor).table


def answer(predictor: Predictor, *rows: dict[str, Any]) -> dict[str, Any]:
    request_format = choose("predict", HEADERS)
    decoded = request_format.decode(json.dumps({"rows": rows}).encode(), predictor)
    reply = request_format.encode(predictor.predict(decoded.table), decoded, predictor, "2")
    assert reply.content_type == b"application/json"
    document: dict[str, Any] = json.loads(reply.body)
    return document


def refusal(predictor: Predictor, body: bytes | dict[str, Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(predictor, body)
    return caught.value


def faults(predictor: Predictor, *rows: Any) -> list[RowError]:
    problem = refusal(predictor, {"rows": rows})
    assert problem.kind.code == "invalid_rows"
    return list(problem.errors)


@pytest.fixture
def two(load: Load) -> Predictor:
    """Two required numbers, `a` and `b`, in one matrix of 32-bit floats."""
    return load((made.matrix_spec(2, task="binary", classes=("no", "yes")), made.probabilities_only(2)))


@pytest.fixture
def mixed(load: Load) -> Predictor:
    """`age` (int64), `height` (float), `is_member` (bool): all required; `weight` (float) may be missing."""
    kinds = {"age": "int64", "height": "float", "is_member": "bool", "weight": "float"}
    spec = spec_of({"age": "int", "height": "float", "is_member": "bool", "weight": "float?"}, {})
    return load((spec, made.summing(kinds)))


def row(**changes: Any) -> dict[str, Any]:
    return {"age": 40, "height": 1.75, "is_member": True} | changes


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_a_classification_has_the_class_and_every_probability(load: Load) -> None:
    predictor = load(made.cancer())

    document = answer(predictor, predictor.spec.sample)

    assert document["model_version"] == "2"
    (one,) = document["predictions"]
    assert list(one) == ["class", "probabilities"]
    assert one["class"] == "malignant"
    assert list(one["probabilities"]) == ["malignant", "benign"]


def test_a_regression_has_the_value(load: Load) -> None:
    predictor = load(made.diabetes())

    document = answer(predictor, predictor.spec.sample, predictor.spec.sample)

    assert [list(one) for one in document["predictions"]] == [["value"], ["value"]]


def test_numbers_are_the_shortest_that_read_back_as_the_same_32_bit_float(two: Predictor) -> None:
    document = answer(two, {"a": 0.97, "b": 0.1}, {"a": 1e-12, "b": 1 / 3})

    first, second = (one["probabilities"] for one in document["predictions"])
    assert first == {"no": 0.97, "yes": 0.1}
    assert [np.float32(value) for value in second.values()] == [np.float32(1e-12), np.float32(1 / 3)]


def test_class_names_of_any_kind_are_written_as_json(load: Load) -> None:
    names = ('100 % "sure"', "zürich\n\\ %s")

    predictor = load((made.matrix_spec(2, task="binary", classes=names), made.probabilities_only(2)))

    document = answer(predictor, {"a": 0, "b": 1})

    assert document["predictions"] == [{"class": names[1], "probabilities": {names[0]: 0.0, names[1]: 1.0}}]


def test_column_order_never_matters_and_extra_columns_are_ignored(two: Predictor) -> None:
    plain = decode(two, {"rows": [{"a": 0.25, "b": 0.5}]})
    turned = decode(two, b'{"more": [1], "rows": [{"note": {"deep": [null]}, "b": 0.5, "id": "x", "a": 0.25}]}')

    assert plain.matrix is not None
    assert turned.matrix is not None
    assert plain.matrix.tolist() == turned.matrix.tolist() == [[0.25, 0.5]]
    assert plain.matrix.dtype == np.float32


def test_missing_and_null_are_the_same_where_the_model_allows_it(mixed: Predictor) -> None:
    table = decode(mixed, {"rows": [row(), row(weight=None), row(weight=70)]})

    weight = table.columns[3]
    assert weight.shape == (3, 1)
    assert np.isnan(weight[:2]).all()
    assert weight[2] == 70


def test_a_missing_text_is_empty_text(load: Load) -> None:
    predictor = load(made.penguins())

    table = decode(predictor, {"rows": [{"island": None}, {}, {"island": ""}, {"island": "Dream"}]})

    names = [column.name for column in predictor.spec.columns]
    assert table.columns[names.index("island")].ravel().tolist() == ["", "", "", "Dream"]


def test_a_whole_number_may_be_written_with_a_point(mixed: Predictor) -> None:
    table = decode(mixed, {"rows": [row(age=40.0), row(age=4e1), row(age=40)]})

    assert table.columns[0].dtype == np.int64
    assert table.columns[0].ravel().tolist() == [40, 40, 40]


def test_an_unknown_category_and_a_number_out_of_its_usual_range_are_taken(load: Load) -> None:
    predictor = load(made.penguins())

    assert len(answer(predictor, {"island": "Atlantis", "body_mass_g": -5})["predictions"]) == 1


def test_of_a_key_that_appears_twice_the_last_counts(two: Predictor) -> None:
    table = decode(two, b'{"rows": [{"a": 1, "b": 2, "a": 3}]}')

    assert table.matrix is not None
    assert table.matrix.tolist() == [[3, 2]]


@pytest.mark.parametrize("name", ['say "hi"', "back\\slash", "line\nbreak", "größe (m²)", "", "%s", "rows"])
def test_columns_may_have_any_name(load: Load, name: str) -> None:
    predictor = load((spec_of({name: "float"}, {name: 1.5}, input="matrix"), made.passing_on()))

    assert answer(predictor, {name: 1.5})["predictions"] == [{"value": 1.5}]
    assert faults(predictor, {name: "x"})[0].column == name


def test_a_byte_order_mark_is_let_pass(two: Predictor) -> None:
    assert decode(two, b'\xef\xbb\xbf{"rows": [{"a": 1, "b": 2}]}').n_rows == 1


def test_many_rows_are_read_at_once(mixed: Predictor) -> None:
    assert decode(mixed, {"rows": [row(age=index) for index in range(5000)]}).columns[0][4999] == 4999


def test_the_sample_body_is_a_valid_request(load: Load) -> None:
    for maker in (made.cancer, made.penguins, made.diabetes):
        predictor = load(maker())
        assert decode(predictor, sample_body(predictor.spec)).n_rows == 1


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected", "received"),
    [
        ({"height": "1.75"}, "a number", 'text "1.75"'),
        ({"height": True}, "a number", "true"),
        ({"height": None}, "a number", "null"),
        ({"height": [1]}, "a number", "a list"),
        ({"height": {}}, "a number", "an object"),
        ({"height": 1e39}, "a number from -3.4028235e+38 to 3.4028235e+38", "number 1e+39"),
        ({"height": -(10**400)}, "a number from -3.4028235e+38 to 3.4028235e+38", "number of about 400 digits"),
        ({"age": 3.5}, "a whole number", "number 3.5"),
        ({"age": "40"}, "a whole number", 'text "40"'),
        ({"age": False}, "a whole number", "false"),
        ({"age": 2**63}, f"a whole number from {-(2**63)} to {2**63 - 1}", f"number {2**63}"),
        ({"age": 1e30}, f"a whole number from {-(2**63)} to {2**63 - 1}", "number 1e+30"),
        ({"is_member": 1}, "true or false", "number 1"),
        ({"is_member": "true"}, "true or false", 'text "true"'),
        ({"weight": "heavy " * 20}, "a number", 'text "' + ("heavy " * 20)[:39] + '…"'),
    ],
)
def test_a_wrong_value_is_named(mixed: Predictor, changes: dict[str, Any], expected: str, received: str) -> None:
    (column,) = changes

    assert faults(mixed, row(), row(**changes)) == [RowError(2, column, expected, received)]


def test_a_number_for_a_text_column_is_refused(load: Load) -> None:
    assert faults(load(made.penguins()), {"island": 3}) == [RowError(1, "island", "text", "number 3")]


def test_a_number_beyond_64_bit_floats_is_refused_as_it_was_written(mixed: Predictor) -> None:
    problem = refusal(mixed, b'{"rows": [{"age": 1, "is_member": true, "height": 1e400}]}')

    assert problem.errors[0].received == "number 1e400"


def test_whole_numbers_are_limited_by_what_the_model_takes(load: Load) -> None:
    predictor = load((spec_of({"a": "int"}, {"a": 1}), made.summing({"a": "uint8"})))

    assert faults(predictor, {"a": 256})[0].expected == "a whole number from 0 to 255"
    assert faults(predictor, {"a": -1})[0].received == "number -1"


def test_a_missing_column_is_named(two: Predictor) -> None:
    assert faults(two, {"a": 1}) == [RowError(1, "b", "a number", "nothing: the column is missing")]


def test_a_typo_is_named_with_the_column_it_is_nearest_to(mixed: Predictor) -> None:
    (fault,) = faults(mixed, {"age": 4, "Hieght": 1.7, "is_member": True, "note": ""})

    assert fault == RowError(1, "Hieght", 'the column "height"', 'a column called "Hieght"', "height")


def test_one_sent_name_is_the_typo_of_one_column_only(load: Load) -> None:
    spec = spec_of({"width_1": "float", "width_2": "float"}, {})
    predictor = load((spec, made.summing({"width_1": "float", "width_2": "float"})))

    assert [fault.nearest for fault in faults(predictor, {"width": 1})] == ["width_1", None]


def test_every_fault_of_every_row_is_listed_in_order(mixed: Predictor) -> None:
    problem = refusal(mixed, {"rows": [row(age="x", height="y"), row(), row(is_member=0), 5, None]})

    assert [(fault.row, fault.column) for fault in problem.errors] == [
        (1, "age"), (1, "height"), (3, "is_member"), (4, ""), (5, ""),
    ]  # fmt: skip
    assert problem.errors[3] == RowError(4, "", "an object", "number 5")
    assert problem.detail == "5 faults in 4 of 5 rows."


def test_at_most_a_hundred_faults_are_listed_and_all_bad_rows_counted(mixed: Predictor) -> None:
    problem = refusal(mixed, {"rows": [row(age="x", height="y") for _ in range(2000)] + [row()]})

    assert len(problem.errors) == 100
    assert problem.errors[-1].row == 50
    assert problem.detail == "More than 100 faults, in 2000 of 2001 rows; the first 100 are listed."


def test_exactly_a_hundred_faults_are_not_called_more(mixed: Predictor) -> None:
    problem = refusal(mixed, {"rows": [row(age="x")] * 100})

    assert problem.detail == "100 faults in 100 of 100 rows."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"rows": []}', "at least one row"),
        (b"{}", "without `rows`"),
        (b'{"rows": null}', "received null as `rows`"),
        (b'{"rows": {"a": 1}}', "received an object as `rows`"),
        (b'{"rows": "a"}', 'received text "a" as `rows`'),
        (b'[{"a": 1, "b": 2}]', "received a list"),
        (b"3", "received number 3"),
        (b'"rows"', 'received text "rows"'),
        (b"null", "received null"),
    ],
)
def test_json_of_another_shape_says_what_was_expected(two: Predictor, body: bytes, words: str) -> None:
    problem = refusal(two, body)

    assert problem.kind.code == "invalid_rows"
    assert words in problem.detail


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "The body is empty."),
        (b" \n", "The body is empty."),
        (b"\xef\xbb\xbf", "The body is empty."),
        (b"a,b\n1,2\n", "not valid JSON: invalid character (byte 0)"),
        (b'{"rows": [{"a": 1, "b": 2}]', "not valid JSON"),
        (b'{"rows": [{"a": 1, "b": 2}]} x', "not valid JSON"),
        (b'{"rows": 5, oops', "not valid JSON"),
        (b'{"rows": [{"a": NaN, "b": 2}]}', "JSON has no NaN or Infinity"),
        (b'{"rows": [{"a": 1, "b": -Infinity}]}', "JSON has no NaN or Infinity"),
        (b'{"rows": [{"a": 01, "b": 2}]}', "not valid JSON"),
        (b'{"rows": [{"a": "\\ud800", "b": 2}]}', "not valid JSON"),
        (b'{"rows": [{"a": 1, "b": 2, "c": "\xff"}]}', "not UTF-8: invalid byte at position 33"),
        ('{"rows": []}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"rows": [{"a": 1, "b": 2, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}", "nested too deeply"),
        (b'{"x": ' + b'{"x": ' * 100_000 + b"1" + b"}" * 100_001, "nested too deeply"),
    ],
)
def test_what_is_not_json_is_malformed(two: Predictor, body: bytes, words: str) -> None:
    problem = refusal(two, body)

    assert problem.kind.code == "malformed_body"
    assert words in problem.detail


def test_ten_thousand_extra_names_are_looked_through_in_bounded_time(two: Predictor) -> None:
    rows = [{f"{number}_{index}": 1 for index in range(1000)} for number in range(10)]

    assert len(faults(two, *rows)) == 20


def test_a_trial_says_how_many_rows_it_takes() -> None:
    problem = too_many_rows(1001, 1000)

    assert problem.kind.status == 422
    assert "1001" in problem.detail
    assert "1000" in problem.detail


# --- descriptions ----------------------------------------------------------------------------------------------------


def test_columns_are_described_for_people() -> None:
    spec = ModelSpec(
        task="regression",
        columns=spec_of({"a": "float"}, {}).columns + made.penguins()[0].columns[1:2],
        input="columns",
        sample={"a": 2.5},
    )

    first, second = describe_columns(spec)

    assert (first.name, first.expected, first.is_required, first.example) == ("a", "a number", True, 2.5)
    assert (second.name, second.expected, second.is_required, second.example) == ("island", "text", False, None)
