"""scikit-learn's models as skops writes them (https://skops.readthedocs.io/en/stable/persistence.html).

Unlike a pickle, the file names the types of what it holds. Those that skops trusts are loaded, and those inside of
scikit-learn's own estimators that its versions add; any other is refused by its name, before anything is loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
import pandas as pd
import skl2onnx
import sklearn
import skops.io
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from inference.conversion import hist_gradient_boosting
from inference.conversion.original import Answers, Column, Original, Rows
from inference.conversion.trees import MATRIX, free_outputs, rename
from inference.signature import NotServable
from inference.table import Array

_KNOWN: Final = (
    "sklearn.calibration._",
    "sklearn.feature_selection._univariate_selection.",
    "sklearn.metrics._scorer.",
    "sklearn.model_selection._split.",
    "sklearn.tree._tree.Tree",
    "sklearn._loss.",
    "sklearn.ensemble._hist_gradient_boosting.",
    "sklearn.ensemble._gb_losses.",
    "sklearn.linear_model._",
    "sklearn.metrics._dist_metrics.",
    "sklearn.neighbors._",
    "sklearn.neural_network._",
    "sklearn.utils._bunch.Bunch",
    "numpy.dtype",
)
hist_gradient_boosting.register()

_ADVICE: Final = "Load it with skops.io.load, save it with joblib.dump, and export that with demo/export_sklearn.py."


def read(content: bytes) -> Original:
    """Raises `NotServable`."""
    model = _loaded(content)
    if not isinstance(model, BaseEstimator) or not (is_classifier(model) or is_regressor(model)):
        raise NotServable(f"The skops file holds {_article(model)}, which is no classifier and no regressor. {_ADVICE}")
    _refuse_unfitted(model)
    if is_classifier(model) and (not hasattr(model, "predict_proba") or not isinstance(model.classes_, np.ndarray)):
        raise NotServable(f"The {_name(model)} in the skops file gives no probability of each class. {_ADVICE}")
    columns = _columns(model)
    answer = _Answering(model, columns).answer
    n_classes = len(model.classes_) if is_classifier(model) else 0
    return Original(
        library=f"scikit-learn {sklearn.__version__}",
        columns=columns,
        task="regression" if not n_classes else "binary" if n_classes == 2 else "multiclass",
        answer=answer,
        to_onnx=lambda: _converted(model, columns),
        takes_missing=_takes_missing(answer, columns),
        classes=_class_names(model) if n_classes else {},
    )


def _loaded(content: bytes) -> Any:
    try:
        named = skops.io.get_untrusted_types(data=content)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (a stranger's file: skops raises what its parts raise)
        raise NotServable("This skops file is damaged, or of a version that this console can't read.") from None
    if strange := [name for name in named if not name.startswith(_KNOWN)]:
        raise NotServable(f"The skops file holds {', '.join(strange[:5])}, which is not known to be safe to load.")
    try:
        return skops.io.loads(content, trusted=named)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (as above)
        raise NotServable(
            f"The skops file can't be loaded with scikit-learn {sklearn.__version__}: {_first_line(error)} Save it "
            f"with that version. {_ADVICE}"
        ) from None


def _refuse_unfitted(model: Any) -> None:
    try:
        check_is_fitted(model)
    except NotFittedError:
        raise NotServable(f"The {_name(model)} in the skops file was saved before it was fitted.") from None


# --- columns ----------------------------------------------------------------------------------------------------------


def _columns(model: Any) -> tuple[Column, ...]:
    names = [str(name) for name in getattr(model, "feature_names_in_", [])]
    n_columns = getattr(model, "n_features_in_", len(names))
    if not n_columns:
        raise NotServable(f"The {_name(model)} in the skops file doesn't tell its columns. {_ADVICE}")
    texts = dict(_texts(model, names or [""] * n_columns))
    if texts and not names:
        raise NotServable(f"The model in the skops file takes text in columns without names. {_ADVICE}")
    return tuple(
        Column(name, "text", texts[position]) if position in texts else Column(name)
        for position, name in enumerate(names or [""] * n_columns)
    )


def _texts(part: Any, names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Position and categories of each column of text, as the part that first sees it has learnt them."""
    if isinstance(part, Pipeline):
        yield from _texts(part.steps[0][1], names)
    elif isinstance(part, ColumnTransformer):
        for _name_of_part, step, picked in part.transformers_:
            positions = _positions(picked, names)
            for inner, values in _texts(step, [names[position] for position in positions]):
                yield positions[inner], values
    else:
        for position, values in enumerate(getattr(part, "categories_", [])):
            if any(isinstance(value, str) for value in values):
                yield position, tuple(value for value in values if isinstance(value, str))


def _positions(picked: Any, names: Sequence[str]) -> list[int]:
    """Where a ColumnTransformer's columns are: given by name or position, alone, as list, slice or mask."""
    if isinstance(picked, slice):
        return list(range(len(names)))[picked]
    several = [picked] if isinstance(picked, str | int) else list(picked)
    if several and all(isinstance(one, bool | np.bool_) for one in several):
        return [position for position, is_taken in enumerate(several) if is_taken]
    return [names.index(one) if isinstance(one, str) else int(one) % len(names) for one in several]


