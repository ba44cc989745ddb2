"""What a model is, from its graph, its metadata file and a sample: who wins, and what contradicts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from apimgmt.registry.metadata import DescriptionRefused, metadata_from
from apimgmt.registry.spec_builder import Description, describe
from contract.model_spec import Column
from inference.engines.onnx.ports import port
from inference.signature import InputCategories, Signature
from tests.apimgmt.registry import makers

MATRIX = Signature(
    inputs=(port("X", "tensor(float)", (None, 3)),),
    outputs=(port("label", "tensor(int64)", (None,)), port("probabilities", "tensor(float)", (None, 2))),
    labels={"label": (0, 1)},
)
NAMES = ("age", "town", "visits", "member")
COLUMNS = Signature(
    inputs=(
        port("age", "tensor(float)", (None, 1)),
        port("town", "tensor(string)", (None, 1)),
        port("visits", "tensor(int64)", (None, 1)),
        port("member", "tensor(bool)", (None,)),
    ),
    outputs=(port("variable", "tensor(float)", (None, 1)),),
)
SAMPLE = b"age,town,visits,member,spent\n30,Oslo,2,true,9.5\n41.5,Rome,3,false,1\n"


def by_name(description: Description) -> dict[str, Column]:
    return {column.name: column for column in description.spec.columns}


def columns(names: Iterable[str], **changed: dict) -> dict:
    """Metadata that lists columns, some of them with more than a name."""
    return {"columns": [{"name": name, **changed.get(name, {})} for name in names]}


def refused(
    signature: Signature, document: dict | None = None, sample: bytes | None = None, target: str | None = None
) -> str:
    with pytest.raises(DescriptionRefused) as refusal:
        describe(signature, metadata_from(document) if document is not None else None, sample, target)
    return str(refusal.value)


def test_a_bare_matrix_gets_numbered_columns() -> None:
    spec = describe(MATRIX).spec

    assert (spec.input, spec.target) == ("matrix", "prediction")
    assert [column.name for column in spec.columns] == ["x0", "x1", "x2"]
    assert spec.sample == {"x0": 0.0, "x1": 0.0, "x2": 0.0}


def test_bare_columns_have_the_graphs_names_and_types() -> None:
    spec = describe(COLUMNS).spec

    assert [(column.name, column.type, column.baseline) for column in spec.columns] == [
        ("age", "float", 0.0),
        ("town", "string", ""),
        ("visits", "int", 0),
        ("member", "bool", False),
    ]


def test_a_sample_names_and_describes_a_matrix() -> None:
    spec = describe(MATRIX, sample_csv=b"a,b,c,y\n1,2.5,3,0\n5,6,7,1\n", target="y").spec

    assert [(column.name, column.type) for column in spec.columns] == [(name, "float") for name in "abc"]
    assert (spec.sample, spec.target) == ({"a": 1, "b": 2.5, "c": 3}, "y")


def test_the_metadata_wins_over_the_sample_and_the_sample_over_the_graph() -> None:
    stated = {
        "columns": [{"name": name} for name in ("age", "visits", "member")] + [{"name": "town", "baseline": "Rome"}]
    }

    description = describe(COLUMNS, metadata_from(stated), SAMPLE, "spent")

    town = by_name(description)["town"]
    assert (town.baseline, town.categories) == ("Rome", ("Oslo", "Rome"))
    assert [column.name for column in description.spec.columns] == ["age", "town", "visits", "member"]
    assert description.sources["column town"] == "metadata file"
    assert description.spec.sample["age"] == 30.0


def test_a_whole_number_baseline_of_a_float_column_is_a_float() -> None:
    stated = {"columns": [{"name": name, "baseline": 1} for name in "abc"]}

    assert by_name(describe(MATRIX, metadata_from(stated)))["a"].baseline == 1.0


def test_gaps_in_the_sample_are_to_be_tried_out() -> None:
    description = describe(MATRIX, sample_csv=b"a,b,c\n1,,3\n1,2,3\n")

    assert description.unproven == ("b",)
    assert not by_name(description)["b"].nullable


def test_a_graph_that_treats_missing_numbers_is_tried_out() -> None:
    signature = Signature(inputs=COLUMNS.inputs, outputs=COLUMNS.outputs, treats_missing=True)

    stated = metadata_from(columns(NAMES, town={"baseline": "Oslo"}))
    assert describe(signature, stated).unproven == ("age",)


def test_a_text_of_which_nothing_is_known_is_tried_out_as_missing() -> None:
    assert describe(COLUMNS).unproven == ("town",)


def test_stated_nullability_has_to_be_proven() -> None:
    stated = {"columns": [{"name": "a", "nullable": True}, {"name": "b", "nullable": False}, {"name": "c"}]}

    description = describe(MATRIX, metadata_from(stated), b"a,b,c\n1,,3\n1,2,\n")

    assert (description.stated_nullable, description.unproven) == (("a",), ("c",))


def test_a_nullable_column_may_be_absent_from_the_stated_sample() -> None:
    stated = {"columns": [{"name": "a", "nullable": True}, {"name": "b"}, {"name": "c"}], "sample": {"b": 1, "c": 2}}

    assert describe(MATRIX, metadata_from(stated)).spec.sample == {"a": None, "b": 1, "c": 2}


def test_one_number_per_row_is_a_column_or_a_matrix_of_one() -> None:
    signature = Signature(inputs=(port("X", "tensor(float)", (None, 1)),), outputs=COLUMNS.outputs)

    assert describe(signature).spec.input == "columns"
    assert describe(signature, metadata_from({"input": "matrix"})).spec.columns[0].name == "x0"


@pytest.mark.parametrize(
    ("signature", "document", "words"),
    [
        (MATRIX, {"columns": [{"name": "a"}]}, "columns: the metadata has 1, the graph takes 3"),
        (MATRIX, {"input": "columns"}, "input: the metadata says columns, the graph takes one matrix"),
        (COLUMNS, {"input": "matrix"}, "input: the metadata says matrix, the graph takes one input per column"),
        (COLUMNS, {"columns": [{"name": "age"}, {"name": "city"}]}, "the graph also takes town, visits, member"),
        (COLUMNS, {"columns": [{"name": "age"}, {"name": "city"}]}, "the graph does not take city"),
        (MATRIX, columns("abc", a={"type": "string"}), "the metadata says string, the graph takes float"),
        (MATRIX, {"sample": {"x0": 1, "x1": 2}}, "sample: x2 is missing"),
        (MATRIX, {"sample": {"x0": 1, "x1": 2, "x2": None}}, "sample: x2 is null, and the column is not nullable"),
        (MATRIX, {"sample": {"x0": 1, "x1": 2, "x2": "a"}}, "sample: x2 must be float"),
        (MATRIX, {"sample": {"x0": 1, "x1": 2, "x2": 3, "x4": 4}}, "sample: the model has no column x4"),
        (COLUMNS, columns(NAMES, visits={"nullable": True}), "column visits: it can't be nullable"),
        (COLUMNS, columns(NAMES, town={"baseline": 3}), "column town: the baseline must be string"),
    ],
)
def test_metadata_that_contradicts_the_graph_is_refused(signature: Signature, document: dict, words: str) -> None:
    assert words in refused(signature, document)


@pytest.mark.parametrize(
    ("signature", "sample", "words"),
    [
        (
            MATRIX,
            b"a,b,c,y\n1,2,3,4\n",
            "The sample has 4 columns, the model takes 3. If one of them is what is predicted",
        ),
        (MATRIX, b"a\n1\n", "The sample has 1 columns, the model takes 3"),
        (MATRIX, b"a,b,c\n1,2,red\n", "column c: the sample holds string, the model takes float or int or bool"),
        (COLUMNS, b"age,town\n1,Oslo\n", "The sample lacks columns that the model takes: visits, member"),
        (
            COLUMNS,
            b"age,town,visits,member\n1,Oslo,2.5,true\n",
            "column visits: the sample holds float, the model takes int or bool",
        ),
    ],
    ids=makers.case_id,
)
def test_a_sample_that_contradicts_the_graph_is_refused(signature: Signature, sample: bytes, words: str) -> None:
    assert words in refused(signature, sample=sample)


def test_an_open_width_nobody_knows_is_asked_for() -> None:
    signature = Signature(inputs=(port("X", "tensor(float)", (None, None)),), outputs=COLUMNS.outputs)

    assert "Give a sample CSV, or a metadata file with columns" in refused(signature)


# --- categories and ranges -------------------------------------------------------------------------------------------


def listing(*values: str | int, takes_others: bool, name: str = "town") -> Signature:
    found = InputCategories(name, 0, values, takes_others)
    return Signature(inputs=COLUMNS.inputs, outputs=COLUMNS.outputs, categories=(found,))


def test_the_graphs_own_list_beats_the_samples() -> None:
    signature = listing("Oslo", "Rome", "NA", " Private", takes_others=False)

    column = by_name(describe(signature, sample_csv=SAMPLE.replace(b"Rome", b"NA"), target="spent"))["town"]

    assert (column.categories, column.is_closed) == (("Oslo", "Rome", "NA", " Private"), True)
    assert not column.nullable


def test_a_list_that_takes_others_is_not_closed() -> None:
    assert not by_name(describe(listing("Oslo", takes_others=True)))["town"].is_closed


def test_categories_that_a_closed_list_lacks_are_refused() -> None:
    signature = listing("Oslo", " Private", takes_others=False)

    words = refused(signature, columns(NAMES, town={"categories": ["Oslo", "Paris"]}))
    stated = describe(signature, metadata_from(columns(NAMES, town={"categories": ["Private"], "baseline": "Private"})))

    assert "the graph can't take the category Paris" in words
    town = by_name(stated)["town"]
    assert (town.categories, town.baseline) == (("Oslo", " Private"), " Private")


def test_whole_numbers_are_categories_too() -> None:
    visits = by_name(describe(listing(1, 2, 3, takes_others=False, name="visits")))["visits"]

    assert (visits.type, visits.categories, visits.is_closed) == ("int", ("1", "2", "3"), True)


def test_a_range_is_known_where_it_was_stated_or_many_rows_showed_it() -> None:
    few = describe(COLUMNS, sample_csv=SAMPLE, target="spent")
    many = describe(COLUMNS, sample_csv=SAMPLE + b"1,Oslo,2,true,1\n" * 200, target="spent")
    stated = describe(COLUMNS, metadata_from(columns(NAMES, age={"max": 100})))

    assert [by_name(one)["age"].is_range_known for one in (few, many, stated)] == [False, True, True]
    assert not by_name(stated)["visits"].is_range_known


def test_a_sample_of_whole_numbers_does_not_narrow_a_column_that_takes_others() -> None:
    age = by_name(describe(COLUMNS, sample_csv=SAMPLE.replace(b"41.5", b"41"), target="spent"))["age"]

    assert (age.type, age.min, age.max) == ("float", 30, 41)


def test_digits_stay_text_in_a_matrix_of_text() -> None:
    signature = Signature(inputs=(port("X", "tensor(string)", (None, 2)),), outputs=COLUMNS.outputs)

    spec = describe(signature, sample_csv=b"zip,code\n01234,7\n").spec

    assert ([column.type for column in spec.columns], spec.sample) == (
        ["string", "string"],
        {"zip": "01234", "code": "7"},
    )
