"""Other files are known by their first bytes, and a pickle's owner gets the two lines that export it."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from apimgmt.registry.file_kinds import PickleRefused, check_kind
from apimgmt.registry.metadata import DescriptionRefused
from tests.apimgmt.registry import makers


def refused(folder: Path, content: bytes, filename: str = "model.onnx") -> DescriptionRefused:
    path = folder / "upload"
    path.write_bytes(content)
    with pytest.raises(DescriptionRefused) as refusal:
        check_kind(path, filename)
    return refusal.value


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def joblib_bytes(compress: Any) -> bytes:
    stream = io.BytesIO()
    joblib.dump(LinearRegression(), stream, compress=compress)
    return stream.getvalue()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_of_any_protocol_gets_the_two_export_lines(tmp_path: Path, protocol: int) -> None:
    error = refused(tmp_path, pickle.dumps(LinearRegression(), protocol=protocol), "churn.pkl")

    assert isinstance(error, PickleRefused)
    lines = str(error).splitlines()
    assert "pip install scikit-learn skl2onnx onnxruntime pandas" in lines
    assert "python demo/export_sklearn.py churn.pkl sample.csv" in lines


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_a_joblib_file_is_a_pickle_however_compressed(tmp_path: Path, compress: Any) -> None:
    error = refused(tmp_path, joblib_bytes(compress), "model.joblib")

    assert isinstance(error, PickleRefused)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    refused(tmp_path, pickle.dumps(Trap()))

    assert not (tmp_path / "sprung").exists()


def test_a_file_name_with_spaces_stays_one_word(tmp_path: Path) -> None:
    error = refused(tmp_path, pickle.dumps({}), "../my model.pkl")

    assert 'python demo/export_sklearn.py "my model.pkl" sample.csv' in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"hello,\nworld\n", "This is a text file"),
        (json.dumps({"task": "binary"}).encode(), "A metadata file goes beside the model"),
        (b'{"learner": {}}', "This is an XGBoost file"),
        (b"tree\nversion=v4\n", "This is a LightGBM file"),
        (b"CBM1....", "This is a CatBoost file"),
        (b"\x89HDF\r\n\x1a\n....", "This is an HDF5 file (Keras)"),
        (b"....TFL3....", "This is a TensorFlow Lite file"),
        (b"\x89PNG\r\n\x1a\n", "This is an image or a document"),
        (zipped("archive/data.pkl"), "This is a PyTorch file"),
        (zipped("config.json", "model.weights.h5"), "This is a Keras file"),
        (zipped("schema.json"), "This is a skops file"),
        (zipped("inner/model.onnx"), "Unpack it and register the file inner/model.onnx"),
        (zipped("readme.txt"), "This is a zip archive (model.onnx)"),
        (zipped("readme.txt")[:20], "damaged zip archive"),
    ],
    ids=makers.case_id,
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(refused(tmp_path, content))


@pytest.mark.parametrize(
    "content", [gzip.compress(b"no pickle"), b"\x78\x9cbroken", b"\x1f\x8bbroken", bytes(100)], ids=makers.case_id
)
def test_what_only_looks_compressed_is_left_to_the_inspection(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)

    check_kind(path, "model.onnx")


def test_an_onnx_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(makers.iris())

    check_kind(path, "iris.onnx")
