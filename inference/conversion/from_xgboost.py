"""XGBoost's own files, JSON and UBJSON (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

import numpy as np
import onnx
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from inference.conversion.original import (
    Answers,
    Categories,
    Column,
    Original,
    Rows,
    columns_of,
    has_codes,
    matrix_of,
    second_class,
)
from inference.conversion.trees import MATRIX, with_codes
from inference.signature import NotServable

# What is predicted by each objective that converts exactly; the others are refused by name.
_BINARY: Final = frozenset({"binary:logistic"})
_MULTICLASS: Final = frozenset({"multi:softprob", "multi:softmax"})
_NUMBER: Final = frozenset(
    {
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:absoluteerror",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
    }
)


def read(content: bytes) -> Original:
    """Raises `NotServable`."""
    try:
        booster = xgboost.Booster(params={"nthread": 1})
        booster.load_model(bytearray(content))
        config = json.loads(booster.save_config())["learner"]
    except (xgboost.core.XGBoostError, KeyError, ValueError, TypeError):
        raise NotServable("This XGBoost file is damaged, or of a version that this console can't read.") from None
    objective = config["objective"]["name"]
    _refuse_unconvertible(config, objective)
    booster, remark = _as_its_author_uses_it(booster)
    n_columns = booster.num_features()
    whole = frozenset(position for position, kind in enumerate(booster.feature_types or []) if kind == "c")
    columns = columns_of(booster.feature_names or [""] * n_columns, whole, _categories(booster, whole))
    n_classes = int(config["learner_model_param"]["num_class"])
    if objective in _MULTICLASS and n_classes < 3:
        raise NotServable(
            f"The XGBoost model has the objective {objective} with two classes, which no converter turns into ONNX "
            "exactly. Train it with binary:logistic."
        )
    return Original(
        library=f"XGBoost {xgboost.__version__}",
        columns=columns,
        task="regression" if objective in _NUMBER else "binary" if objective in _BINARY else "multiclass",
        answer=_Answering(booster, columns, objective).answer,
        to_onnx=lambda: _converted(booster, columns),
        remark=remark,
    )


def _refuse_unconvertible(config: dict[str, Any], objective: str) -> None:
    booster = config["gradient_booster"]["name"]
    if booster != "gbtree":
        raise NotServable(
            f"The XGBoost model has the booster {booster}, which no converter turns into ONNX exactly. Train it with "
            "booster=gbtree."
        )
    n_targets = int(config["learner_model_param"].get("num_target", 1))
    if n_targets > 1:
        raise NotServable(
            f"The XGBoost model predicts {n_targets} targets at once, which can't be converted. Train one model a "
            "target."
        )
    if objective not in _BINARY | _MULTICLASS | _NUMBER:
        known = ", ".join(sorted(_BINARY | _MULTICLASS | _NUMBER))
        raise NotServable(
            f"The XGBoost model has the objective {objective}, which can't be converted exactly. Taken are {known}."
        )


def _categories(booster: xgboost.Booster, columns: frozenset[int]) -> Categories:
    """Of the columns that have them. Files before version 3.1, and those trained on arrays, have numbers only."""
    if not columns:
        return {}
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
    found: Categories = {}
    for position, stored in enumerate(model.get("cats", {}).get("enc", [])):
        if position in columns and stored["values"]:
            found[position] = _texts(stored) if "offsets" in stored else tuple(stored["values"])
    if found and not booster.feature_names:
        raise NotServable("The XGBoost model has categories but no names of columns. Train it on a DataFrame.")
    return found


def _texts(stored: dict[str, list[int]]) -> tuple[str, ...]:
    """As Arrow keeps texts: one after the other, and where each begins. XGBoost 3.2 counts characters, not bytes."""
    if any(byte < 0 for byte in stored["values"]):
        raise NotServable(
            "XGBoost has cut the names of the categories, as it does where one has a letter beyond ASCII. Rename them "
            "before training."
        )
    joined = bytes(stored["values"])
    return tuple(joined[start:end].decode() for start, end in pairwise(stored["offsets"]))


def _as_its_author_uses_it(booster: xgboost.Booster) -> tuple[xgboost.Booster, str]:
    """scikit-learn's interface predicts with the best iteration after early stopping, XGBoost's own with all trees."""
    best = booster.attr("best_iteration")
    n_rounds = booster.num_boosted_rounds()
    if best is None or int(best) + 1 >= n_rounds:
        return booster, ""
    if booster.attr("scikit_learn") is None:
        return booster, f"All {n_rounds} rounds count, as in Booster.predict, not only those up to the best iteration."
    sliced: xgboost.Booster = booster[: int(best) + 1]
    return sliced, f"The first {int(best) + 1} of {n_rounds} rounds count: training stopped early."


def _converted(booster: xgboost.Booster, columns: tuple[Column, ...]) -> onnx.ModelProto:
    unnamed = booster.copy()
    unnamed.feature_names = None  # the converter takes no names but its own
    if json.loads(unnamed.save_config())["learner"]["objective"]["name"] == "multi:softmax":
        unnamed.set_param({"objective": "multi:softprob"})  # the same numbers, of which the converter knows this name
    model = convert_xgboost(unnamed, initial_types=[(MATRIX, FloatTensorType([None, len(columns)]))])
    return with_codes(model, columns) if has_codes(columns) else model


class _Answering:
    def __init__(self, booster: xgboost.Booster, columns: tuple[Column, ...], objective: str) -> None:
        self._booster = booster
        self._columns = columns
        self._objective = objective

    def answer(self, rows: Rows) -> Answers:
        matrix = xgboost.DMatrix(
            matrix_of(rows, self._columns),
            feature_names=self._booster.feature_names,
            feature_types=self._booster.feature_types,
            nthread=1,
        )
        if self._objective in _NUMBER:
            return Answers(self._booster.predict(matrix).reshape(len(rows[0]), -1).astype(np.float64))
        if self._objective in _BINARY:
            second = self._booster.predict(matrix).astype(np.float64)
            return Answers(second_class(second), (second > 0.5).astype(np.int64))
        margins = self._booster.predict(matrix, output_margin=True).astype(np.float64)
        powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        return Answers(powers / powers.sum(axis=1, keepdims=True), margins.argmax(axis=1))
