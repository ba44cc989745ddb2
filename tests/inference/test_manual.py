"""The manual's format: named inputs with a CSV in base64, two CSVs out."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from contract.problems import problem_body
from inference.formats import sample_csv, table_from_rows
from tests import model_files as made
from tests.conftest import Load
from tests.inference.client import answer, manual, manual_body, refused

VALID, ANALYSIS = "prediction_valid.csv", "prediction_analysis.csv"


def test_classes_come_with_the_target_s_name_and_six_decimals(load: Load) -> None:
    result = manual(load(made.penguins()))

    assert list(result) == [VALID]
    header, row = result[VALID]
    assert header == ["Row number", "species", "Adelie", "Chinstrap", "Gentoo"]
    assert row[:2] == ["1", "Chinstrap"]
    assert all(len(cell.partition(".")[2]) == 6 for cell in row[2:])
    assert sum(map(float, row[2:])) == pytest.approx(1, abs=1e-5)


def test_a_regression_has_one_column_of_values(load: Load) -> None:
    predictor = load(made.diabetes())

    header, row = manual(predictor)[VALID]

    assert header == ["Row number", "Prediction value"]
    assert row[1] == str(predictor.predict(table_from_rows(predictor, [predictor.spec.sample])).values[0])


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"nc": True}, ["Row number", "Adelie", "Chinstrap", "Gentoo"]),
        ({"nr": True}, ["species", "Adelie", "Chinstrap", "Gentoo"]),
        ({"nr": False}, ["Row number", "species", "Adelie", "Chinstrap", "Gentoo"]),
        ({"pc": "id"}, ["id", "species", "Adelie", "Chinstrap", "Gentoo"]),
        ({"pc": "id", "nr": True}, ["id", "species", "Adelie", "Chinstrap", "Gentoo"]),
        ({"ad": True, "nc": True}, ["Row number", "Adelie", "Chinstrap", "Gentoo", "id", "island", "bill_length_mm"]),
    ],
)
def test_options_choose_the_columns(load: Load, options: dict[str, Any], header: list[str]) -> None:
    csv = "id,island,bill_length_mm\nA-7,Dream,46.50\nA-8,Biscoe,\n"

    records = manual(load(made.penguins()), csv, **options)[VALID]

    assert records[0] == header
    assert len(records) == 3
    if options.get("pc"):
        assert [row[0] for row in records[1:]] == ["A-7", "A-8"]
    if options.get("ad"):
        assert [row[-2:] for row in records[1:]] == [["Dream", "46.50"], ["Biscoe", ""]]  # as they were sent


def test_the_columns_come_back_in_the_form_they_were_sent(load: Load) -> None:
    csv = "\ufeffid;island;bill_length_mm\r\n東;Dream;46,5\r\n".encode()

    header, row = manual(load(made.penguins()), csv, ad=True)[VALID]

    assert (header[-3:], row[-3:]) == (["id", "island", "bill_length_mm"], ["東", "Dream", "46,5"])


def test_reasons_name_three_variables_that_raise_and_three_that_lower(load: Load) -> None:
    predictor = load(made.cancer())

    result = manual(predictor, ar=True)

    assert list(result) == [VALID, ANALYSIS]
    header, row = result[ANALYSIS]
    assert header[:4] == ["Row number", "diagnosis", "malignant", "benign"]
    assert header[4:] == [
        f"{word} 'benign' probability {rank}" for word in ("Increase", "Decrease") for rank in (1, 2, 3)
    ]
    for cell in filter(None, row[4:]):
        variable, content, contribution = cell.split(":")
        assert float(content) == pytest.approx(predictor.spec.sample[variable])
        assert abs(float(contribution)) <= 1
    assert all(float(cell.rsplit(":", 1)[1]) > 0 for cell in filter(None, row[4:7]))
    assert all(float(cell.rsplit(":", 1)[1]) < 0 for cell in filter(None, row[7:]))


def test_reasons_of_a_regression_and_of_missing_content(load: Load) -> None:
    spec = made.spec_of({"a": "float?", "b": "float"}, {"a": 1.0, "b": 2.0})
    columns = (spec.columns[0].__class__("a", "float", baseline=1.0, nullable=True), spec.columns[1])
    counting = made.graph(  # a missing a counts as -3
        [("a", "float", [None, 1]), ("b", "float", [None, 1])],
        [("y", "float", [None, 1])],
        [
            made.node("IsNaN", ["a"], ["gone"]),
            made.node("Where", ["gone", "minus", "a"], ["known"]),
            made.node("Add", ["known", "b"], ["y"]),
        ],
        {"minus": made.np.array([-3], "float32")},
    )
    predictor = load((made.spec_of({"a": "float?", "b": "float"}, {"a": 1.0, "b": 2.0}), counting))
    assert columns[0].baseline == 1.0

    header, row = manual(predictor, "a,b\n,768.056\n", ar=True)[ANALYSIS]

    assert header[2] == "Increase 'Prediction value' value 1"
    assert row[2:] == ["b:768.056:768.056", "", "", "a::-3", "", ""]


def test_rows_of_different_classes_share_a_header(load: Load) -> None:
    csv = "island,bill_length_mm,sex\nDream,50,male\nTorgersen,36,female\n"

    records = manual(load(made.penguins()), csv, ar=True)[ANALYSIS]

    assert records[0][5] == "Increase 'predicted class' probability 1"
    assert len({row[1] for row in records[1:]}) == 2


def test_line_breaks_inside_the_base64_are_let_pass(load: Load) -> None:
    predictor = load(made.cancer())
    body = manual_body("")
    body["inputs"][0]["data"] = base64.encodebytes(sample_csv(predictor.spec)).decode().replace("\n", "\r\n")

    assert answer(predictor, "predict", body)["outputs"][0]["name"] == VALID


def changed(**changes: Any) -> dict[str, Any]:
    """A good request with members of its inputs changed: `pr_data=..`, or left out: `ar=None`."""
    body = manual_body("island\nDream\n")
    for one in list(body["inputs"]):
        if changes.get(one["name"], ...) is None:
            body["inputs"].remove(one)
        for member in ("type", "data"):
            if f"{one['name']}_{member}" in changes:
                one[member] = changes[f"{one['name']}_{member}"]
    return body


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"inputs": []}, "malformed_body", "is missing pr, ar, ad, nc"),
        ({"inputs": None}, "malformed_body", "list"),
        ({"inputs": {"pr": 1}}, "malformed_body", "list"),
        ({"inputs": [{"name": "pr"}]}, "malformed_body", "missing required field"),
        ({"inputs": [1]}, "malformed_body", "object"),
        ({"inputs": [], "rows": [{"island": "Dream"}]}, "malformed_body", "both `rows` and `inputs`"),
        (changed(ar=None), "malformed_body", "is missing ar"),
        (changed(ar_data="true"), "malformed_body", "ar must be true or false"),
        (changed(ar_type="bool"), "malformed_body", "ar has the type boolean"),
        (changed(pr_data=1), "malformed_body", "pr must be base64 text"),
        (changed(pr_data="===="), "malformed_body", "not base64"),
        (changed(pr_data="aXNsYW5k*"), "malformed_body", "not base64"),
        (changed(pr_data="é"), "malformed_body", "not base64"),
        (changed(pr_data=""), "malformed_body", "empty"),
        (changed(pr_data=base64.b64encode(b"island\n").decode()), "invalid_rows", "a header but no rows"),
        (changed(pr_data=base64.b64encode(b"island\n\xff\xff\xff").decode()), "malformed_body", "neither utf-8"),
        (changed(pr_data=base64.b64encode(b"island,sex\nDream\n").decode()), "invalid_rows", "1 fault"),
        (changed(pr_data=base64.b64encode(b"a,a\n1,2\n" * 2).decode()), "invalid_rows", "1 fault in 1 of 3 rows"),
        (manual_body("island\nDream\n", pc="id"), "malformed_body", "no column “id”"),
    ],
)
def test_what_is_no_request_is_refused(load: Load, body: Any, code: str, words: str) -> None:
    predictor = load(made.penguins())
    problem = refused(predictor, "predict", body)

    assert problem.kind.code == code
    assert words in problem.detail


def test_an_input_named_twice_is_refused(load: Load) -> None:
    body = manual_body("island\nDream\n")
    body["inputs"].append(body["inputs"][1])

    assert "names ar twice" in refused(load(made.penguins()), "predict", body).detail


def test_every_refusal_on_predict_has_the_manual_s_members(load: Load) -> None:
    problem = refused(load(made.penguins()), "predict", {"inputs": []})

    document = problem_body(problem, "id", types_url="https://docs", with_manual_members=True)

    assert b'"error_code":"4001030104","error":"BAD_REQUEST","message":"Invalid request"' in document


def test_as_many_rows_as_reasons_can_be_given_for(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.reasons.MAX_PREDICTIONS", 14)  # of seven predictions a row
    predictor = load(made.penguins())

    assert len(manual(predictor, "island\n" + "Dream\n" * 2, ar=True)[ANALYSIS]) == 3
    assert "at most 2" in refused(predictor, "predict", manual_body("island\n" + "Dream\n" * 3, ar=True)).detail
