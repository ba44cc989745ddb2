"""What a model means is found out by trying it, asked where two readings are left, and stored with the version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from apimgmt.actors import shell_actor
from apimgmt.models import ModelVersion, Workspace
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.registry.registration import Registered, register_model
from tests.apimgmt.registry import makers

CASES = Path(__file__).resolve().parents[2] / "cases"


def register(workspace: Workspace, store: Path, name: str, **options: Any) -> Registered:
    return register_model(workspace, name, CASES / f"{name}.onnx", actor=shell_actor(None), **options)


def refused(workspace: Workspace, store: Path, name: str, **options: Any) -> str:
    with pytest.raises(DescriptionRefused) as refusal:
        register(workspace, store, name, **options)
    assert not ModelVersion.objects.exists()
    return str(refusal.value)


def roles(registered: Registered) -> dict[str, str]:
    meaning = registered.version.described().meaning
    assert meaning is not None
    return {one.name: one.role for one in meaning.outputs}


def classes(registered: Registered) -> dict[Any, str]:
    meaning = registered.version.described().meaning
    assert meaning is not None
    return {one.label: one.name for one in meaning.classes}


def notes(registered: Registered) -> list[str]:
    meaning = registered.version.described().meaning
    assert meaning is not None
    return [note.code for note in meaning.notes]


def test_a_list_names_by_position_in_the_graphs_order(workspace: Workspace, store: Path) -> None:
    found = register(workspace, store, "stars")

    assert classes(found) == {0: "1", 1: "2", 2: "3", 3: "4", 4: "5"}
    assert list(found.version.spec["classes"]) == ["1", "2", "3", "4", "5"]


def test_the_graphs_own_labels_in_another_order_are_refused_with_the_mapping(workspace: Workspace, store: Path) -> None:
    words = refused(workspace, store, "flip_tensor")

    assert "another order" in words
    assert '"classes": {"0": "0", "1": "1"}' in words


def test_a_mapping_is_always_clear(workspace: Workspace, store: Path) -> None:
    stated = b'{"classes": {"1": "yes", "0": "no"}, "input": "matrix", "sample": {"x0": 5.0}}'

    assert classes(register(workspace, store, "flip_tensor", metadata=stated)) == {0: "no", 1: "yes"}


def test_echoes_of_inputs_are_ignored_and_told(workspace: Workspace, store: Path) -> None:
    found = register(workspace, store, "passthrough_reg")

    assert roles(found) == {"Size.output": "ignored", "Label.output": "ignored", "Score.output": "value"}
    assert notes(found) == ["ignored_echo", "ignored_echo"]


def test_a_role_may_be_given(workspace: Workspace, store: Path) -> None:
    found = register(workspace, store, "passthrough_reg", outputs=["value=Size.output"])

    assert roles(found)["Size.output"] == "value"


def test_a_threshold_in_the_graph_is_told(workspace: Workspace, store: Path) -> None:
    found = register(workspace, store, "thr")

    assert roles(found) == {"label": "label", "probabilities": "probabilities"}
    assert classes(found) == {0: "no", 1: "yes"}
    assert notes(found) == ["check_threshold"]


def test_margins_are_scores(workspace: Workspace, store: Path) -> None:
    sample = (CASES / "linear_svc_binary_sample.csv").read_bytes()

    found = register(workspace, store, "linear_svc_binary", sample_csv=sample)

    assert roles(found) == {"label": "label", "probabilities": "scores"}
    assert classes(found) == {0: "malignant", 1: "benign"}
    assert "probabilities" not in found.findings.predictions[0]


def test_leaf_indices_beside_a_value_are_ignored(workspace: Workspace, store: Path) -> None:
    found = register(workspace, store, "rfr_leaf")

    assert found.version.task == "regression"
    assert roles(found) == {"variable": "value", "decision_leaf": "ignored"}


def test_a_newer_opset_is_told_in_words(workspace: Workspace, store: Path) -> None:
    words = refused(workspace, store, "op29")

    assert "opset 29" in words
    assert "up to" in words


def test_a_model_that_draws_random_numbers_is_refused(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    ports = [("x", TensorProto.FLOAT, ["n", 1])], [("y", TensorProto.FLOAT, ["n", 1])]
    (tmp_path / "m.onnx").write_bytes(makers.drawn(nodes, *ports))

    with pytest.raises(DescriptionRefused, match="answers the same row differently each time"):
        register_model(workspace, "Dice", tmp_path / "m.onnx", actor=shell_actor(None))


def test_targets_below_each_other_are_no_prediction_of_a_row(workspace: Workspace, store: Path) -> None:
    path = CASES.parent / "zoo" / "models" / "mlp_two.onnx"

    with pytest.raises(DescriptionRefused, match="doesn't give one line for each row"):
        register_model(workspace, "Two", path, metadata=b"{}", actor=shell_actor(None))


def test_a_labelled_sample_is_held_against_its_target(workspace: Workspace, store: Path) -> None:
    sample = (CASES / "ohe_error.csv").read_bytes()

    found = register(workspace, store, "ohe_error", sample_csv=sample, target="y")

    agreement = found.findings.agreement
    assert agreement is not None
    assert agreement.agreeing is not None
    assert 0 < agreement.agreeing <= agreement.rows
    assert sum(map(sum, agreement.counts)) == agreement.rows


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["value=Nothing"], "has no output Nothing"),
        (["probabilities=Score.output", "probabilities=Size.output"], "only one output can be the probabilities"),
        (["value=Score.output", "label=Score.output"], "has two roles"),
        (["label=Score.output"], "can't be the label"),
        (["prediction=Score.output"], "unknown key"),
    ],
)
def test_roles_that_do_not_fit_are_refused(workspace: Workspace, store: Path, outputs: list[str], words: str) -> None:
    assert words in refused(workspace, store, "passthrough_reg", outputs=outputs)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        (b'{"classes": {"0": "no"}, "input": "matrix"}', "at least two classes"),
        (b'{"classes": {"0": "no", "2": "yes"}, "input": "matrix"}', "lacks the labels 1"),
        (b'{"classes": {"0": "no", "1": "no"}, "input": "matrix"}', "a different name for each label"),
        (b'{"classes": ["a", "b", "c"], "input": "matrix"}', "3 are named, the model has 2"),
        (b'{"task": "multiclass", "input": "matrix"}', "the metadata says multiclass, the model has 2 classes"),
        (b'{"outputs": {"value": []}, "input": "matrix"}', "outputs.value: expected the name of an output"),
        (b'{"outputs": {"result": "label"}, "input": "matrix"}', "outputs.result: unknown key"),
    ],
)
def test_metadata_that_contradicts_the_model_is_refused(
    workspace: Workspace, store: Path, stated: bytes, words: str
) -> None:
    assert words in refused(workspace, store, "flip_tensor", metadata=stated)
