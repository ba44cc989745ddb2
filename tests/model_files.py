"""Small real models for gateway tests: trained with scikit-learn or XGBoost, or written node by node.

Each function returns the description and the ONNX bytes; trained ones are made once per test process.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto

from contract.model_spec import Column, ModelSpec
from testkit.graphs import Made, graph, node, spec_of

PENGUIN_NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
PENGUIN_TEXTS = ("island", "sex")


def _converted(model: Any, inputs: list[tuple[str, Any]], *, zipmap: bool | None) -> bytes:
    """As a data scientist converts it. `zipmap` None: the model is no classifier."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converters' own
        from skl2onnx import to_onnx

        options = None if zipmap is None else {id(model): {"zipmap": zipmap}}
        return bytes(to_onnx(model, initial_types=inputs, options=options).SerializeToString())


@cache
def cancer(layout: str = "matrix", *, zipmap: bool = False) -> Made:
    """Breast cancer: binary, 30 numbers, integer labels 0 and 1 that the description gives names."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    data = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in data.feature_names]
    model = RandomForestClassifier(10, max_depth=4, random_state=0).fit(data.data, data.target)
    inputs = [("X", FloatTensorType([None, len(names)]))]
    if layout == "columns":
        model = _with_named_columns(model, names, data.data, data.target)
        inputs = [(name, FloatTensorType([None, 1])) for name in names]
    spec = ModelSpec(
        task="binary",
        target="diagnosis",
        classes=("malignant", "benign"),
        columns=tuple(Column(name=name, type="float") for name in names),
        input="matrix" if layout == "matrix" else "columns",
        sample=dict(zip(names, map(float, data.data[0]), strict=True)),
    )
    return spec, _converted(model, inputs, zipmap=zipmap)


def _with_named_columns(model: Any, names: list[str], rows: Any, target: Any) -> Any:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    passed_on = ColumnTransformer([("numbers", "passthrough", names)])
    return make_pipeline(passed_on, model).fit(pd.DataFrame(rows, columns=names), target)


@cache
def penguins(*, zipmap: bool = False) -> Made:
    """Palmer penguins: multiclass, text labels, text and number columns, every one of them may be missing."""
    from palmerpenguins import load_penguins
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = load_penguins()
    table[list(PENGUIN_TEXTS)] = table[list(PENGUIN_TEXTS)].astype(object).fillna("")
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("t", texts, list(PENGUIN_TEXTS)), ("n", numbers, list(PENGUIN_NUMBERS))])
    model = make_pipeline(columns, LogisticRegression(max_iter=1000))
    model.fit(table[[*PENGUIN_TEXTS, *PENGUIN_NUMBERS]], table["species"])
    inputs: list[tuple[str, Any]] = [(name, StringTensorType([None, 1])) for name in PENGUIN_TEXTS]
    inputs += [(name, FloatTensorType([None, 1])) for name in PENGUIN_NUMBERS]
    kinds: list[tuple[str, Any]] = [(name, "string") for name in PENGUIN_TEXTS]
    # body mass is given in whole grams: a whole number that travels in a float input
    kinds += [(name, "int" if name == "body_mass_g" else "float") for name in PENGUIN_NUMBERS]
    # the description's order is another one than the graph's
    interleaved = [kinds[2], kinds[0], kinds[3], kinds[4], kinds[1], kinds[5]]
    spec = ModelSpec(
        task="multiclass",
        target="species",
        classes=("Adelie", "Chinstrap", "Gentoo"),
        columns=tuple(Column(name=name, type=kind, nullable=True) for name, kind in interleaved),
        input="columns",
        sample={"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "body_mass_g": 3500, "sex": "female"},
    )
    return spec, _converted(model, inputs, zipmap=zipmap)


@cache
def diabetes() -> Made:
    """Diabetes: regression, ten numbers in one matrix."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor

    data = load_diabetes()
    model = GradientBoostingRegressor(n_estimators=10, random_state=0).fit(data.data, data.target)
    spec = ModelSpec(
        task="regression",
        target="progression",
        columns=tuple(Column(name=name, type="float") for name in data.feature_names),
        input="matrix",
        sample=dict(zip(data.feature_names, map(float, data.data[0]), strict=True)),
    )
    return spec, _converted(model, [("X", FloatTensorType([None, 10]))], zipmap=None)


@cache
def wine(*, zipmap: bool, first_label: int = 1, names: tuple[str, ...] = ("1", "2", "3")) -> Made:
    """Wine: three classes with integer labels that need not start from 0."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_wine
    from sklearn.ensemble import RandomForestClassifier

    data = load_wine()
    model = RandomForestClassifier(10, max_depth=4, random_state=0).fit(data.data, data.target + first_label)
    spec = ModelSpec(
        task="multiclass",
        classes=names,
        columns=tuple(Column(name=f"x{index}", type="float") for index in range(13)),
        input="matrix",
        sample={f"x{index}": float(value) for index, value in enumerate(data.data[100])},  # of the second class
    )
    return spec, _converted(model, [("X", FloatTensorType([None, 13]))], zipmap=zipmap)


@cache
def xgboost_cancer() -> Made:
    """The same table as `cancer`, by XGBoost through onnxmltools: one label and one probability tensor."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from xgboost import XGBClassifier

    data = load_breast_cancer()
    model = XGBClassifier(n_estimators=10, max_depth=3, n_jobs=1).fit(data.data, data.target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("skl2onnx").setLevel(logging.ERROR)
        converted = convert_xgboost(model, initial_types=[("input", FloatTensorType([None, 30]))])
    return cancer()[0], converted.SerializeToString()


# --- graphs written node by node -------------------------------------------------------------------------------------


def passing_on(element: str = "float", width: int = 1, output: str | None = None) -> bytes:
    """A matrix that comes out as it went in: what it gives is what it was sent."""
    return graph(
        [("X", element, [None, width])], [("y", output or element, [None, width])], [node("Identity", ["X"], ["y"])]
    )


def summing(kinds: dict[str, str], *, rank: int = 2) -> bytes:
    """One input per column; the one output is their sum as 64-bit floats."""
    shape: list[int | None] = [None, 1][:rank]
    nodes = [node("Cast", [name], [f"{name}_d"], to=TensorProto.DOUBLE) for name in kinds]
    nodes.append(node("Sum", [f"{name}_d" for name in kinds], ["y"]))
    return graph([(name, kind, shape) for name, kind in kinds.items()], [("y", "double", shape)], nodes)


def probabilities_only(width: int, *, shape: Sequence[int | str | None] | None = None) -> bytes:
    """A matrix whose own values are given as probabilities, without a label."""
    return graph(
        [("X", "float", [None, width])],
        [("prob", "float", shape or [None, width])],
        [node("Identity", ["X"], ["prob"])],
    )


def matrix_spec(width: int, **rest: Any) -> ModelSpec:
    """A description of `width` numbers called a, b, c ... in one matrix."""
    names = [chr(ord("a") + index) for index in range(width)]
    return spec_of(dict.fromkeys(names, "float"), dict.fromkeys(names, 0.25), **({"input": "matrix"} | rest))


def as_float32(values: Sequence[float]) -> list[float]:
    return [float(np.float32(value)) for value in values]
