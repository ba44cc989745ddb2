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

    assert printed.startswith("Registered version 1 of Penguins. The model's ID is ")
    assert "'" not in printed.splitlines()[1]  # the sample row is JSON, not Python


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