# --- converting -------------------------------------------------------------------------------------------------------


def _converted(model: Any, columns: Sequence[Column]) -> onnx.ModelProto:
    """An input a column where columns are picked by name or hold text, else one matrix. Raises `NotServable`."""
    options = {id(model): {"zipmap": False}} if is_classifier(model) else None
    by_name = any(isinstance(part, ColumnTransformer) for part in _steps(model)) and bool(columns[0].name)
    try:
        if not by_name and all(column.kind != "text" for column in columns):
            types = [(MATRIX, FloatTensorType([None, len(columns)]))]
            converted: onnx.ModelProto = skl2onnx.convert_sklearn(model, initial_types=types, options=options)
            return converted
        inputs = {column.name: f"column{position}" for position, column in enumerate(columns)}
        changed = copy.deepcopy(model)
        for part in _steps(changed):
            if isinstance(part, ColumnTransformer):
                _pick(part, inputs)
        options = {id(changed): {"zipmap": False}} if is_classifier(model) else None
        kinds = [StringTensorType if column.kind == "text" else FloatTensorType for column in columns]
        types = [(name, kind([None, 1])) for name, kind in zip(inputs.values(), kinds, strict=True)]
        converted = skl2onnx.convert_sklearn(changed, initial_types=types, options=options)
    except Exception as error:  # noqa: BLE001  (converters of many estimators raise what they like)
        raise NotServable(f"The {_name(model)} can't be converted to ONNX: {_first_line(error)} {_ADVICE}") from None
    _rename_inputs(converted, {given: name for name, given in inputs.items()})
    return converted


def _steps(model: Any) -> list[Any]:
    return [step for _step_name, step in model.steps] if isinstance(model, Pipeline) else [model]


def _pick(part: ColumnTransformer, inputs: Mapping[str, str]) -> None:
    """By the names of the converted model's inputs: skl2onnx changes names that are no identifiers."""

    def picked(columns: Any) -> Any:
        if isinstance(columns, str):
            return inputs[columns]
        if isinstance(columns, slice | int):
            return columns
        positions = _positions(columns, list(inputs))
        return [list(inputs.values())[position] for position in positions]

    part.transformers_ = [(name, step, picked(columns)) for name, step, columns in part.transformers_]


def _rename_inputs(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """To the columns' own names. Whatever is called so inside makes room: `tidied` does the same for the outputs."""
    graph = model.graph
    outputs = {port.name for port in graph.output}
    for name in {name for node in graph.node for name in (*node.input, *node.output)}:
        if name in names.values() and name not in outputs:
            rename(graph, name, f"{name}__inner")
    free_outputs(graph, set(names.values()))
    for port in graph.input:
        rename(graph, port.name, names[port.name])
        port.name = names[port.name]


# --- answering --------------------------------------------------------------------------------------------------------


class _Answering:
    def __init__(self, model: Any, columns: Sequence[Column]) -> None:
        self._model = model
        self._columns = columns

    def answer(self, rows: Rows) -> Answers:
        table = self._table(rows)
        if not is_classifier(self._model):
            return Answers(np.asarray(self._model.predict(table), np.float64).reshape(len(table), -1))
        return Answers(np.asarray(self._model.predict_proba(table)), _as_the_graph(self._model.predict(table)))

    def _table(self, rows: Rows) -> Any:
        numbers = [values if values.dtype == object else values.astype(np.float64) for values in rows]
        if hasattr(self._model, "feature_names_in_"):
            return pd.DataFrame(dict(zip([column.name for column in self._columns], numbers, strict=True)))
        return np.column_stack(numbers)


def _class_names(model: Any) -> dict[str, str]:
    """Of classes that the graph can't say as they are: False and True, or 2.0, which is 2. Raises `NotServable`."""
    said = [str(label) for label in _as_the_graph(model.classes_).tolist()]
    meant = [
        str(label).removesuffix(".0") if isinstance(label, float) else str(label) for label in model.classes_.tolist()
    ]
    if len(set(said)) < len(said):
        raise NotServable(
            f"The classes {', '.join(meant[:5])} are not different as whole numbers. Fit the model on text labels."
        )
    return dict(zip(said, meant, strict=True)) if said != meant else {}


def _as_the_graph(labels: Any) -> Array:
    """skl2onnx writes labels as texts or whole numbers."""
    array = np.asarray(labels)
    return array.astype(np.int64) if array.dtype.kind in "bf" else array


def _takes_missing(answer: Any, columns: Sequence[Column]) -> bool:
    row = [
        np.array([column.values[0]], object) if column.kind == "text" else np.array([np.nan], np.float32)
        for column in columns
    ]
    try:
        answer(row)
    except ValueError:
        return False
    return True


def _name(model: Any) -> str:
    return type(_steps(model)[-1]).__name__


def _article(model: Any) -> str:
    name = type(model).__name__
    return f"an {name}" if name[:1] in "AEIOU" else f"a {name}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0][:200] if lines else type(error).__name__).rstrip(".") + "."
