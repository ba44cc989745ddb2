"""LightGBM's text files, as `Booster.save_model` writes them.

Two things are mended that the converter gets wrong: thresholds are doubles, and rounded to float32 they can pass a
value; and a column that had no missing value in training takes a missing one for 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import lightgbm
import numpy as np
import onnx
from onnxmltools import convert_lightgbm
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
from inference.conversion.trees import MATRIX, missing_as_zero, rounded_down, with_codes
from inference.signature import NotServable

# The sum of the leaves as it is: the converter knows only the first of these names.
_PLAIN: Final = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape"})
_EXPONENTIAL: Final = frozenset({"poisson", "gamma", "tweedie"})
_CLASSES: Final = frozenset({"binary", "multiclass"})
_OWN_NAME: Final = re.compile(r"Column_\d+")


def read(content: bytes) -> Original:
    """Raises `NotServable`."""
    try:
        text = content.decode()
        booster = lightgbm.Booster(model_str=text)
        dump = booster.dump_model()
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError, ValueError):
        raise NotServable("This LightGBM file is damaged, or of a version that this console can't read.") from None
    objective, *options = str(dump.get("objective", "")).split()
    _refuse_unconvertible(text, dump, objective, options)
    nodes = [node for tree in dump["tree_info"] for node in _nodes(tree["tree_structure"])]
    _refuse_missing_zeros(nodes, booster.feature_name())
    whole = frozenset(node["split_feature"] for node in nodes if node["decision_type"] == "==")
    without_missing = frozenset(node["split_feature"] for node in nodes if node["missing_type"] == "None")
    names = booster.feature_name()
    categories = _pandas_categories(text, dump)
    is_named = bool(categories) or not all(_OWN_NAME.fullmatch(name) for name in names)
    columns = columns_of(names if is_named else [""] * len(names), whole, categories)

    def to_onnx() -> onnx.ModelProto:
        exact = lightgbm.Booster(model_str=_exact_in_float32(text, objective))
        model = convert_lightgbm(exact, initial_types=[(MATRIX, FloatTensorType([None, len(names)]))], zipmap=False)
        missing_as_zero(model, without_missing)
        return with_codes(model, columns) if has_codes(columns) else model

    is_binary = objective == "binary" or dump["num_class"] == 2
    return Original(
        library=f"LightGBM {lightgbm.__version__}",
        columns=columns,
        task="regression" if objective not in _CLASSES else "binary" if is_binary else "multiclass",
        answer=lambda rows: _answers(booster, columns, objective, rows),
        to_onnx=to_onnx,
    )


def _refuse_unconvertible(text: str, dump: dict[str, Any], objective: str, options: list[str]) -> None:
    known = _PLAIN | _EXPONENTIAL | _CLASSES
    if objective not in known:
        raise NotServable(
            f"The LightGBM model has the objective {objective or 'none'}, which can't be converted exactly. "
            f"Taken are {', '.join(sorted(known))}."
        )
    if dump.get("average_output"):
        raise NotServable("The LightGBM model is a random forest (boosting=rf), which can't be converted exactly.")
    if re.search(r"^is_linear=1", text, re.MULTILINE):
        raise NotServable("The LightGBM model has linear trees (linear_tree), which can't be converted.")
    if "sqrt" in options:
        raise NotServable("The LightGBM model predicts a square (reg_sqrt), which can't be converted.")
    sigmoid = next((option.partition(":")[2] for option in options if option.startswith("sigmoid:")), "1")
    if float(sigmoid) != 1:
        raise NotServable(f"The LightGBM model has sigmoid={sigmoid}, which can't be converted. Train it with 1.")


def _pandas_categories(text: str, dump: dict[str, Any]) -> Categories:
    """Those of pandas, which the file lists in the order of the columns that have them."""
    found = re.search(r"^pandas_categorical:(.*)$", text, re.MULTILINE)
    try:
        listed = json.loads(found[1]) if found else None
    except ValueError:
        listed = None
    if not listed:
        return {}
    infos = dump["feature_infos"]
    columns = [position for position, name in enumerate(dump["feature_names"]) if _is_categorical(infos.get(name))]
    if len(columns) != len(listed) or not all(isinstance(values, list) for values in listed):
        raise NotServable(
            "The LightGBM model has columns of categories, and which ones its file doesn't tell for certain. Encode "
            "them as numbers before training."
        )
    return {position: tuple(values) for position, values in zip(columns, listed, strict=True)}


def _is_categorical(info: dict[str, Any] | None) -> bool:
    """By what training saw of it: a list of values in place of a range."""
    return info is not None and bool(info.get("values"))


def _refuse_missing_zeros(nodes: list[dict[str, Any]], names: list[str]) -> None:
    if columns := sorted({names[node["split_feature"]] for node in nodes if node["missing_type"] == "Zero"}):
        raise NotServable(
            f"The LightGBM model takes a zero for a missing value (zero_as_missing) in {', '.join(columns[:5])}, which "
            "can't be converted."
        )


def _nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            yield node
            waiting += [node["left_child"], node["right_child"]]


def _exact_in_float32(text: str, objective: str) -> str:
    """The same model for values that are exact in float32: each threshold is the largest float32 that is not above it.

    Sizes of trees go, because they are no longer true; the reader doesn't need them.
    """
    lines = [line for line in text.split("\n") if not line.startswith("tree_sizes=")]
    for position, line in enumerate(lines):
        if line.startswith("threshold="):
            values = rounded_down(np.array(line[len("threshold=") :].split(), np.float64))
            lines[position] = f"threshold={' '.join(map(repr, values.tolist()))}"
        elif objective in _PLAIN and line.startswith(("objective=", "[objective: ")):
            lines[position] = line.replace(objective, "regression", 1)
    return "\n".join(lines)


def _answers(booster: lightgbm.Booster, columns: tuple[Column, ...], objective: str, rows: Rows) -> Answers:
    matrix = matrix_of(rows, columns).astype(np.float64)
    numbers = np.asarray(booster.predict(matrix, num_threads=1))
    if objective not in _CLASSES:
        return Answers(numbers.reshape(len(matrix), -1))
    both = second_class(numbers) if objective == "binary" else numbers
    return Answers(both, both.argmax(axis=1))
