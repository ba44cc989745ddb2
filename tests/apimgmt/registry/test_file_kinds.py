"""Other files are known by their first bytes, and a pickle's owner gets the two lines that export it."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import shlex
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
            archive.writestr(zipfile.ZipInfo(name), "x")  # each process that collects the tests has the same bytes
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


@pytest.mark.parametrize("name", ["my model.pkl", "$(reboot).pkl", "`id`.pkl", "a;b.pkl", 'say "hi".pkl', "it's.pkl"])
def test_a_file_name_stays_one_word_of_the_command(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, pickle.dumps({}), f"../{name}")

    command = next(line for line in str(error).splitlines() if line.startswith("python "))
    assert shlex.split(command) == ["python", "demo/export_sklearn.py", name, "sample.csv"]


@pytest.mark.parametrize("name", ["$(reboot).parquet", "'); boom('.parquet"])
def test_a_file_name_is_never_code_in_a_line_to_copy(tmp_path: Path, name: str) -> None:
    error = refused(tmp_path, b"PAR1....", name)

    assert "read_parquet('FILE')" in str(error)


def xz_tar() -> bytes:
    return lzma.compress(b"model.onnx".ljust(257, b"\x00") + b"ustar\x0000")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"hello,\nworld\n", "This is a text file"),
        (json.dumps({"task": "binary"}).encode(), "A metadata file goes beside the model"),
        (b"\x89HDF\r\n\x1a\n....", "This is an HDF5 file"),
        (b"....TFL3....", "python -m tf2onnx.convert --tflite model.onnx"),
        (b"\x89PNG\r\n\x1a\n", "This is an image or a document"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "This is a web page"),
        (b'<?xml version="1.0"?>\n<PMML xmlns="x" version="4.4">', "This is a PMML file"),
        (b'<?xml version="1.0"?>\n<net name="main_graph" version="11">', "This is an OpenVINO file"),
        (b"<?xml version='1.0'?><other/>", "This is an XML file"),
        ((60).to_bytes(8, "little") + b'{"w": {"dtype": "F32"', "This is a safetensors file"),
        (b"GGUF\x03\x00\x00\x00", "This is a GGUF or GGML file"),
        (b"\x20\x00\x00\x00ET12", "This is an ExecuTorch file"),
        (b"\x20\x00\x00\x00ORTM", "This is an ONNX Runtime file (.ort)"),
        (b"\x93NUMPY\x01\x00", 'np.load("model.onnx")'),
        (b"PAR1\x15\x04", "pandas.read_parquet('model.onnx')"),
        (b"ARROW1\x00\x00", "This is an Arrow or Feather file"),
        (b"RDX3\nX\n", "This is an R file"),
        (gzip.compress(b"RDX3\nX\n", mtime=0), "xgboost::xgb.save"),
        (gzip.compress(b"no pickle", mtime=0), "gunzip model.onnx"),
        (xz_tar(), "tar -xf model.onnx"),
        (b"x".ljust(257, b"\x00") + b"ustar\x0000", "This is a tar archive"),
        (b"\x28\xb5\x2f\xfd....", "zstd -d model.onnx"),
        (b"7z\xbc\xaf\x27\x1c", "This is a 7z or RAR archive"),
        (b"\x7fELF\x02", "This is a program"),
        (b'{"irVersion": "8", "graph": {}}', 'format="json"'),
        (b"ir_version: 8\nproducer_name: 'x'", 'format="textproto"'),
        (b'{"cells": [], "nbformat": 4}', "This is a notebook"),
        (b"svm_type c_svc\n", "This is a LIBSVM file"),
        (b"binf\x00\x00", 'booster.save_model("model.ubj")'),
        (b'{\n"features_info": {"float_features": []}}', 'model.save_model("model.cbm")'),
        (b'{"name":"tree","version":"v4"}', 'booster.save_model("model.txt")'),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "This is a PyTorch file"),
        (zipped("archive/data.pkl"), "This is a PyTorch file"),
        (zipped("model/archive_format", "model/data.pkl"), "This is a program of torch.export"),
        (zipped("config.json", "model.weights.h5"), "This is a Keras file"),
        (zipped("m/saved_model.pb"), "--saved-model FOLDER"),
        (zipped("Manifest.json", "Data/model.mlmodel"), "This is a package of Core ML"),
        (zipped("a.npy", "b.npy"), "These are NumPy arrays"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "This is an Office document"),
        (zipped("model.ini", "domains/d0.txt"), "This is an H2O MOJO"),
        (zipped("readme.txt"), "This is a zip archive (model.onnx)"),
        (zipped("readme.txt")[:20], "The zip archive is damaged"),
    ],
    ids=makers.case_id,
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in str(refused(tmp_path, content))


@pytest.mark.parametrize("content", [b"\x78\x9cbroken", b"\x1f\x8bbroken", bytes(100)], ids=makers.case_id)
def test_what_only_looks_compressed_is_left_to_the_inspection(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)

    check_kind(path, "model.onnx")


def test_an_onnx_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    path.write_bytes(makers.iris())

    check_kind(path, "iris.onnx")


def test_a_core_ml_file_is_known_by_its_ending_alone(tmp_path: Path) -> None:
    assert "This is a Core ML file" in str(refused(tmp_path, b"\x08\x05\x12\x10", "churn.mlmodel"))


@pytest.mark.parametrize("path", sorted(makers.DEMO_MODELS.glob("*.onnx")), ids=lambda path: path.stem)
def test_no_onnx_file_is_taken_for_something_else(path: Path) -> None:
    check_kind(path, path.name)
