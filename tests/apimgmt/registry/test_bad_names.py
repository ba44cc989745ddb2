"""Names of every kind, and far too many of them, by page and by command: taken as they are, or refused in words."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from apimgmt.models import ModelVersion, Workspace
from apimgmt.registry.review.fields import fits_in_field
from contract.model_spec import ModelSpec
from tests.apimgmt.registry import makers
from tests.apimgmt.registry.conftest import stored_files
from tests.apimgmt.registry.test_register_page import cells, review_of, signed_in, text_file, upload

MANY = 10_000
NUL, HALF = "a\0b", "a\ud800b"
CANNOT_BE_STORED = "has a character that can't be stored"

Refusing = Callable[..., str]
"""(content, metadata=document, sample=bytes, target=text) -> the sentence that refuses it, after nothing was kept."""


@pytest.fixture
def operator(workspace: Workspace, store: Path) -> Client:
    return signed_in("operator", workspace)


def error_beside(page: HttpResponse, field: str) -> str:
    """The words of the error that belongs to a field of the upload form; "" for none."""
    told = page.context["form"].errors.get(field, [])
    shown = unescape(page.content.decode())
    assert all(one in shown for one in told)
    return " ".join(told)


@pytest.fixture(params=["page", "command"])
def refusing(
    request: pytest.FixtureRequest, operator: Client, workspace: Workspace, store: Path, tmp_path: Path
) -> Refusing:
    def by_page(content: bytes, beside: str, given: dict[str, bytes]) -> str:
        files = {name: text_file(name, document) for name, document in given.items()}
        page = upload(operator, workspace, content, **files)
        assert page.status_code == 422
        return error_beside(page, beside)

    def by_command(content: bytes, beside: str, given: dict[str, bytes]) -> str:
        (tmp_path / "m.onnx").write_bytes(content)
        for name, document in given.items():
            (tmp_path / name).write_bytes(document)
        with pytest.raises(CommandError) as caught:
            call_command("register_model", tmp_path / "m.onnx", name="M", **{one: tmp_path / one for one in given})
        return str(caught.value)

    def refuse(content: bytes, *, beside: str, metadata: Any = None, sample: bytes | None = None) -> str:
        given = {} if metadata is None else {"metadata": json.dumps(metadata).encode()}
        given |= {} if sample is None else {"sample": sample}
        sentence = (by_page if request.param == "page" else by_command)(content, beside, given)
        assert not ModelVersion.objects.exists()
        sentence.encode()  # it can be shown
        return sentence

    return refuse


def softmax_of(n_classes: int) -> bytes:
    weights = np.random.default_rng(0).normal(size=(4, n_classes)).astype(np.float32)
    return makers.drawn(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"])],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("p", TensorProto.FLOAT, ["n", n_classes])],
        tensors={"w": weights},
    )


def columns(**rest: Any) -> list[dict[str, Any]]:
    return [{"name": name, "type": "float"} | rest for name in "abcd"]


# --- far too many -----------------------------------------------------------------------------------------------------


def test_ten_thousand_names_for_three_classes(refusing: Refusing) -> None:
    names = [f"c{index}" for index in range(MANY)]

    by_list = refusing(makers.iris("int"), beside="metadata", metadata={"classes": names})
    by_label = refusing(makers.iris("int"), beside="metadata", metadata={"classes": dict(enumerate(names))})

    assert by_list == "classes: 10000 are named, the model has 3."
    assert by_label.startswith("classes: the model has no label 3, 4, 5")
    assert by_label.endswith("Its labels are 0, 1, 2.")


def test_a_model_of_ten_thousand_classes(refusing: Refusing) -> None:
    names = [f"c{index}" for index in range(MANY)]

    named = refusing(softmax_of(MANY), beside="metadata", metadata={"classes": names})

    assert named == "classes: the model has 10000; from 2 to 2000 can be served."


# --- what contradicts the model ---------------------------------------------------------------------------------------

TOO_LARGE = 10**400
ALIKE = "two labels have the same name, or names that look the same: "


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"classes": {"0": "a", "1": "a ", "2": "c"}}, ALIKE + "“a”, “a ”."),
        ({"classes": {"0": "é", "1": "e\u0301", "2": "c"}}, ALIKE),
        ({"classes": {"0": "A", "1": "\uff21", "2": "c"}}, ALIKE),
        ({"classes": ["a", "b", "\u3000b"]}, ALIKE),
        ({"classes": {"zero": "a", "1": "b", "2": "c"}}, "lacks the labels 0, and has zero, which are no labels"),
        ({"classes": {"00": "a", "1": "b", "2": "c"}}, "lacks the labels 0, and has 00, which are no labels"),
        ({"task": "regression"}, "task: the metadata says regression, the model has 3 classes."),
        ({"task": "anomaly"}, "task: the metadata says anomaly, the model has 3 classes."),
        ({"columns": columns(min=-TOO_LARGE)}, "columns[0].min: expected a number, found -1000"),
        ({"columns": columns(baseline=TOO_LARGE)}, "columns[0].baseline: expected a number"),
        ({"sample": {"a": TOO_LARGE}}, "sample.a: expected a number"),
        ({"score": {"name": "R²", "value": TOO_LARGE}}, "score.value: expected a number"),
        ({"score": {"name": "R²", "value": 1, "rows": 10**30}}, "score.rows: expected a whole number"),
    ],
)
def test_metadata_that_can_not_be_true(refusing: Refusing, document: dict[str, Any], words: str) -> None:
    assert words in refusing(makers.iris("int"), beside="metadata", metadata=document)


@pytest.mark.parametrize(
    ("document", "words"),
    [(b'{"score": ' + b"9" * 5000 + b"}", "a number has 5000 digits"), (b"[" * 100_000, "nested too deeply")],
)
def test_json_that_python_does_not_read_is_refused_in_words(
    operator: Client, workspace: Workspace, document: bytes, words: str
) -> None:
    page = upload(operator, workspace, makers.iris("int"), metadata=text_file("m.json", document))

    assert words in error_beside(page, "metadata")


def test_names_that_a_model_tells_apart_itself_stay_apart(operator: Client, workspace: Workspace) -> None:
    rows = np.array([[0.0], [1.0], [2.0]] * 9, np.float32)
    model = LogisticRegression().fit(rows, [" Private", "Private", "State"] * 9)
    review = review_of(operator, workspace, makers.converted(model, [("x", FloatTensorType([None, 1]))]))
    page = operator.get(review)

    alike = operator.post(review, cells(page) | {"class-2-name": "\uff50rivate", "class-1-name": "private"})
    saved = operator.post(review, cells(page))

    assert unescape(alike.content.decode()).count("This name is there twice.") == 2
    assert saved.status_code == 303
    assert ModelVersion.objects.get().spec["classes"] == [" Private", "Private", "State"]


# --- names of every kind ----------------------------------------------------------------------------------------------

NAMES = ["a, b; c", "“x” \"y\" 'z' <b>&amp;</b>", "line\nbreak\r\n\t😀 👩\u200d🔬 =1+1"]
STATED: dict[str, Any] = {"classes": dict(enumerate(NAMES))}


def test_the_page_keeps_names_of_every_kind(operator: Client, workspace: Workspace) -> None:
    metadata = text_file("m.json", json.dumps(STATED).encode())
    review = review_of(operator, workspace, makers.iris("int"), metadata=metadata)

    saved = operator.post(review, cells(operator.get(review)))

    assert saved.status_code == 303
    assert ModelVersion.objects.get().spec["classes"] == NAMES
    assert operator.get(saved["Location"]).status_code == 200


def test_the_command_keeps_them_and_prints_a_line_each(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(makers.iris("int"))
    (tmp_path / "m.json").write_text(json.dumps(STATED))
    printed = io.StringIO()

    call_command("register_model", tmp_path / "m.onnx", name="M", stdout=printed)

    lines = printed.getvalue().split("\n")
    first = lines.index(f"  0 → {NAMES[0]}")
    assert lines[first + 1] == f"  1 → {NAMES[1]}"
    assert json.loads(lines[first + 2].removeprefix("  2 → ")) == NAMES[2]
    assert ModelVersion.objects.get().spec["classes"] == NAMES


# --- what can't be stored ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [NUL, HALF], ids=["NUL", "half"])
@pytest.mark.parametrize(
    "place",
    ["class", "label", "column", "unit", "sample", "target", "description", "output", "score", "unknown key"],
)
def test_metadata_that_can_not_be_stored(refusing: Refusing, place: str, bad: str) -> None:
    document: dict[str, Any] = {
        "class": {"classes": {"0": bad, "1": "b", "2": "c"}},
        "label": {"classes": {bad: "a", "1": "b", "2": "c"}},
        "column": {"columns": [{"name": bad}, *columns()[1:]]},
        "unit": {"columns": columns(unit=bad)},
        "sample": {"columns": columns(), "sample": {"a": bad}},
        "target": {"target": bad},
        "description": {"description": bad},
        "output": {"outputs": {"label": bad}},
        "score": {"score": {"name": bad, "value": 1}},
        "unknown key": {bad: 1},
    }[place]

    sentence = refusing(makers.iris("int"), beside="metadata", metadata=document)

    assert CANNOT_BE_STORED in sentence
    assert json.dumps(bad)[1:-1] in sentence


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
@pytest.mark.parametrize("csv", ["a\0,b,c,d\n1,2,3,4\n", "a,b,c,d\n1,2,3,4\0\n"], ids=["header", "cell"])
def test_a_sample_that_can_not_be_stored(refusing: Refusing, csv: str, charset: str) -> None:
    sentence = refusing(makers.iris("int"), beside="sample", sample=csv.encode(charset))

    assert CANNOT_BE_STORED in sentence


def test_a_sample_in_utf_16_is_taken(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", "ä,b,c,d\n1,2,3,4\n".encode("utf-16"))

    assert review_of(operator, workspace, makers.iris("int"), sample=sample)


def relabelled(label: bytes) -> bytes:
    """Iris, whose first label is this one."""
    model = onnx.load_from_string(makers.iris("text"))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in {"classlabels_strings", "keys_strings", "values_strings"}:
                attribute.strings[0] = label
    return bytes(model.SerializeToString())


def with_output(name: str) -> bytes:
    """Iris, whose first output has this name."""
    model = onnx.load_from_string(makers.iris("int"))
    old = model.graph.output[0].name
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == old:
                node.output[index] = name
    model.graph.output[0].name = name
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("content", [relabelled(b"se\0tosa"), with_output("se\0tosa")], ids=["label", "output"])
def test_a_graph_that_can_not_be_stored(refusing: Refusing, store: Path, content: bytes) -> None:
    sentence = refusing(content, beside="file")

    assert CANNOT_BE_STORED in sentence
    assert not stored_files(store)


@pytest.mark.parametrize("given", [{"target": HALF}, {"outputs": [f"value={HALF}"]}], ids=["target", "output"])
def test_arguments_that_can_not_be_stored(
    workspace: Workspace, store: Path, tmp_path: Path, given: dict[str, Any]
) -> None:
    (tmp_path / "m.onnx").write_bytes(makers.iris("int"))

    with pytest.raises(CommandError, match=CANNOT_BE_STORED):
        call_command("register_model", tmp_path / "m.onnx", name="M", **given)


@pytest.mark.parametrize("cell", ["column-0-name", "column-0-unit", "target", "name", "class-0-name"])
def test_what_is_typed_on_the_review_and_can_not_be_stored(operator: Client, workspace: Workspace, cell: str) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    page = operator.post(review, cells(operator.get(review)) | {cell: NUL})

    words = page.content.decode()
    assert page.status_code == 422
    assert unescape(words).count(CANNOT_BE_STORED) + unescape(words).count("characters that can't be printed") == 1
    assert not ModelVersion.objects.exists()


# --- a form that is sent back as it came ------------------------------------------------------------------------------

ODD = ["line\nbreak", "carriage\r\nreturn", " blanks  around ", "tab\tand\x1bescape\u2028"]
HIDDEN_INPUT = re.compile(r'<input type="hidden" name="(?!csrfmiddlewaretoken)[^"]*" value="([^"]*)"')


def odd_texts() -> bytes:
    """Two classes from a column of texts that are odd themselves, and have odd names."""
    texts = np.array([[text] for text in [*ODD, " Private", "Private", ""]], dtype=object)
    labels = [ODD[index % 2] for index in range(len(texts))]
    pipeline = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(texts, labels)
    return makers.converted(pipeline, [("text", StringTensorType([None, 1]))])


def sent_back(operator: Client, workspace: Workspace, content: bytes, document: dict[str, Any]) -> ModelSpec:
    """The description that is stored, after it was tried and then saved on the page without a change."""
    given = {"metadata": text_file("m.json", json.dumps(document).encode())}
    review = review_of(operator, workspace, content, **given)
    tried = operator.post(review, cells(operator.get(review)) | {"try": "1"})
    page = operator.get(review)
    saved = operator.post(review, cells(page))
    assert (tried.status_code, saved.status_code) == (303, 303), unescape(saved.content.decode())
    assert all(fits_in_field(unescape(value)) for value in HIDDEN_INPUT.findall(page.content.decode()))
    return ModelVersion.objects.get().described()


def test_names_of_columns_come_back_as_they_were(operator: Client, workspace: Workspace) -> None:
    document = {
        "target": "kind\nof  thing",
        "columns": [{"name": name, "unit": f" {name}"} for name in ODD],
        "classes": dict(enumerate(ODD[:3])),
    }

    spec = sent_back(operator, workspace, makers.iris("int"), document)

    assert [column.name for column in spec.columns] == ODD
    assert [column.unit for column in spec.columns] == [f" {name}" for name in ODD]
    assert set(spec.sample) == set(ODD)
    assert spec.target == document["target"]
    assert list(spec.classes) == ODD[:3]


@pytest.mark.parametrize("sample", ODD)
def test_texts_of_a_column_come_back_as_they_were(operator: Client, workspace: Workspace, sample: str) -> None:
    document = {"columns": [{"name": "text", "type": "string", "baseline": sample}], "sample": {"text": sample}}

    spec = sent_back(operator, workspace, odd_texts(), document)

    (column,) = spec.columns
    assert set(column.categories or ()) == {*ODD, " Private", "Private", ""}
    assert (column.baseline, spec.sample["text"]) == (sample, sample)
    assert {one.label for one in spec.meaning.classes} == set(ODD[:2]) == set(spec.classes)


def test_a_blank_is_a_name(operator: Client, workspace: Workspace) -> None:
    ports = [(" ", TensorProto.FLOAT, ["n", 1]), ("b", TensorProto.FLOAT, ["n", 1])]
    graph = makers.drawn([helper.make_node("Sub", [" ", "b"], ["y"])], ports, [("y", TensorProto.FLOAT, ["n", 1])])

    spec = sent_back(operator, workspace, graph, {"task": "regression"})

    assert [column.name for column in spec.columns] == [" ", "b"]


def test_names_of_targets_come_back_as_they_were(operator: Client, workspace: Workspace) -> None:
    weights = np.array([[1, 20], [4, -5]], np.float32)
    graph = makers.drawn(
        [helper.make_node("MatMul", ["x", "w"], ["two\nlines"])],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("two\nlines", TensorProto.FLOAT, ["n", 2])],
        tensors={"w": weights},
    )
    targets = {"task": "regression", "outputs": {"value": [ODD[0], ODD[2]]}}

    spec = sent_back(operator, workspace, graph, targets)

    assert spec.meaning.targets == (ODD[0], ODD[2])
    assert [output.name for output in spec.meaning.outputs] == ["two\nlines"]


def test_labels_that_came_are_asked_for_as_they_are(operator: Client, workspace: Workspace) -> None:
    rows = "text\n" + "".join(f'"{text}"\n' for text in ["a\nb", " c "])
    graph = makers.drawn(
        [helper.make_node("StringConcat", ["text", "end"], ["label"])],
        [("text", TensorProto.STRING, ["n", 1])],
        [("label", TensorProto.STRING, ["n", 1])],
        tensors={"end": np.array(["!"], dtype=object)},
        opset=20,
    )
    review = review_of(operator, workspace, graph, sample=text_file("rows.csv", rows.encode()))
    page = operator.get(review)

    saved = operator.post(review, cells(page))

    assert saved.status_code == 303, unescape(saved.content.decode())
    assert {"a\nb!", " c !"} <= {one.label for one in ModelVersion.objects.get().described().meaning.classes}


def test_blanks_of_every_kind_and_emoji_can_be_typed(operator: Client, workspace: Workspace) -> None:
    names = {
        "class-0-name": "全角　空白",
        "class-1-name": "👩\u200d🔬",
        "column-0-name": "売上　金額",
        "column-1-name": "a  b",
    }
    review = review_of(operator, workspace, makers.iris("int"))

    saved = operator.post(review, cells(operator.get(review)) | names)

    spec = ModelVersion.objects.get().described()
    assert saved.status_code == 303
    assert spec.classes[:2] == ("全角　空白", "👩\u200d🔬")
    assert [column.name for column in spec.columns[:2]] == ["売上　金額", "a  b"]


def test_another_name_with_a_control_character_is_refused(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    page = operator.post(review, cells(operator.get(review)) | {"column-0-name": "a\u2028b"})

    assert page.status_code == 422
    assert unescape(page.content.decode()).count("The name has characters that can't be printed.") == 1
