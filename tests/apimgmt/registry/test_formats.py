"""Files of other formats: known for what they are, taken once their library is there, and described by themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from django.test import Client
from onnx import parser

from apimgmt.actors import shell_actor
from apimgmt.models import Workspace
from apimgmt.registry import convertible, registration
from apimgmt.registry.convertible import FORMATS, refuse_missing_library, source_format
from apimgmt.registry.file_kinds import FileRefused
from apimgmt.registry.metadata import DescriptionRefused, Metadata, is_metadata, parse_metadata, with_own
from apimgmt.registry.registration import Registered
from inference.engines.onnx.graph import METADATA_KEY
from tests.apimgmt.registry.conftest import stored_files
from tests.apimgmt.registry.test_file_kinds import zipped
from tests.apimgmt.registry.test_register_page import operator, review_of, upload

__all__ = ["operator"]

XGBOOST = b'{"learner":{"attributes":{}'


def doubling(own: Any = None) -> bytes:
    """One number in, twice as much out; with metadata of its own."""
    graph = parser.parse_graph("g (float[N, 2] x) => (float[N, 1] y) <float[2, 1] w = {2.0, 0.0}> { y = MatMul(x, w) }")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    if own is not None:
        model.metadata_props.add(key=METADATA_KEY, value=own if isinstance(own, str) else json.dumps(own))
    return model.SerializeToString()


OWN = {
    "task": "regression",
    "outputs": {"value": "y"},
    "columns": [{"name": "size"}, {"name": "floor", "type": "int"}],
    "description": "Converted from Library 1.0.",
}


def register(workspace: Workspace, folder: Path, content: bytes, **arguments: Any) -> Registered:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return registration.register_model(workspace, "Mine", path, actor=shell_actor(None), **arguments)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (XGBOOST, "xgboost"),
        (b' \n{"version":[3,2,0],"learner":{', "xgboost"),
        (b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner{", "xgboost"),
        (b"tree\nversion=v4\n", "lightgbm"),
        (b"tree\r\nversion=v4\r\n", "lightgbm"),
        (b"CBM1\x00\x00", "catboost"),
        (zipped("schema.json"), "skops"),
        (zipped("MLmodel", "model.onnx"), "mlflow"),
        (zipped("m/MLmodel", "m/model.pkl"), "mlflow"),
        (zipped("m/model.onnx", "m/weights.bin"), "onnx_archive"),
        (zipped("readme.txt"), None),
        (b'{"task": "binary"}', None),
        (doubling(), None),
        (b"", None),
    ],
)
def test_a_file_is_known_by_what_is_in_it(tmp_path: Path, content: bytes, kind: str | None) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    found = source_format(path)

    assert (found.kind if found is not None else None) == kind


@pytest.mark.parametrize("source", [one for one in FORMATS if one.modules], ids=lambda one: one.kind)
def test_without_its_library_the_command_that_adds_it_is_told(monkeypatch: Any, source: Any) -> None:
    monkeypatch.setattr(convertible, "find_spec", lambda name: None)

    with pytest.raises(FileRefused) as caught:
        refuse_missing_library(source)

    assert caught.value.lines == ("make catboost" if source.kind == "catboost" else "make formats",)
    assert str(source.title) in caught.value.reason


def test_the_page_tells_the_command_and_keeps_nothing(
    operator: Client, workspace: Workspace, store: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(convertible, "find_spec", lambda name: None)
    response = upload(operator, workspace, XGBOOST, filename="model.json")

    assert response.status_code == 422
    assert "Format: XGBoost." in response.content.decode()
    assert "make formats" in response.content.decode()
    assert stored_files(store) == []


def test_the_page_lists_the_formats_and_what_is_not_installed(operator: Client, monkeypatch: Any, store: Path) -> None:
    with_all = operator.get("/models/register/").content.decode()
    monkeypatch.setattr(convertible, "find_spec", lambda name: None if name == "catboost" else name)
    without_one = operator.get("/models/register/").content.decode()

    assert all(str(one.title) in with_all for one in FORMATS)
    assert without_one.count("once installed with") == 1
    assert "make catboost" in without_one


# --- what the file says of itself -------------------------------------------------------------------------------------


def test_what_the_file_says_of_itself_describes_it(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    spec = register(workspace, tmp_path, doubling(OWN)).version.described()

    assert [(column.name, column.type) for column in spec.columns] == [("size", "float"), ("floor", "int")]
    assert (spec.task, spec.description) == ("regression", "Converted from Library 1.0.")


def test_the_review_shows_what_it_was_converted_from(operator: Client, workspace: Workspace, store: Path) -> None:
    page = operator.get(review_of(operator, workspace, doubling(OWN)))

    assert '<p class="about-text">Converted from Library 1.0.</p>' in page.content.decode()


def test_what_its_owner_states_beats_it(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    stated = {"columns": [{"name": "a"}, {"name": "b"}], "description": "Mine.", "target": "price"}
    spec = register(workspace, tmp_path, doubling(OWN), metadata=json.dumps(stated).encode()).version.described()

    assert [column.name for column in spec.columns] == ["a", "b"]
    assert (spec.target, spec.description) == ("price", "Mine.\nConverted from Library 1.0.")


def test_who_said_what_is_told() -> None:
    found = with_own(Metadata(target="price"), json.dumps(OWN))

    assert (found.origin_of("target"), found.origin_of("columns")) == ("metadata file", "model file")


def test_a_description_that_was_taken_before_is_not_said_twice() -> None:
    text = json.dumps(OWN)

    assert with_own(with_own(None, text), text).description == "Converted from Library 1.0."


@pytest.mark.parametrize("own", ["no json", '{"task": "magic"}', "[]", '{"columns": [{"name": "a\\u0000"}]}'])
def test_nonsense_in_the_file_is_refused_as_the_files(
    workspace: Workspace, store: Path, tmp_path: Path, own: str
) -> None:
    with pytest.raises(DescriptionRefused) as caught:
        register(workspace, tmp_path, doubling(own))

    assert caught.value.field == "file"
    assert stored_files(store) == []


def test_a_sample_of_other_columns_is_refused(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    with pytest.raises(DescriptionRefused, match=r"The sample lacks columns that the model takes: floor\."):
        register(workspace, tmp_path, doubling(OWN), sample_csv=b"size,level\n1,2\n")


# --- the file beside a model ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"task": "binary"}', True),
        (b'{"task": "binary", "learner": 1}', True),
        (b'{"task": ', True),  # refused later, with its line
        (XGBOOST + b"}}", False),
        (b'{"learning_rate": 0.1}', False),
        (b"{}", False),
        (b"[1, 2]", False),
        (b"7", False),
    ],
)
def test_only_metadata_beside_a_model_are_its_metadata(content: bytes, expected: bool) -> None:
    assert is_metadata(content) is expected


def test_another_model_beside_it_is_not_read(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(XGBOOST + b"}}")

    assert register(workspace, tmp_path, doubling(OWN)).version.described().task == "regression"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"learner": {}, "version": [3, 2, 0]}, "is an XGBoost model, not a description of one"),
        ({"oblivious_trees": []}, "is a CatBoost model"),
        ({"cells": []}, "is a notebook"),
    ],
)
def test_another_model_given_as_metadata_is_named(document: Any, words: str) -> None:
    with pytest.raises(DescriptionRefused, match=words):
        parse_metadata(json.dumps(document).encode())
