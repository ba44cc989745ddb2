"""Converters of scikit-learn's histogram-based boosting that keep its answers.

skl2onnx 1.20 rounds thresholds to the nearest float32, so that values just above one pass it, and writes whether a
missing value goes left as a truth, where protobuf 7 takes nothing but numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import skl2onnx
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.operator_converters.random_forest import (
    convert_sklearn_random_forest_classifier,
    convert_sklearn_random_forest_regressor_converter,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from inference.conversion.trees import rounded_down
from inference.table import Array

Convert = Callable[..., None]


def register() -> None:
    """For every conversion of this process."""
    skl2onnx.update_registered_converter(
        HistGradientBoostingClassifier,
        "ExactHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        _exactly(convert_sklearn_random_forest_classifier),
        options={"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [True, False]},
    )
    skl2onnx.update_registered_converter(
        HistGradientBoostingRegressor,
        "ExactHistGradientBoostingRegressor",
        calculate_linear_regressor_output_shapes,
        _exactly(convert_sklearn_random_forest_regressor_converter),
    )


class _Container:
    """Where a converter puts its nodes; `change` alters their attributes on the way."""

    def __init__(self, container: Any, change: Callable[[dict[str, Any]], None]) -> None:
        self._container = container
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *node: Any, **attributes: Any) -> None:
        if "nodes_missing_value_tracks_true" in attributes:
            attributes["nodes_missing_value_tracks_true"] = [
                int(one) for one in attributes["nodes_missing_value_tracks_true"]
            ]
            self._change(attributes)
        self._container.add_node(*node, **attributes)


def _exactly(convert: Convert) -> Convert:
    def converted(scope: Any, operator: Any, container: Any) -> None:
        thresholds = rounded_down(_thresholds(operator.raw_operator, convert))
        convert(scope, operator, _Container(container, lambda attributes: attributes.update(nodes_values=thresholds)))

    return converted


def _thresholds(model: Any, convert: Convert) -> Array:
    """Of each node in turn, as the model has them: a graph of doubles is made for them and thrown away."""
    found: list[Array] = []
    skl2onnx.convert_sklearn(
        model,
        initial_types=[("x", DoubleTensorType([None, model.n_features_in_]))],
        custom_conversion_functions={
            type(model): lambda scope, operator, container: convert(
                scope,
                operator,
                _Container(container, lambda attributes: found.append(attributes["nodes_values"])),
                op_version=3,  # before, a classifier has no doubles
            )
        },
    )
    return np.asarray(found[0], np.float64)
