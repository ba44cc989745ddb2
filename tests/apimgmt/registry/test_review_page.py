"""The review: what outputs and classes mean as it was found, asked where two readings are left, tried before saving."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.http import HttpResponse
from django.test import Client
from onnx import TensorProto, helper
from sklearn.datasets import load_iris

from apimgmt.models import ModelVersion, Workspace
from contract.meaning import Meaning, meaning_from_json
from tests.apimgmt.registry import makers
from tests.apimgmt.registry.test_register_page import cells, review_of, signed_in, text_file

CASES = Path(__file__).resolve().parents[2] / "cases"
IRIS_NAMES = ["setosa", "versicolor", "virginica"]


@pytest.fixture
def operator(workspace: Workspace, store: Path) -> Client:
    return signed_in("operator", workspace)


def case(name: str) -> bytes:
    return (CASES / f"{name}.onnx").read_bytes()


def stated(document: dict[str, Any]) -> Any:
    return text_file("m.json", json.dumps(document).encode())


def case_metadata(name: str) -> Any:
    return text_file("m.json", (CASES / f"{name}.json").read_bytes())


def iris_sample(*, is_named: bool = True) -> Any:
    """All 150 rows, labelled by name, or by 0, 1 and 2."""
    data = load_iris()
    lines = io.StringIO("sepal length,sepal width,petal length,petal width,kind\n")
    lines.seek(0, io.SEEK_END)
    for row, target in zip(data.data.tolist(), data.target.tolist(), strict=True):
        lines.write(",".join(map(str, row)) + f",{IRIS_NAMES[target] if is_named else target}\n")
    return text_file("iris.csv", lines.getvalue().encode())


def three_numbers() -> bytes:
    """Three linear numbers of two columns: values, scores, or neither."""
    weights = np.array([[1, 20, -3], [4, -5, 6]], np.float32)
    return makers.drawn(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 2])],
        [("y", TensorProto.FLOAT, ["n", 3])],
        tensors={"w": weights},
    )


def text(page: HttpResponse) -> str:
    return " ".join(page.content.decode().split())


def meaning() -> Meaning:
    return meaning_from_json(ModelVersion.objects.get().meaning)


def roles() -> dict[str, str]:
    return {output.name: output.role for output in meaning().outputs}


# --- outputs and questions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "task"), [("value", "regression"), ("probabilities", "binary")])
def test_an_output_with_two_readings_is_asked_and_the_answer_is_saved(
    operator: Client, workspace: Workspace, answer: str, task: str
) -> None:
    review = review_of(operator, workspace, makers.sigmoid())
    page = operator.get(review)
    unanswered = operator.post(review, cells(page))

    saved = operator.post(review, cells(page) | {"output-0-role": answer})

    assert cells(page)["output-0-role"] == ""
    assert "Is it a number that is predicted, or the probability of the second class?" in text(page)
    assert unanswered.status_code == 422
    assert "Choose what this output is." in text(unanswered)
    assert saved.status_code == 303
    assert (ModelVersion.objects.get().task, roles()) == (task, {"p": answer})


def test_an_unanswered_question_loses_nothing_that_was_typed(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.sigmoid())

    page = operator.post(review, cells(operator.get(review)) | {"name": "Other", "column-0-name": "mine"})

    assert (cells(page)["name"], cells(page)["column-0-name"]) == ("Other", "mine")
    assert not ModelVersion.objects.exists()


def test_several_targets_have_a_name_each(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, three_numbers())
    asked = cells(operator.get(review)) | {"output-0-role": "value", "try": "1", "column-1-name": "second"}
    tried = operator.post(review, asked)
    sent = cells(operator.get(review))
    named = {f"output-0-target-{index}": name for index, name in enumerate(["height", "weight", "age"])}

    twice = operator.post(review, sent | named | {"output-0-target-1": "height"})
    operator.post(review, sent | named)

    assert tried.status_code == 303
    assert sent["column-1-name"] == "second"
    assert "This name is there twice." in text(twice)
    assert meaning().targets == ("height", "weight", "age")


def test_trying_again_saves_nothing_and_shows_the_new_answers(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.softmax())

    operator.post(review, cells(operator.get(review)) | {"output-0-role": "probabilities", "try": "1"})

    page = operator.get(review)
    assert not ModelVersion.objects.exists()
    assert cells(page)["output-0-role"] == "probabilities"
    assert [cells(page)[f"class-{index}-name"] for index in range(3)] == ["0", "1", "2"]


def test_echoes_of_an_input_are_told_and_stay_told(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, case("passthrough_reg"))
    page = operator.get(review)

    saved = operator.post(review, cells(page))

    assert text(page).count("repeats an input. It is ignored.") == 2
    assert saved.status_code == 303
    assert sorted(roles().values()) == ["ignored", "ignored", "value"]
    assert [note.code for note in meaning().notes] == ["ignored_echo", "ignored_echo"]


def test_leaf_indices_beside_a_regression_are_told(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, case("rfr_leaf"))

    page = operator.get(review)

    assert "Regression" in text(page)
    assert "(leaf indices). It is ignored." in text(page)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"output-0-role": "label", "output-1-role": "value"}, "A model predicts either numbers or a class"),
        ({"output-0-role": "scores", "output-1-role": "scores"}, "Only one output can have this role."),
        ({"output-0-role": "ignored", "output-1-role": "ignored"}, "At least one output has to be the prediction."),
    ],
)
def test_roles_that_exclude_each_other_are_told_beside_them(
    operator: Client, workspace: Workspace, chosen: dict[str, str], words: str
) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    page = operator.post(review, cells(operator.get(review)) | chosen)

    assert page.status_code == 422
    assert words in text(page)
    assert cells(page)["output-1-role"] == chosen["output-1-role"]


def test_another_role_is_tried_before_it_is_saved(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"))

    saved = operator.post(review, cells(operator.get(review)) | {"output-1-role": "ignored"})

    assert saved.status_code == 303
    assert sorted(roles().values()) == ["ignored", "label"]


def test_margins_are_shown_as_scores_or_refused(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", (CASES / "linear_svc_binary_sample.csv").read_bytes())
    metadata = case_metadata("linear_svc_binary")
    review = review_of(operator, workspace, case("linear_svc_binary"), metadata=metadata, sample=sample)

    page = operator.get(review)

    assert "scores" in cells(page).values()
    assert "probabilities" not in cells(page).values()


def test_a_threshold_in_the_graph_is_told_with_a_row(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, case("thr"), metadata=case_metadata("thr"))

    page = operator.get(review)
    operator.post(review, cells(page))

    assert "The label counts." in text(page)
    assert "check_threshold" in {note.code for note in meaning().notes}


def test_labels_of_an_outlier_detector_are_asked_for_their_task(operator: Client, workspace: Workspace) -> None:
    graph = makers.unrelated(-1, 2, 2, width=1)
    sample = text_file("rows.csv", b"a,b\n0,-3.5\n1,2.5\n0,4\n1,-1\n")
    review = review_of(operator, workspace, graph, sample=sample)
    page = operator.get(review)

    unanswered = operator.post(review, cells(page))
    saved = operator.post(review, cells(page) | {"task": "anomaly"})

    assert "Is this an anomaly detector" in text(page)
    assert cells(page)["task"] == ""
    assert unanswered.status_code == 422
    assert 'id="task-error"' in text(unanswered)
    assert saved.status_code == 303
    assert ModelVersion.objects.get().task == "anomaly"
    assert [one.label for one in meaning().classes] == [-1, 1]


# --- classes ----------------------------------------------------------------------------------------------------------


def test_classes_show_the_models_label_beside_the_name(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, case("stars"), metadata=case_metadata("stars"))
    page = operator.get(review)

    operator.post(review, cells(page) | {"class-0-name": "one, “first” 😀"})

    assert '<th scope="row" class="mono exact">0</th>' in text(page)
    assert [(one.label, one.name) for one in meaning().classes] == [
        (0, "one, “first” 😀"), (1, "2"), (2, "3"), (3, "4"), (4, "5"),
    ]  # fmt: skip


def test_the_graphs_labels_in_another_order_are_refused_with_the_mapping(
    operator: Client, workspace: Workspace
) -> None:
    page = operator.post(
        "/models/register/",
        {
            "workspace": workspace.pk,
            "name": "Mine",
            "file": text_file("model.onnx", case("flip_tensor")),
            "metadata": case_metadata("flip_tensor"),
        },
    )

    assert page.status_code == 422
    assert "Write a mapping from label to name instead" in text(page)


SCATTERED = b"pick,n0,n1,n2\n0,2,1,0\n1,3,1,2\n2,1,0,5\n0,0,2,4\n1,7,3,3\n2,9,8,1\n"


def test_numbers_whose_labels_nobody_knows_are_asked_for_their_order(operator: Client, workspace: Workspace) -> None:
    graph = makers.unrelated(3, 2, 3, width=3)
    review = review_of(operator, workspace, graph, sample=text_file("rows.csv", SCATTERED))
    page = operator.get(review)
    answers = {"asked-0-label": "7", "asked-1-label": "3", "asked-2-label": "5", "asked-1-name": "three, “3”"}

    unanswered = operator.post(review, cells(page))
    saved = operator.post(review, cells(page) | answers)

    assert "which of its numbers belongs to which class" in text(page)
    assert [cells(page)[f"asked-{index}-label"] for index in range(3)] == ["", "", ""]
    assert (unanswered.status_code, text(unanswered).count("Which label is it?")) == (422, 3)
    assert saved.status_code == 303, text(saved)
    assert [(one.label, one.name) for one in meaning().classes] == [(7, "7"), (3, "three, “3”"), (5, "5")]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (("7", "3", "3"), "This label is there twice."),
        (("7", "3", "five"), "is no label of this model: its labels are of type int."),
        (("7", "3", "4"), "The model answered with these labels, which are missing here: 5."),
    ],
)
def test_labels_that_can_not_be_are_told_beside_them(
    operator: Client, workspace: Workspace, answers: tuple[str, ...], words: str
) -> None:
    graph = makers.unrelated(3, 2, 3, width=3)
    review = review_of(operator, workspace, graph, sample=text_file("rows.csv", SCATTERED))
    typed = {f"asked-{index}-label": label for index, label in enumerate(answers)}

    page = operator.post(review, cells(operator.get(review)) | typed)

    assert page.status_code == 422
    assert words in unescape(text(page))
    assert cells(page)["asked-2-label"] == answers[2]
    assert not ModelVersion.objects.exists()


def test_a_label_alone_shows_those_that_came_and_takes_more(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.unrelated(0, 1, 2), sample=text_file("rows.csv", b"X\n0\n1\n0\n1\n"))
    page = operator.get(review)
    sent = cells(page)

    tried = operator.post(review, sent | {"asked-2-label": "2", "asked-2-name": "never", "try": "1"})
    shown = operator.get(review)
    saved = operator.post(review, cells(shown))

    assert [sent["asked-0-label"], sent["asked-1-label"], sent["asked-2-label"]] == ["0", "1", ""]
    assert (tried.status_code, saved.status_code) == (303, 303)
    assert "Labels and order from: this page" in text(shown)
    assert [(one.label, one.name) for one in meaning().classes] == [("0", "0"), ("1", "1"), ("2", "never")]


def test_many_classes_are_shown_and_not_edited(operator: Client, workspace: Workspace) -> None:
    names = [f"class {index}" for index in range(201)]
    weights = np.random.default_rng(0).normal(size=(4, 201)).astype(np.float32)
    graph = makers.drawn(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"])],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("p", TensorProto.FLOAT, ["n", 201])],
        tensors={"w": weights},
    )
    review = review_of(operator, workspace, graph, metadata=stated({"classes": names}))
    page = operator.get(review)

    saved = operator.post(review, cells(page))

    assert "name them in a metadata file" in text(page)
    assert "class-0-name" not in cells(page)
    assert saved.status_code == 303
    assert [one.name for one in meaning().classes] == names


# --- what only the owner knows ----------------------------------------------------------------------------------------


def test_labels_beside_other_probabilities_need_a_tick(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.mostly(), sample=text_file("rows.csv", makers.mostly_sample()))
    page = operator.get(review)

    unticked = operator.post(review, cells(page) | {"target": "class"})
    saved = operator.post(review, cells(page) | {"confirm-agreement": "1"})

    assert "clear rows the label is another class" in text(page)
    assert unticked.status_code == 422
    assert 'id="confirm-agreement-error"' in text(unticked)
    assert cells(unticked)["target"] == "class"
    assert saved.status_code == 303
    assert "check_agreement" in {note.code for note in meaning().notes}


def test_a_tick_is_no_word_on_roles_that_the_page_did_not_show(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.mostly(), sample=text_file("rows.csv", makers.mostly_sample()))
    chosen = cells(operator.get(review)) | {"output-1-role": "scores", "confirm-agreement": "1", "try": "1"}
    operator.post(review, chosen)
    other = cells(operator.get(review))

    again = operator.post(review, other | {"output-1-role": "probabilities", "confirm-agreement": "1"})

    assert again.status_code == 422
    assert "that showed something new" in text(again)
    assert not ModelVersion.objects.exists()


def test_proposed_names_stay_to_be_confirmed_after_a_trial(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"), sample=iris_sample(), target="kind")
    operator.post(review, cells(operator.get(review)) | {"try": "1"})
    page = operator.get(review)

    unticked = operator.post(review, cells(page))
    saved = operator.post(review, cells(page) | {"confirm-names": "1"})

    assert (unticked.status_code, saved.status_code) == (422, 303)


def falling(rows: int) -> Any:
    """A labelled sample that falls where the model rises."""
    return text_file("rows.csv", ("X,y\n" + "".join(f"{x},{rows - x}\n" for x in range(rows))).encode())


def test_a_sample_that_the_answers_do_not_fit_needs_a_tick(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.line(), sample=falling(10), target="y")
    page = operator.get(review)

    unticked = operator.post(review, cells(page))
    saved = operator.post(review, cells(page) | {"confirm-sample": "1"})

    assert "target would fit it better than the model" in text(page)
    assert 'id="confirm-sample-error"' in text(unticked)
    assert saved.status_code == 303


def test_a_handful_of_rows_says_nothing_about_a_model(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.line(), sample=falling(9), target="y")

    assert operator.post(review, cells(operator.get(review))).status_code == 303


def test_what_is_certain_needs_no_tick(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("text"), sample=iris_sample(), target="kind")

    assert 'name="confirm-' not in text(operator.get(review))


# --- tried ------------------------------------------------------------------------------------------------------------


def test_a_labelled_sample_shows_agreement_and_confusion(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("text"), sample=iris_sample(), target="kind")

    page = text(operator.get(review))

    assert "of 150</strong> agree with the sample" in page
    assert "Confusion table" in page
    assert '<td class="number is-same">50</td>' in page
    assert page.count('<td class="answered"> setosa </td>') == 7  # of twenty, from each of three kinds
    assert "Probabilities are between 0 and 1 and sum to 1" in page


def test_names_in_the_sample_are_proposed_for_numbered_classes(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"), sample=iris_sample(), target="kind")
    page = operator.get(review)

    unticked = operator.post(review, cells(page))
    operator.post(review, cells(page) | {"confirm-names": "1"})

    assert unticked.status_code == 422
    assert 'aria-describedby="confirm-names-error"' in text(unticked)
    assert [cells(page)[f"class-{index}-name"] for index in range(3)] == IRIS_NAMES
    assert "The sample has other words for the classes in the column kind." in text(page)
    assert "of 150</strong> agree with the sample" in text(page)
    assert [(one.label, one.name) for one in meaning().classes] == list(enumerate(IRIS_NAMES))


def tried(page: HttpResponse) -> tuple[str, list[str]]:
    """Head and rows of the table of what was tried."""
    found = re.search(r'<table class="table tried"[^>]*>.*?<tr>(.*?)</tr>.*?<tbody>(.*?)</tbody>', text(page))
    assert found is not None
    return unescape(found[1]), unescape(found[2]).split("</tr>")[:-1]


def test_what_was_tried_has_the_names_that_callers_will_see(operator: Client, workspace: Workspace) -> None:
    review = review_of(operator, workspace, makers.iris("int"), sample=iris_sample(), target="kind")
    page = operator.get(review)
    typed = operator.post(review, cells(page) | {"class-1-name": "1", "class-2-name": "third", "target": ""})

    assert '> setosa <span class="own-label">0</span> </th>' in tried(page)[0]
    assert sum('> setosa <span class="own-label">0</span> </td>' in row for row in tried(page)[1]) == 7
    assert typed.status_code == 422
    assert '<th scope="col" class="answered number"> 1 </th>' in tried(typed)[0]  # named as the model names it
    assert '> third <span class="own-label">2</span> </th>' in tried(typed)[0]


def test_what_was_tried_has_no_labels_where_callers_see_them(operator: Client, workspace: Workspace) -> None:
    named = review_of(operator, workspace, makers.iris("int"), metadata=stated({"classes": ["a", "b", "c"]}))
    unnamed = review_of(operator, workspace, makers.iris("text"))

    assert '> a <span class="own-label">0</span> </th>' in tried(operator.get(named))[0]
    assert "own-label" not in text(operator.get(unnamed))


def test_names_given_by_the_owner_are_compared_in_the_samples_words(operator: Client, workspace: Workspace) -> None:
    metadata = stated({"classes": {"0": "a", "1": "b", "2": "c"}})
    sample = iris_sample(is_named=False)
    review = review_of(operator, workspace, makers.iris("int"), sample=sample, target="kind", metadata=metadata)

    page = operator.get(review)

    assert [cells(page)[f"class-{index}-name"] for index in range(3)] == ["a", "b", "c"]
    assert "0 of 150</strong>" not in text(page)
    assert "of 150</strong> agree with the sample" in text(page)


def test_a_labelled_sample_of_a_regression_shows_its_error(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", b"X,y\n1,1\n2,2\n3,3\n4,5\n")
    review = review_of(operator, workspace, makers.line(), sample=sample, target="y")

    page = text(operator.get(review))

    assert "<dt>R²</dt> <dd>0.88" in page
    assert "<dt>Mean error</dt> <dd>0.25" in page


def test_a_target_is_read_as_its_owner_means_it(operator: Client, workspace: Workspace) -> None:
    lines = iris_sample(is_named=False).read().decode().splitlines()
    written = [lines[0], *(f"{line}.0" if row % 10 else line[:-1] for row, line in enumerate(lines[1:]))]
    sample = text_file("iris.csv", "\n".join(written).encode())
    review = review_of(operator, workspace, makers.iris("int"), sample=sample, target="kind")

    page = text(operator.get(review))

    assert "of 135</strong> agree with the sample" in page  # every tenth row has no target
    assert "The sample has other words" not in page
    assert page.count('<span class="badge tone-amber">other</span>') <= 1


def test_a_target_of_numbers_may_have_gaps_and_commas(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", b"X;y\n1,0;1,5\n2,0;\n3,0;3,5\n")
    review = review_of(operator, workspace, makers.line(), sample=sample, target="y")

    page = text(operator.get(review))

    assert "<dt>Mean error</dt> <dd>0.5</dd>" in page
    assert "<dt>Rows compared</dt> <dd>2</dd>" in page


def test_another_type_is_tried_with_the_samples_rows(operator: Client, workspace: Workspace) -> None:
    sample = text_file("rows.csv", b"X,y\n1.5,1\n2.0,2\n")
    review = review_of(operator, workspace, makers.line(), sample=sample, target="y")

    page = operator.post(
        review, cells(operator.get(review)) | {"column-0-type": "int", "column-0-sample": "1", "column-0-baseline": "1"}
    )

    assert page.status_code == 422
    assert "The sample has 1.5 in this column." in text(page)
