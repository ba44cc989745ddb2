"""The metadata file: every key, what it may be, and what a person is told when it is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apimgmt.registry.metadata import DescriptionRefused, metadata_from, parse_metadata
from contract.model_spec import Score
from tests.apimgmt.registry import makers

COLUMN = {"name": "age", "type": "float"}


def refused(document: Any) -> list[str]:
    with pytest.raises(DescriptionRefused) as refusal:
        metadata_from(document)
    assert refusal.value.field == "metadata"
    return refusal.value.faults


@pytest.mark.parametrize("name", ["penguins", "breast_cancer", "diabetes"])
def test_a_demo_models_file_is_read_whole(name: str) -> None:
    content = (makers.DEMO_MODELS / f"{name}.json").read_bytes()

    metadata = parse_metadata(content)

    document = json.loads(content)
    assert [column.name for column in metadata.columns] == [column["name"] for column in document["columns"]]
    assert metadata.sample == document["sample"]
    assert metadata.score.rows == document["score"]["rows"]


def test_everything_is_optional() -> None:
    metadata = parse_metadata(b"{}")

    assert (metadata.task, metadata.columns, metadata.sample) == (None, None, None)


def test_integer_classes_are_taken_as_text() -> None:
    assert metadata_from({"classes": [3, 7]}).classes == ("3", "7")


def test_a_score_needs_no_rows() -> None:
    assert metadata_from({"score": {"name": "r2", "value": 0.4}}).score == Score("r2", 0.4)


def test_unknown_keys_are_refused_by_name() -> None:
    faults = refused({"tsk": "binary", "columns": [{**COLUMN, "colour": "red"}]})

    assert faults[0].startswith("tsk: unknown key; known are task, target")
    assert faults[1].startswith("columns[0].colour: unknown key; known are name, type")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "the file: expected an object, found []."),
        ({"task": "ranking"}, 'task: expected one of binary, multiclass, regression, anomaly, found "ranking".'),
        ({"target": 3}, "target: expected text, found 3."),
        ({"target": " "}, 'target: expected text, found " ".'),
        ({"classes": "a"}, 'classes: expected a list of texts, found "a".'),
        ({"classes": ["a"]}, 'classes: expected at least two classes, found ["a"].'),
        ({"classes": ["a", "a"]}, 'classes: expected a list of different texts, found ["a", "a"].'),
        ({"classes": ["a", 1.5]}, 'classes: expected a list of texts, found ["a", 1.5].'),
        ({"input": "rows"}, 'input: expected one of columns, matrix, found "rows".'),
        ({"description": 1}, "description: expected text, found 1."),
        ({"columns": {}}, "columns: expected a list of columns, found {}."),
        ({"columns": []}, "columns: expected a list of columns, found []."),
        ({"columns": ["age"]}, 'columns[0]: expected an object, found "age".'),
        ({"columns": [{"type": "int"}]}, "columns[0]: the name is missing."),
        (
            {"columns": [{**COLUMN, "type": "number"}]},
            'columns[0].type: expected one of float, int, string, bool, found "number".',
        ),
        ({"columns": [{**COLUMN, "min": "low"}]}, 'columns[0].min: expected a number, found "low".'),
        ({"columns": [{**COLUMN, "max": True}]}, "columns[0].max: expected a number, found true."),
        ({"columns": [{**COLUMN, "nullable": "yes"}]}, 'columns[0].nullable: expected true or false, found "yes".'),
        ({"columns": [{**COLUMN, "categories": [1]}]}, "columns[0].categories: expected a list of texts, found [1]."),
        ({"columns": [{**COLUMN, "unit": 5}]}, "columns[0].unit: expected text, found 5."),
        (
            {"columns": [{**COLUMN, "baseline": []}]},
            "columns[0].baseline: expected a number, text, true, false or null, found [].",
        ),
        ({"columns": [COLUMN, COLUMN]}, "columns: age is there twice."),
        ({"columns": [{**COLUMN, "min": 2, "max": 1}]}, "column age: min 2 is above max 1."),
        ({"columns": [{**COLUMN, "baseline": "old"}]}, 'column age: the baseline must be float, found "old".'),
        ({"columns": [{**COLUMN, "type": "int", "baseline": 1.5}]}, "column age: the baseline must be int, found 1.5."),
        (
            {"columns": [{**COLUMN, "type": "bool", "min": 0}]},
            "column age: min and max are for numbers, the type is bool.",
        ),
        ({"columns": [{**COLUMN, "categories": ["a"]}]}, "column age: categories are for text, the type is float."),
        ({"sample": [1]}, "sample: expected an object: column name to value, found [1]."),
        ({"sample": {"age": [1]}}, "sample.age: expected a number, text, true, false or null, found [1]."),
        ({"score": {"name": "r2"}}, 'score: expected an object with name and value, found {"name": "r2"}.'),
        ({"score": {"name": "r2", "value": "good"}}, 'score.value: expected a number, found "good".'),
        ({"score": {"name": "r2", "value": 1, "rows": -1}}, "score.rows: expected a whole number, found -1."),
        ({"task": "regression", "classes": ["a", "b"]}, "classes: a regression has none."),
        ({"task": "binary", "classes": ["a", "b", "c"]}, "classes: binary means two classes, found 3."),
    ],
)
def test_a_wrong_value_says_what_was_expected(document: Any, fault: str) -> None:
    assert fault in refused(document)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON: line 1, column 1"),
        (b"{", "not JSON: line 1, column 2"),
        (b'{"task": "binary",\n "target" "x"}', "not JSON: line 2, column 11"),
        (b'{"target": "\xff"}', "not UTF-8 text (byte 12)"),
        (b'{"task": "binary", "task": "regression"}', 'the key "task" is there twice'),
        (b'{"score": {"name": "r2", "value": NaN}}', "NaN is no JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * 5_000_000, "larger than a metadata file can be"),
    ],
    ids=makers.case_id,
)
def test_what_is_no_json_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(DescriptionRefused) as refusal:
        parse_metadata(content)

    assert words in str(refusal.value)


def test_a_byte_order_mark_is_taken() -> None:
    assert parse_metadata(b'\xef\xbb\xbf{"target": "y"}').target == "y"


def test_a_long_list_of_faults_is_cut() -> None:
    faults = refused({f"key{number}": 1 for number in range(500)})

    assert len(faults) == 21
    assert faults[-1] == "… and 480 more."
