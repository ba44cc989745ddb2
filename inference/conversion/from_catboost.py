"""CatBoost's own files (`save_model` with its format cbm). CatBoost itself writes the ONNX file."""

from __future__ import annotations

from typing import Any, Final

import catboost
import numpy as np
from catboost.utils import convert_to_onnx_object

from inference.conversion.original import Answers, Original, Rows, columns_of
from inference.signature import NotServable

_CLASSES: Final = frozenset({"Logloss", "CrossEntropy", "MultiClass"})
_NUMBER: Final = frozenset({"RMSE", "MAE", "MAPE", "Quantile", "Huber", "LogCosh", "Lq", "Expectile"})


def read(content: bytes) -> Original:
    """Raises `NotServable`."""
    model = catboost.CatBoost()
    try:
        model.load_model(blob=content)
        loss = str(model.get_all_params()["loss_function"]).partition(":")[0]
    except (catboost.CatBoostError, KeyError):
        raise NotServable("This CatBoost file is damaged, or of a version that this console can't read.") from None
    names = [str(name) for name in model.feature_names_ or []]
    _refuse_unconvertible(model, loss, names)
    is_classifier = loss in _CLASSES
    is_named = names != [str(position) for position in range(len(names))]
    is_binary = is_classifier and len(model.classes_) == 2
    return Original(
        library=f"CatBoost {catboost.__version__}",
        columns=columns_of(names if is_named else [""] * len(names)),
        task="regression" if not is_classifier else "binary" if is_binary else "multiclass",
        answer=lambda rows: _answers(model, rows, is_classifier=is_classifier),
        to_onnx=lambda: _converted(model),
    )


def _refuse_unconvertible(model: catboost.CatBoost, loss: str, names: list[str]) -> None:
    for positions, kind in (
        (model.get_cat_feature_indices(), "categories"),
        (model.get_text_feature_indices(), "text"),
        (model.get_embedding_feature_indices(), "embeddings"),
    ):
        if positions:
            columns = ", ".join(names[position] for position in positions[:5])
            raise NotServable(
                f"The CatBoost model has columns of {kind} ({columns}), which CatBoost can't write as ONNX. Train it "
                "with numbers alone: encode them before, and export the pipeline."
            )
    if loss not in _CLASSES | _NUMBER:
        known = ", ".join(sorted(_CLASSES | _NUMBER))
        raise NotServable(
            f"The CatBoost model has the loss function {loss}, which can't be converted exactly. Taken are {known}."
        )


def _converted(model: catboost.CatBoost) -> Any:
    try:
        return convert_to_onnx_object(model)
    except catboost.CatBoostError as error:
        reason = str(error).rpartition(": ")[2]
        advice = " Fit it on labels that are text or whole numbers." if "label" in reason else ""
        raise NotServable(f"CatBoost can't write this model as ONNX: {reason}.{advice}") from None


def _answers(model: catboost.CatBoost, rows: Rows, *, is_classifier: bool) -> Answers:
    matrix = np.column_stack(rows).astype(np.float32)
    if not is_classifier:
        numbers = np.asarray(model.predict(matrix, prediction_type="RawFormulaVal", thread_count=1))
        return Answers(numbers.reshape(len(matrix), -1))
    probabilities = np.asarray(model.predict(matrix, prediction_type="Probability", thread_count=1))
    labels = np.asarray(model.predict(matrix, prediction_type="Class", thread_count=1)).reshape(-1)
    return Answers(probabilities, labels)
