"""Copied calls are calls: a shell and Python read back exactly the address, key and row."""

from __future__ import annotations

import ast
import json
import shlex

import pytest

from apimgmt.calling import examples
from contract.model_spec import Column, ModelSpec
from tests.meant_models import choosing, passing

URL = "http://127.0.0.1:8080/apis/abc/predict"
NASTY = 'O\'Neill "x" $HOME `id` \\ é\n'


def spec(task: str = "multiclass", value: object = NASTY, wide: int = 0) -> ModelSpec:
    columns = [Column(name="b's", type="string"), *(Column(name=f"x{n}", type="float") for n in range(wide))]
    sample = {f"x{n}": n / 2 for n in range(wide)} | {"b's": value}
    classes = () if task == "regression" else ("a", "b", "c")
    return ModelSpec(task=task, classes=classes, columns=tuple(columns), input="columns", sample=sample)


@pytest.mark.parametrize("wide", [0, 30])
def test_a_shell_reads_back_the_row_and_the_key(wide):
    words = shlex.split(examples.curl_json(URL, spec(wide=wide), key="pak_x'y"))

    assert words[:2] == ["curl", URL]
    assert "x-api-key: pak_x'y" in words
    assert json.loads(words[words.index("-d") + 1]) == {"rows": [spec(wide=wide).sample]}


def test_without_a_key_the_shell_fills_it_in():
    assert '-H "x-api-key: $API_KEY"' in examples.curl_json(URL, spec())


@pytest.mark.parametrize("wide", [0, 30])
def test_the_python_call_is_python_with_the_same_row(wide):
    tree = ast.parse(examples.python_call(URL, spec(wide=wide)))

    rows = next(node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.targets[0].id == "rows")
    assert ast.literal_eval(rows) == [spec(wide=wide).sample]


def test_the_row_is_in_the_order_of_the_columns():
    assert list(json.loads(examples.sample_row(spec(wide=3)))) == ["b's", "x0", "x1", "x2"]


def test_made_up_probabilities_sum_to_one():
    prediction = json.loads(examples.reply_json(spec()))["predictions"][0]

    assert prediction["class"] == "a"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("made", "prediction", "csv", "text"),
    [
        (choosing(["a", "b"]), {"class": "a"}, "prediction\na", "the class that the model names:"),
        (
            choosing([-1, 1], width=1, role="scores", task="anomaly"),
            {"class": "-1", "score": 0.7},
            "prediction,score\n-1,0.7",
            "its score, which is no probability:",
        ),
        (
            choosing(["a", "b"], width=2, role="scores"),
            {"class": "a", "scores": {"a": 2.3, "b": 0.6}},
            "prediction,score_a,score_b\na,2.3,0.6",
            "the score of each class, which is no probability:",
        ),
        (
            passing(("y", "float", ["height", "weight"])),
            {"values": {"height": 152.1, "weight": 76.0}},
            "height,weight\n152.1,76.0",
            "each predicted value by its name:",
        ),
    ],
)
def test_examples_have_what_the_meaning_says(made, prediction, csv, text):
    described = made[0]

    assert json.loads(examples.reply_json(described))["predictions"] == [prediction]
    assert examples.reply_csv(described) == csv
    assert examples.answer_text(described).endswith(text)


def test_a_class_alone_is_not_shown_how_to_ask_for_reasons():
    described = choosing(["a", "b"])[0]

    anchors = {one.anchor for one in examples.format_examples("http://x", described, "m")}

    assert "kserve-v1" in anchors
    assert "kserve-v1-explain" not in anchors


def test_a_regression_answers_a_value():
    assert json.loads(examples.reply_json(spec("regression")))["predictions"] == [{"value": 152.1}]
    assert examples.reply_csv(spec("regression")).startswith("prediction\n")
