"""The registry of engines: what it finds, and what it costs to ask."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import PROJECT_DIR
from inference.engines import ModelLoadError, engine_for
from inference.predictor import Predictor
from inference.signature import NotServable
from testkit.graphs import spec_of
from tests.model_files import passing_on, summing


def test_a_format_that_no_engine_reads_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="No engine reads the format pickle"):
        engine_for("pickle")
    with pytest.raises(ModelLoadError, match="No engine reads the format pickle"):
        Predictor(Path("model"), spec_of({"a": "float"}, {"a": 1.0}), "pickle")


def test_an_engine_reads_what_a_model_takes_and_gives(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(summing({"age": "int64", "height": "float"}))

    signature = engine_for("onnx").read_signature(tmp_path / "model")

    assert [(port.name, port.kind, port.dims) for port in signature.inputs] == [
        ("age", "int", (None, 1)),
        ("height", "float", (None, 1)),
    ]
    assert [(port.name, port.kind) for port in signature.outputs] == [("y", "float")]


def test_a_damaged_file_is_refused_in_plain_words_on_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(passing_on()[:-20])

    with pytest.raises(NotServable, match="damaged or cut off"):
        engine_for("onnx").read_signature(path)
    with pytest.raises(ModelLoadError, match="damaged or cut off"):
        engine_for("onnx").load(path, spec_of({"a": "float"}, {"a": 1.0}, input="matrix"))


def test_large_libraries_are_imported_when_they_are_first_used() -> None:
    code = "import sys, inference.formats, inference.engines; print(*sys.modules)"

    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True)

    assert not {"onnx", "onnxruntime", "google.protobuf", "django"}.intersection(result.stdout.split())
