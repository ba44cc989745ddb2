"""Entries from XGBoost and LightGBM, converted with onnxmltools."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from tests.zoo.making import SEED, Entry, as_rows, flat, labelled, matrix_metadata, model, numbers, texts, wide

NAMES = ["a", "b", "c", "d"]


def entry_of(kind: str, told: str, labels: list[Any] | None, *, has_gaps: bool = False, zipmap: bool = False) -> Entry:
    rows = numbers()
    aims = labelled(rows, labels) if labels else rows[:, 0] * 3 + np.sin(rows[:, 1])
    if has_gaps:
        rows[::4, 0] = np.nan
        rows[1::6, 2] = np.nan
    fitted: Any
    size = {"n_estimators": 6, "max_depth": 3, "random_state": SEED}
    ports = [("X", FloatTensorType([None, 4]))]
    if kind == "XGBoost":
        fitted = (xgboost.XGBClassifier if labels else xgboost.XGBRegressor)(**size).fit(rows, aims)
        content = onnxmltools.convert_xgboost(fitted, initial_types=ports, target_opset=15)
    else:
        fitted = (lightgbm.LGBMClassifier if labels else lightgbm.LGBMRegressor)(**size, verbose=-1).fit(rows, aims)
        content = onnxmltools.convert_lightgbm(fitted, initial_types=ports, target_opset=15, zipmap=zipmap)
    shown = as_rows(rows, NAMES)
    columns = [{"name": name, "type": "float", "nullable": has_gaps} for name in NAMES]
    entry = Entry(
        made=f"{kind} {type(fitted).__name__}: {told}",
        content=content.SerializeToString(),
        rows=[{name: None if cell != cell else cell for name, cell in row.items()} for row in shown],
        metadata={**matrix_metadata(NAMES), "columns": columns},
    )
    if labels:
        entry.labels = texts(fitted.predict(rows))
        entry.classes = [str(label) for label in fitted.classes_]
        entry.probabilities = wide(fitted.predict_proba(rows))
    else:
        entry.values = {"prediction": flat(fitted.predict(rows))}
    return entry


@model
def xgb_binary() -> Entry:
    return entry_of("XGBoost", "two classes", [0, 1])


@model
def xgb_multi() -> Entry:
    return entry_of("XGBoost", "three classes", [0, 1, 2])


@model
def xgb_gaps() -> Entry:
    return entry_of("XGBoost", "two classes, missing values", [0, 1], has_gaps=True)


@model
def xgb_regressor() -> Entry:
    return entry_of("XGBoost", "one target", None)


@model
def lgbm_binary() -> Entry:
    return entry_of("LightGBM", "labels -1 and 1, ZipMap", [-1, 1], zipmap=True)


@model
def lgbm_multi() -> Entry:
    return entry_of("LightGBM", "labels 7, 3, 5", [7, 3, 5])


@model
def lgbm_gaps() -> Entry:
    return entry_of("LightGBM", "text labels, missing values", ["no", "yes"], has_gaps=True)


@model
def lgbm_regressor() -> Entry:
    return entry_of("LightGBM", "one target", None)
