"""The outputs of one model as tensors: `label` with `probabilities`, `scores` or `score`; `value`, or one a target."""

from __future__ import annotations

from typing import Any, Final

from contract.model_spec import ModelSpec
from inference.answers import answer_shape
from inference.formats.open_inference.elements import DATATYPES
from inference.formats.plain_answers import has_whole_number_classes
from inference.table import Array, Classification, Layout, Prediction, Type

_LABEL: Final = "label"
_UNKNOWN: Final = "FP32"
_WIDE: Final = {"f": "FP64", "i": "INT64", "u": "UINT64"}


class OpenInferenceOutputs:
    """Compiled once per loaded model: the names and types of what comes out, which don't depend on the layout."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        shape = answer_shape(spec)
        self.classes = shape.classes
        has_integers = has_whole_number_classes(shape.classes)
        self._labels = [int(name) for name in shape.classes] if has_integers else list(shape.classes)
        targets = ("value",) if shape.has_one_target else shape.targets
        self.names = (_LABEL, *([shape.numbers] if shape.numbers else [])) if shape.classes else targets
        self._width = {shape.numbers: len(shape.classes)} if shape.numbers in {"probabilities", "scores"} else {}
        self._datatypes = dict.fromkeys(self.names, _UNKNOWN) | _noted(spec, self.names)
        if shape.classes:
            self._datatypes[_LABEL] = "INT64" if has_integers else "BYTES"

    def note(self, prediction: Prediction) -> None:
        """See what the model gives of its sample row, where its description does not say it."""
        if not isinstance(prediction, Classification):
            columns = zip(self.names, prediction.columns, strict=True)
            self._datatypes = {name: _datatype(column.dtype) for name, column in columns}
        elif prediction.scores is not None:
            self._datatypes[self.names[1]] = _datatype(prediction.scores.dtype)

    def datatype(self, name: str) -> str:
        return self._datatypes[name]

    def shape(self, name: str, n_rows: int) -> list[int]:
        return [n_rows, self._width[name]] if name in self._width else [n_rows]

    def elements(self, name: str, prediction: Prediction) -> list[Any] | Array:
        """The output's elements, in row-major order."""
        if isinstance(prediction, Classification):
            if name == _LABEL:
                return [self._labels[index] for index in prediction.class_indexes]
            numbers = prediction.numbers
            assert numbers is not None  # noqa: S101  (the names are those of what the model answers)
        else:
            numbers = prediction.columns[self.names.index(name)]
        return numbers.astype(DATATYPES[self.datatype(name)]).reshape(-1)


def _noted(spec: ModelSpec, names: tuple[str, ...]) -> dict[str, str]:
    """Tensor -> datatype, as far as the version's meaning has it. Probabilities are always sent in 32 bits."""
    if spec.meaning is None:
        return {}
    if spec.meaning.values:
        dtypes = [one.dtype for one in spec.meaning.values for _target in one.targets]
        return {name: _datatype(Type(dtype)) for name, dtype in zip(names, dtypes, strict=True) if dtype}
    scores = next((one.dtype for one in spec.meaning.outputs if one.role == "scores"), "")
    return {names[-1]: _datatype(Type(scores))} if scores else {}


def _datatype(dtype: Type) -> str:
    """Numbers of up to 32 bits that are no whole numbers are sent in 32 bits, all others in 64: nothing is lost."""
    return _UNKNOWN if dtype.kind == "f" and dtype.itemsize <= 4 else _WIDE[dtype.kind]
