"""The committed demo models: small, complete, and what the training script makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from apimgmt.registry.metadata import parse_metadata
from contract.model_spec import ModelSpec, spec_from_json
from tests.apimgmt.registry import makers

NAMES = ("penguins", "breast_cancer", "diabetes")


@pytest.mark.parametrize("name", NAMES)
def test_a_demo_model_is_small_and_its_description_complete(name: str) -> None:
    path = makers.DEMO_MODELS / f"{name}.onnx"
    content = path.with_suffix(".json").read_bytes()

    spec = spec_from_json(json.loads(content))

    assert path.stat().st_size < 300_000
    assert parse_metadata(content).task == spec.task
    assert spec.score is not None
    assert spec.score.rows > 50
    assert spec.description
    for column in spec.columns:
        assert column.baseline is not None
        assert column.categories if column.type == "string" else column.min < column.max


def test_the_three_tasks_and_both_layouts_are_there() -> None:
    specs = [described(makers.DEMO_MODELS, name) for name in NAMES]

    assert [(spec.task, spec.input) for spec in specs] == [
        ("multiclass", "columns"), ("binary", "matrix"), ("regression", "matrix"),
    ]  # fmt: skip
    assert {column.type for column in specs[0].columns} == {"string", "float", "int"}
    assert all(column.nullable for column in specs[0].columns)


def test_the_committed_files_predict_real_rows_well() -> None:
    cancer, diabetes = load_breast_cancer(), load_diabetes(scaled=False)

    labels = run("breast_cancer", cancer.data)[0]
    values = run("diabetes", diabetes.data)[0].reshape(-1)

    assert np.mean(labels == cancer.target_names[cancer.target]) > 0.97
    assert np.corrcoef(values, diabetes.target)[0, 1] > 0.7


def run(name: str, rows: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(makers.DEMO_MODELS / f"{name}.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"input": rows.astype(np.float32)})


@pytest.mark.long
def test_training_again_makes_the_committed_files(tmp_path: Path) -> None:
    scripts = makers.DEMO_MODELS.parent
    for name in ("train.py", "export_sklearn.py"):
        shutil.copy(scripts / name, tmp_path)

    command = [sys.executable, "-W", "error", "train.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)

    assert ran.returncode == 0, ran.stderr
    for name in NAMES:
        made, committed = described(tmp_path / "models", name), described(makers.DEMO_MODELS, name)
        assert made.columns == committed.columns
        assert made.score.value == pytest.approx(committed.score.value, abs=0.03)


def described(folder: Path, name: str) -> ModelSpec:
    return spec_from_json(json.loads((folder / f"{name}.json").read_text()))
