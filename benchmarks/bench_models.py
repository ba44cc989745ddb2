"""The models that are benched; a row is 30 numbers.

Light ones are gradient boosting with 100 trees, as one matrix and with one input a column. Heavy ones are a forest of
600 trees, and networks whose weights a call reads through once, however many rows it has.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from contract.meaning import ClassLabel, Meaning, Output
from contract.model_spec import Column, InputLayout, ModelSpec
from testkit.networks import network

TREES = 100
FOREST_TREES = 600
FOREST_ROWS = 4000

_MEANING = Meaning(
    outputs=(Output("label", "label"), Output("probabilities", "probabilities")),
    classes=(ClassLabel(0, "malignant"), ClassLabel(1, "benign")),
)


@dataclass(frozen=True)
class BenchModel:
    """One file, and its description."""

    spec: ModelSpec
    content: bytes


def train(layout: InputLayout) -> BenchModel:
    """Takes a second; the same packages give the same file."""
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.pipeline import make_pipeline

    data = load_breast_cancer(as_frame=True)
    names = [name.replace(" ", "_") for name in data.data.columns]
    table = data.data.set_axis(names, axis="columns").astype(np.float32)
    model: Any = GradientBoostingClassifier(n_estimators=TREES, max_depth=3, random_state=0)
    if layout == "columns":
        model = make_pipeline(ColumnTransformer([("all", "passthrough", names)]), model)
        model.fit(table, data.target)
    else:
        model.fit(table.to_numpy(), data.target)
    spec = ModelSpec(
        task="binary",
        target="diagnosis",
        classes=tuple(str(name) for name in data.target_names),
        columns=tuple(Column(name=name, type="float") for name in names),
        input=layout,
        sample={name: float(f"{value:.6g}") for name, value in zip(names, table.iloc[0], strict=True)},
        meaning=_MEANING,
    )
    return BenchModel(spec, _converted(model, names, layout))


def train_forest() -> BenchModel:
    """600 trees, grown as deep as noisy tables of some thousand rows make them."""
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier

    spec = train("matrix").spec
    rows, classes = make_classification(FOREST_ROWS, len(spec.columns), n_informative=12, flip_y=0.25, random_state=0)
    rows = rows.astype(np.float32)
    model = RandomForestClassifier(FOREST_TREES, random_state=0, n_jobs=2).fit(rows, classes)
    names = [column.name for column in spec.columns]
    sample = {name: float(f"{value:.6g}") for name, value in zip(names, rows[0], strict=True)}
    return BenchModel(msgspec.structs.replace(spec, sample=sample), _converted(model, names, "matrix"))


def make_network(*hidden: int) -> BenchModel:
    """Fully connected layers of these widths. What they cost does not depend on what they have learnt."""
    return BenchModel(*network(*hidden))


def _converted(model: Any, names: list[str], layout: InputLayout) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        inputs = [("X", FloatTensorType([None, len(names)]))]
        if layout == "columns":
            inputs = [(name, FloatTensorType([None, 1])) for name in names]
        classifier = model[-1] if layout == "columns" else model
        made = to_onnx(model, initial_types=inputs, options={id(classifier): {"zipmap": False}})
        return bytes(made.SerializeToString())
