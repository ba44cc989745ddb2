"""The outputs of one model as tensors: `label` and `probabilities`, or `value`."""

from __future__ import annotations

from typing import Any

from contract.model_spec import ModelSpec, is_plain_integer
from inference.formats.open_inference.elements import DATATYPES
from inference.table import Array, Classification, Layout, Prediction


class OpenInferenceOutputs:
    """Compiled once per loaded model: the names and types of what comes out, which don't depend on the layout."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        self.n_classes = len(spec.classes)
        self.has_integer_labels = bool(spec.classes) and all(is_plain_integer(name) for name in spec.classes)
        self._labels = [int(name) for name in spec.classes] if self.has_integer_labels else list(spec.classes)
        self.value_datatype = "FP32"  # until `warm_up` has seen what the model really gives
        self.names = ("label", "probabilities") if spec.classes else ("value",)

    def note(self, prediction: Prediction) -> None:
        """See what the model gives of its sample row."""
        if not isinstance(prediction, Classification):
            self.value_datatype = "FP64" if prediction.values.dtype.itemsize == 8 else "FP32"

    def datatype(self, name: str) -> str:
        if name == "label":
            return "INT64" if self.has_integer_labels else "BYTES"
        return "FP32" if name == "probabilities" else self.value_datatype

    def shape(self, name: str, n_rows: int) -> list[int]:
        return [n_rows, self.n_classes] if name == "probabilities" else [n_rows]

    def elements(self, name: str, prediction: Prediction) -> list[Any] | Array:
        """The output's elements, in row-major order."""
        if not isinstance(prediction, Classification):
            return prediction.values.astype(DATATYPES[self.value_datatype])
        if name == "label":
            return [self._labels[index] for index in prediction.class_indexes]
        return prediction.probabilities.astype(DATATYPES["FP32"]).reshape(-1)
