"""`manage.py register_model`."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apimgmt.models import ModelVersion, Workspace
from tests.apimgmt.registry import makers
from tests.factories import make_user, make_workspace

CASES = Path(__file__).resolve().parents[2] / "cases"
PENGUINS = makers.DEMO_MODELS / "penguins.onnx"


def run(*arguments: Any) -> str:
    output = io.StringIO()
    call_command("register_model", *map(str, arguments), stdout=output)
    return output.getvalue()


def test_json_has_model_version_and_sample(store: Path, workspace: Workspace) -> None:
    first = json.loads(run(PENGUINS, "--name", "Penguins", "--json"))
    second = json.loads(run(PENGUINS, "--name", "Penguins", "--json"))

    assert first.keys() == {"model_id", "version", "sample"}
    assert (second["model_id"], first["version"], second["version"]) == (first["model_id"], 1, 2)
    assert first["sample"]["island"] == "Torgersen"


def test_without_json_it_prints_sentences(store: Path, workspace: Workspace) -> None:
    printed = run(PENGUINS, "--name", "Penguins")

    *_, sample, last = printed.splitlines()
    assert last.startswith("Registered version 1 of Penguins. The model's ID is ")
    assert sample.startswith("Sample row: ")
    assert "'" not in sample  # JSON, not Python


def test_metadata_sample_and_target_are_taken(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "iris.onnx").write_bytes(makers.iris("int"))
    (tmp_path / "other.json").write_text('{"classes": ["a", "b", "c"]}')
    (tmp_path / "rows.csv").write_text("sl,sw,pl,pw,kind\n5.1,3.5,1.4,0.2,0\n")

    run(
        tmp_path / "iris.onnx", "--name", "Iris", "--metadata", tmp_path / "other.json",
        "--sample", tmp_path / "rows.csv", "--target", "kind",
    )  # fmt: skip

    spec = ModelVersion.objects.get().spec
    assert (spec["classes"], spec["target"]) == (["a", "b", "c"], "kind")
    assert spec["sample"] == {"sl": 5.1, "sw": 3.5, "pl": 1.4, "pw": 0.2}


def test_the_workspace_is_named_where_there_are_several(store: Path, workspace: Workspace) -> None:
    other = make_workspace()

    with pytest.raises(CommandError, match="Name the workspace with --workspace"):
        run(PENGUINS, "--name", "Penguins")
    with pytest.raises(CommandError, match="There is no workspace Nowhere"):
        run(PENGUINS, "--name", "Penguins", "--workspace", "Nowhere")
    run(PENGUINS, "--name", "Penguins", "--workspace", other.name)

    assert ModelVersion.objects.get().model.workspace == other


def test_as_a_user_it_has_that_users_rights_and_workspaces(store: Path, workspace: Workspace) -> None:
    viewer, stranger = make_user("viewer", workspace), make_user("operator", make_workspace())

    with pytest.raises(CommandError, match="Only an operator or an administrator"):
        run(PENGUINS, "--name", "Penguins", "--workspace", workspace.name, "--as", viewer.username)
    with pytest.raises(CommandError, match="There is no workspace"):
        run(PENGUINS, "--name", "Penguins", "--workspace", workspace.name, "--as", stranger.username)


@pytest.mark.parametrize("option", ["--metadata", "--sample"])
def test_a_file_that_is_not_there_is_one_clear_line(store: Path, workspace: Workspace, option: str) -> None:
    with pytest.raises(CommandError, match=r"gone: No such file or directory\."):
        run(PENGUINS, "--name", "Penguins", option, "gone")
    with pytest.raises(CommandError, match=r"gone\.onnx: No such file or directory\."):
        run("gone.onnx", "--name", "Penguins")


def test_a_pickle_is_refused_with_the_two_lines(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "churn.pkl").write_bytes(pickle.dumps({}))

    with pytest.raises(CommandError) as refusal:
        run(tmp_path / "churn.pkl", "--name", "Churn")

    lines = str(refusal.value).splitlines()
    assert "python demo/export_sklearn.py churn.pkl sample.csv" in lines


def case(name: str) -> Path:
    return CASES / f"{name}.onnx"


def test_it_prints_what_the_model_means(store: Path, workspace: Workspace) -> None:
    printed = run(case("stars"), "--name", "Stars")

    assert "Task: multiclass" in printed
    assert "  0 → 1\n  1 → 2\n  2 → 3\n  3 → 4\n  4 → 5" in printed
    assert "✓ Probabilities are between 0 and 1 and sum to 1" in printed


def test_echoes_are_told_and_json_stays_one_object(store: Path, workspace: Workspace) -> None:
    told = io.StringIO()
    output = io.StringIO()

    call_command("register_model", case("passthrough_reg"), name="Sizes", json=True, stdout=output, stderr=told)

    assert json.loads(output.getvalue()).keys() == {"model_id", "version", "sample"}
    assert told.getvalue().count("repeats an input. It is ignored.") == 2


def test_an_output_can_be_named(store: Path, workspace: Workspace) -> None:
    run(case("passthrough_reg"), "--name", "Sizes", "--output", "value=Score.output")

    roles = {output["name"]: output["role"] for output in ModelVersion.objects.get().meaning["outputs"]}
    assert roles == {"Size.output": "ignored", "Label.output": "ignored", "Score.output": "value"}


def test_an_output_that_is_not_there_is_refused(store: Path, workspace: Workspace) -> None:
    with pytest.raises(CommandError, match="the model has no output gone"):
        run(case("passthrough_reg"), "--name", "Sizes", "--output", "value=gone")


def test_a_question_is_refused_with_the_lines_that_settle_it(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "churn.onnx").write_bytes(makers.sigmoid())

    with pytest.raises(CommandError) as refusal:
        run(tmp_path / "churn.onnx", "--name", "Churn")

    assert "    --output value=p" in str(refusal.value).splitlines()
    assert "    --output probabilities=p" in str(refusal.value).splitlines()
    assert not ModelVersion.objects.exists()


def test_labels_in_another_order_are_refused(store: Path, workspace: Workspace) -> None:
    with pytest.raises(CommandError, match="the model's own labels in another order"):
        run(case("flip_tensor"), "--name", "Flip")


def test_what_a_check_found_is_printed(store: Path, workspace: Workspace) -> None:
    assert "! The model decides at the probability" in run(case("thr"), "--name", "Threshold")


def test_leaves_and_margins_are_named_for_what_they_are(store: Path, workspace: Workspace) -> None:
    leaves = run(case("rfr_leaf"), "--name", "Leaves")
    margins = run(case("linear_svc_binary"), "--name", "Margins", "--sample", CASES / "linear_svc_binary_sample.csv")

    assert "(leaf indices). It is ignored." in leaves
    assert ": scores" in margins


def test_a_labelled_sample_is_compared(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "line.onnx").write_bytes(makers.line())
    (tmp_path / "rows.csv").write_text("X,y\n1,1\n2,2\n3,3\n4,5\n")
    (tmp_path / "iris.onnx").write_bytes(makers.iris("int"))
    rows = "5.1,3.5,1.4,0.2,setosa\n7,3.2,4.7,1.4,versicolor\n6.3,3.3,6,2.5,virginica\n"
    (tmp_path / "iris.csv").write_text(f"sl,sw,pl,pw,kind\n{rows}")

    line = run(tmp_path / "line.onnx", "--name", "L", "--sample", tmp_path / "rows.csv", "--target", "y")
    named = [tmp_path / "iris.onnx", "--name", "I", "--sample", tmp_path / "iris.csv", "--target", "kind"]
    with pytest.raises(CommandError) as refusal:
        run(*named)
    iris = run(*named, "--confirm", "names")

    assert "mean error 0.25 on 4 rows of the sample." in line
    assert "0 → setosa, 1 → versicolor, 2 → virginica" in str(refusal.value)
    assert "    --confirm names    (These names stand beside the right labels)" in str(refusal.value).splitlines()
    assert "3 of 3 agree with the sample." in iris
    assert "  0 → setosa\n  1 → versicolor\n  2 → virginica" in iris


def test_names_that_are_stated_are_not_asked_for(store: Path, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "iris.onnx").write_bytes(makers.iris("int"))
    (tmp_path / "iris.json").write_text('{"classes": {"0": "0", "1": "1", "2": "2"}}')
    rows = "5.1,3.5,1.4,0.2,setosa\n7,3.2,4.7,1.4,versicolor\n6.3,3.3,6,2.5,virginica\n"
    (tmp_path / "iris.csv").write_text(f"sl,sw,pl,pw,kind\n{rows}")

    run(tmp_path / "iris.onnx", "--name", "I", "--sample", tmp_path / "iris.csv", "--target", "kind")

    assert ModelVersion.objects.get().spec["classes"] == ["0", "1", "2"]


def test_what_only_the_owner_knows_is_refused_until_confirmed(
    store: Path, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "m.onnx").write_bytes(makers.mostly())
    (tmp_path / "rows.csv").write_bytes(makers.mostly_sample())
    command = [tmp_path / "m.onnx", "--name", "M", "--sample", tmp_path / "rows.csv"]

    with pytest.raises(CommandError) as refusal:
        run(*command)
    assert "--confirm agreement" in str(refusal.value)
    assert not ModelVersion.objects.exists()
    run(*command, "--confirm", "agreement")

    assert ModelVersion.objects.get().meaning["notes"][0]["code"] == "check_agreement"
