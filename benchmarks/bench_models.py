"""The models that are benched: breast cancer, 30 numbers, gradient boosting with 100 trees; as one matrix, and with one
input a column."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.meaning import ClassLabel, Meaning, Output
from contract.model_spec import Column, InputLayout, ModelSpec

TREES = 100

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
