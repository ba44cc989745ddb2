"""demo/export_sklearn.py, run as its owner runs it; and that what it writes can be registered and predicts alike."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from palmerpenguins import load_penguins
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from apimgmt.models import Workspace
from apimgmt.registry.registration import register_model
from contract.model_spec import spec_from_json
from inference.sandbox.inspection import InspectionChild
from tests.apimgmt.registry.model_owner import SCRIPT
from tests.apimgmt.registry.test_registration import INSTALLER


def export(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As typed in the owner's folder; a warning of ours would be an error."""
    command = [sys.executable, "-W", "error", str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, check=False)


def cancer(folder: Path, *, rows: int = 150) -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame.head(rows)
    frame.to_csv(folder / "sample.csv", index=False)
    return frame


def written(folder: Path, stem: str = "model") -> dict[str, Any]:
    return json.loads((folder / f"{stem}.json").read_text())


def predicted(path: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The registered model's own answer, through the gateway's engine."""
    spec = spec_from_json(json.loads(path.with_suffix(".json").read_text()) | {"sample": row})
    with InspectionChild() as child:
        return child.self_test(path, spec).prediction


def test_a_model_fitted_on_arrays_becomes_one_matrix(tmp_path: Path, store: Path, workspace: Workspace) -> None:
    frame = cancer(tmp_path)
    model = RandomForestClassifier(20, random_state=1).fit(frame.drop(columns="target").to_numpy(), frame["target"])
    joblib.dump(model, tmp_path / "model.joblib")

    ran = export(tmp_path, "model.joblib", "sample.csv", "--target", "target")

    assert ran.returncode == 0, ran.stderr
    assert "Compared with the original on 150 rows: all alike" in ran.stdout
    document = written(tmp_path)
    assert (document["task"], document["input"], document["target"]) == ("binary", "matrix", "target")
    assert (document["classes"], len(document["columns"])) == (["0", "1"], 30)
    registered = register_model(workspace, "Cancer", tmp_path / "model.onnx", actor=INSTALLER)
    assert registered.version.spec["sample"] == document["sample"]


@pytest.mark.long
def test_text_columns_with_gaps_become_one_input_each(tmp_path: Path, store: Path, workspace: Workspace) -> None:
    table = load_penguins()
    table.to_csv(tmp_path / "sample.csv", index=False)
    target = table.pop("species").astype(str)
    texts = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    prepare = ColumnTransformer(
        [("n", numbers, [c for c in table if c not in {"island", "sex"}]), ("t", texts, ["island", "sex"])]
    )
    model = make_pipeline(prepare, LogisticRegression(max_iter=2000)).fit(table, target)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))

    ran = export(tmp_path, "model.pkl", "sample.csv")

    assert ran.returncode == 0, ran.stderr
    document = written(tmp_path)
    assert (document["target"], document["input"]) == ("species", "columns")
    assert all(column["nullable"] for column in document["columns"])
    register_model(workspace, "Penguins", tmp_path / "model.onnx", actor=INSTALLER)
    row = dict.fromkeys(table.columns) | {"island": "Dream", "bill_length_mm": 46.5}
    expected = model.predict_proba(pd.DataFrame([row]).fillna(np.nan).astype(table.dtypes.to_dict() | {"year": float}))[
        0
    ]
    answer = predicted(tmp_path / "model.onnx", row)
    assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.long
def test_a_regression_is_exported_under_another_name(tmp_path: Path) -> None:
    data = load_diabetes(as_frame=True, scaled=False)
    data.data.to_csv(tmp_path / "rows.csv", index=False)
    joblib.dump(GradientBoostingRegressor(n_estimators=20).fit(data.data, data.target), tmp_path / "model.pkl")

    ran = export(tmp_path, "model.pkl", "rows.csv", "--name", "progress")

    assert ran.returncode == 0, ran.stderr
    assert written(tmp_path, "progress")["task"] == "regression"
    assert (tmp_path / "progress.onnx").exists()


@pytest.mark.long
def test_a_booster_with_real_column_names_is_exported(tmp_path: Path) -> None:
    frame = cancer(tmp_path)
    joblib.dump(
        XGBClassifier(n_estimators=5).fit(frame.drop(columns="target"), frame["target"]), tmp_path / "model.pkl"
    )

    ran = export(tmp_path, "model.pkl", "sample.csv")

    assert ran.returncode == 0, ran.stderr
    assert written(tmp_path)["columns"][0]["name"] == "mean radius"


@pytest.mark.long
def test_a_conversion_that_is_silently_wrong_writes_nothing(tmp_path: Path) -> None:
    frame = cancer(tmp_path, rows=569)
    model = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=100))
    joblib.dump(model.fit(frame.drop(columns="target").to_numpy(), frame["target"]), tmp_path / "model.pkl")

    ran = export(tmp_path, "model.pkl", "sample.csv", "--target", "target")

    assert ran.returncode == 1
    assert "The converted model differs from the original in" in ran.stderr
    assert "of 569 rows" in ran.stderr
    assert "fit the model without the scaler" in ran.stderr
    assert not (tmp_path / "model.onnx").exists()
    assert not (tmp_path / "model.json").exists()


@pytest.fixture(scope="module")
def owners_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files that can't be exported, and one that could."""
    folder = tmp_path_factory.mktemp("owner")
    frame = cancer(folder)
    features = frame.drop(columns="target")
    joblib.dump(KMeans(2).fit(features), folder / "clusters.pkl")
    array = make_pipeline(StandardScaler(), LogisticRegression()).fit(features.to_numpy(), frame["target"])
    joblib.dump(array, folder / "array.pkl")
    named = make_pipeline(StandardScaler(), LogisticRegression()).fit(features.add_prefix("my "), frame["target"])
    joblib.dump(named, folder / "named.pkl")
    joblib.dump(RandomForestClassifier(), folder / "unfitted.pkl")
    (folder / "dict.pkl").write_bytes(pickle.dumps({"a": 1}))
    (folder / "text.pkl").write_text("not a pickle")
    (folder / "empty.csv").write_text("a,b\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clusters.pkl", "sample.csv"], "A KMeans is no classifier, no regressor and no outlier detector"),
        (["array.pkl", "sample.csv"], "takes 30 columns and the sample has 31"),
        (["array.pkl", "sample.csv", "--target", "nope"], "no such column"),
        (["named.pkl", "sample.csv"], "columns that the sample lacks: my mean radius"),
        (["unfitted.pkl", "sample.csv"], "is not fitted"),
        (["dict.pkl", "sample.csv"], "holds a dict"),
        (["text.pkl", "sample.csv"], "can't be loaded as a pickle"),
        (["array.pkl", "empty.csv"], "no rows below its header"),
        (["gone.pkl", "sample.csv"], "There is no file gone.pkl"),
        (["array.pkl", "gone.csv"], "can't be read as CSV"),
    ],
)
def test_what_can_not_be_exported_is_told_in_words(
    script: ModuleType,
    owners_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(owners_folder)

    code = script.main(arguments)

    assert code == 1
    assert words in capsys.readouterr().err
    assert not list(owners_folder.glob("*.onnx"))


def test_a_missing_package_is_answered_with_the_line_that_installs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-E", str(SCRIPT), "model.pkl", "sample.csv"]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 1
    assert "pip install scikit-learn skl2onnx onnxruntime pandas" in ran.stderr
