"""MLflow folders as zip archives: what is read of them, and what is refused before any of it is."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from inference.conversion.archive import Archive
from inference.conversion.conversion import converted
from inference.conversion.from_mlflow import Folder
from inference.engines.onnx.graph import own_metadata
from inference.signature import NotServable
from tests.inference.conversion.test_comparison import model

SIGNED = json.dumps([{"name": "size", "type": "double"}])

# Ten levels of ten: written out, it has more characters than there are bytes of memory.
LAUGHS = (
    "a0: &a0 [lol, lol]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))
    + "flavors: {onnx: {data: *a10}}\n"
).encode()


def archive(folder: Path, document: Any = None, **files: bytes) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w") as packed:
        if document is not None:
            packed.writestr("m/MLmodel", document if isinstance(document, bytes) else yaml.safe_dump(document))
        for name, content in files.items():
            packed.writestr(f"m/{name.replace('__', '.')}", content)
    return path


def flavour(name: str = "onnx", data: str = "model.onnx", **rest: Any) -> dict[str, Any]:
    return {"flavors": {name: {"data": data}, "python_function": {}}, **rest}


def test_an_onnx_flavour_is_served_with_the_names_of_its_signature(tmp_path: Path) -> None:
    example = json.dumps({"columns": ["size"], "data": [[None], [4.5]]}).encode()
    document = flavour(
        signature={"inputs": SIGNED}, saved_input_example_info={"artifact_path": "example.json", "type": "dataframe"}
    )
    path = archive(tmp_path, document, model__onnx=model().SerializeToString(), example__json=example)

    stated = json.loads(own_metadata(onnx.load_model_from_string(converted(path, "mlflow"))))

    assert stated == {"columns": [{"name": "size", "type": "float"}], "sample": {"size": 4.5}}


def test_a_folder_without_signature_is_served_all_the_same(tmp_path: Path) -> None:
    path = archive(tmp_path, flavour(), model__onnx=model().SerializeToString())

    assert own_metadata(onnx.load_model_from_string(converted(path, "mlflow"))) == "{}"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (None, "must have one file called MLmodel"),
        (b"\xff\xfe: [", "is damaged: it is no YAML"),
        (b"a: [1, 2", "is damaged: it is no YAML"),
        (b"!!python/object/apply:os.system ['true']", "is damaged: it is no YAML"),
        (b"- 1", "says nothing about a model"),
        ({"flavors": {"sklearn": {"pickled_model": "model.pkl"}}}, "has the flavours sklearn"),
        ({}, "has the flavours none"),
        (flavour("lightgbm", "model.pkl"), r"as a pickle \(model.pkl\)"),
        (flavour(data="../../etc/passwd"), "a file outside of its folder"),
        (flavour(data="/etc/passwd"), "a file outside of its folder"),
        (flavour(data=""), "a file outside of its folder"),
        (LAUGHS, "a file outside of its folder"),
        (flavour(data="other.onnx"), "lacks the file m/other.onnx"),
        (b"x: " + b"y" * (1 << 20), "larger than such a file can be"),
    ],
)
def test_a_folder_that_is_none_is_refused_in_words(tmp_path: Path, document: Any, words: str) -> None:
    path = archive(tmp_path, document, model__onnx=model().SerializeToString())

    with pytest.raises(NotServable, match=words):
        converted(path, "mlflow")


def test_two_models_in_one_archive_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, flavour())
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("other/MLmodel", "flavors: {}")

    with pytest.raises(NotServable, match="one model's folder"):
        Folder(Archive(path))


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "text",
        {},
        {"inputs": "no json"},
        {"inputs": "7"},
        {"inputs": json.dumps([7])},
        {"inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}])},
    ],
)
def test_a_signature_without_names_tells_none(tmp_path: Path, signature: Any) -> None:
    assert Folder(Archive(archive(tmp_path, flavour(signature=signature)))).columns is None


def test_a_signature_of_other_columns_than_the_models_own_is_refused(tmp_path: Path) -> None:
    folder = Folder(Archive(archive(tmp_path, flavour(signature={"inputs": SIGNED}))))

    with pytest.raises(NotServable, match="name different columns: size, weight"):
        folder.metadata({"columns": [{"name": "weight"}]})


@pytest.mark.parametrize(
    "example", [b"no json", b"{}", b"[" * 3000, b'{"columns": ["x"], "data": [[1]]}', b'{"data": 7}']
)
def test_an_example_that_is_no_table_of_these_columns_is_not_taken(tmp_path: Path, example: bytes) -> None:
    document = flavour(signature={"inputs": SIGNED}, saved_input_example_info={"artifact_path": "example.json"})
    folder = Folder(Archive(archive(tmp_path, document, example__json=example)))

    assert folder.metadata({}) == {"columns": [{"name": "size", "type": "float"}]}
