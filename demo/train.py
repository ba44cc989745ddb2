#!/usr/bin/env python3
"""Train the three demo models on real tables and write `demo/models/NAME.onnx` and `NAME.json`.

Run with the packages of requirements-dev.txt. The files are committed, so nobody needs to run this to try the console.
Each model is scored on rows that it has not seen, and compared with its conversion on the same rows: if one of them
differs, nothing is written. Same packages, same bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import export_sklearn as exporter
import pandas as pd
from palmerpenguins import load_penguins
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

OUT = Path(__file__).resolve().parent / "models"
SEED = 20
HELD_OUT = 0.2
LARGEST_BYTES = 300_000


def penguins() -> None:
    """Three species from text and numbers, both with gaps."""
    table = load_penguins()
    target = table.pop("species")
    texts, numbers = ["island", "sex"], [name for name in table.columns if name not in {"island", "sex"}]
    table[texts] = table[texts].fillna("")  # missing text travels as empty text; the encoder then sees no category
    encoder = OneHotEncoder(
        categories=[["Biscoe", "Dream", "Torgersen"], ["female", "male"]], handle_unknown="ignore", sparse_output=False
    )
    prepare = ColumnTransformer([("numbers", SimpleImputer(strategy="median"), numbers), ("texts", encoder, texts)])
    units = {"bill_length_mm": "mm", "bill_depth_mm": "mm", "flipper_length_mm": "mm", "body_mass_g": "g"}
    train(
        "penguins",
        make_pipeline(prepare, GradientBoostingClassifier(n_estimators=100, max_depth=2, random_state=SEED)),
        table,
        target.astype(str),
        target_name="species",
        units=units,
        may_be_missing=set(table.columns),
        description="Species of a Palmer penguin from its measurements. Gradient boosting, 100 rounds of 3 trees.",
    )


def breast_cancer() -> None:
    """Two classes from one matrix of 30 numbers."""
    data = load_breast_cancer(as_frame=True)
    train(
        "breast_cancer",
        RandomForestClassifier(n_estimators=100, max_leaf_nodes=24, random_state=SEED),
        data.data,
        data.target.map(lambda index: str(data.target_names[index])),
        target_name="diagnosis",
        description="Malignant or benign, from 30 measures of cell nuclei in an image. Random forest, 100 trees.",
    )


def diabetes() -> None:
    """A number from a matrix of ten; in the units of the original study, not the scaled ones."""
    data = load_diabetes(as_frame=True, scaled=False)
    train(
        "diabetes",
        GradientBoostingRegressor(n_estimators=100, max_depth=3, learning_rate=0.05, subsample=0.7, random_state=SEED),
        data.data.astype({"age": int, "sex": int}),
        data.target,
        target_name="progression",
        units={"age": "years", "bmi": "kg/m²", "bp": "mmHg"},
        description=(
            "Progression of diabetes one year after the baseline, from ten baseline measures "
            "(s1 to s6 are blood serum measures). Gradient boosting, 100 trees."
        ),
    )


def train(
    name: str,
    model: Any,
    table: pd.DataFrame,
    target: pd.Series,
    *,
    target_name: str,
    description: str,
    units: dict[str, str] | None = None,
    may_be_missing: set[str] | None = None,
) -> None:
    """Fit, score, convert, compare, write. Raises `ExportError` if the conversion differs or is too large."""
    is_regression = pd.api.types.is_float_dtype(target)
    learn, hold, learn_target, hold_target = train_test_split(
        table, target, test_size=HELD_OUT, random_state=SEED, stratify=None if is_regression else target
    )
    model.fit(learn, learn_target)
    columns = [described(table[column], units or {}, may_be_missing or set()) for column in table.columns]
    layout = exporter.layout_of(model, columns)
    content = exporter.convert(model, columns, layout, name)
    difference = exporter.compare(model, content, hold, columns=columns, layout=layout)
    exporter.refuse_differences(difference, model)
    if len(content) > LARGEST_BYTES:
        raise exporter.ExportError(
            f"{name}: {len(content)} bytes, more than {LARGEST_BYTES}; it is committed, so keep it small"
        )
    metadata = exporter.metadata_of(
        model, hold.replace("", None), columns, layout=layout, target=target_name, description=description
    )
    metadata["score"] = score(model, hold, hold_target, is_regression=is_regression)
    exporter.write(content, metadata, OUT / name)
    print(f"{name}: {metadata['score']}, {len(content)} bytes, at most {difference.worst:.2g} from the original")


def described(values: pd.Series, units: dict[str, str], may_be_missing: set[str]) -> dict[str, Any]:
    column = exporter.describe_column(values.replace("", None), nullable=values.name in may_be_missing)
    return column | ({"unit": units[values.name]} if values.name in units else {})


def score(model: Any, table: pd.DataFrame, target: pd.Series, *, is_regression: bool) -> dict[str, Any]:
    name, measure = ("r2", r2_score) if is_regression else ("accuracy", accuracy_score)
    return {"name": name, "value": round(float(measure(target, model.predict(table))), 4), "rows": len(table)}


def with_fixed_hashes() -> None:
    """Start again with fixed string hashes: the converter orders the graph by sets, and the bytes must not vary."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - this very program


def main() -> int:
    OUT.mkdir(exist_ok=True)
    trainers: tuple[Callable[[], None], ...] = (penguins, breast_cancer, diabetes)
    try:
        for trainer in trainers:
            trainer()
    except exporter.ExportError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with_fixed_hashes()
    sys.exit(main())
