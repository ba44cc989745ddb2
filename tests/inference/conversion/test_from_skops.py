"""scikit-learn's models as skops writes them, converted and asked beside the models themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from inference.signature import NotServable
from tests.inference.conversion.test_boosters import Converted, pd

pytestmark = pytest.mark.long

ROWS, KINDS = load_iris(return_X_y=True)
WITH_GAPS = np.where(np.arange(ROWS.size).reshape(ROWS.shape) % 7, ROWS, np.nan)
SIZE = {"max_iter": 20, "random_state": 3}


def of(folder: Path, fitted: Any) -> Converted:
    return Converted(folder, "skops", skops.io.dumps(fitted))


def near_thresholds(rows: Any) -> Any:
    """The rows, and values half way between those of training, where boosting by histograms splits."""
    half_way = np.round((rows[:-1] + rows[1:]) / 2, 3)
    return np.concatenate([rows, half_way]).astype(np.float32)


@pytest.mark.parametrize("labels", [KINDS, np.array(["x", "y", "z"])[KINDS], KINDS == 1, KINDS - 1.0], ids=str)
@pytest.mark.parametrize("rows", [ROWS, WITH_GAPS], ids=["whole", "gaps"])
def test_histogram_boosting_of_classes(tmp_path: Path, rows: Any, labels: Any) -> None:
    fitted = HistGradientBoostingClassifier(**SIZE).fit(rows, labels)
    model = of(tmp_path, fitted)
    asked = near_thresholds(rows)

    said, probabilities = model.answers(pd.DataFrame(asked))
    np.testing.assert_allclose(probabilities, fitted.predict_proba(asked), atol=1e-6)
    names = model.metadata.get("classes", {})
    meant = [str(label) for label in fitted.predict(asked).tolist()]
    assert [names.get(str(one), str(one)) for one in said] == [one.removesuffix(".0") for one in meant]


@pytest.mark.parametrize("is_scaled", [False, True])
def test_histogram_boosting_of_numbers(tmp_path: Path, is_scaled: bool) -> None:
    regressor = HistGradientBoostingRegressor(**SIZE)
    fitted = (make_pipeline(StandardScaler(), regressor) if is_scaled else regressor).fit(ROWS, ROWS[:, 0] * KINDS)
    asked = ROWS.astype(np.float32) if is_scaled else near_thresholds(ROWS)

    (values,) = of(tmp_path, fitted).answers(pd.DataFrame(asked))
    np.testing.assert_allclose(np.ravel(values), fitted.predict(asked), atol=1e-5)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_a_loss_that_converts_wrongly_is_refused(tmp_path: Path, loss: str) -> None:
    fitted = HistGradientBoostingRegressor(loss=loss, **SIZE).fit(ROWS, KINDS + 1)

    with pytest.raises(NotServable, match="without changing its answers"):
        of(tmp_path, fitted)


@pytest.mark.parametrize(
    "model",
    [
        CalibratedClassifierCV(LinearSVC(), cv=2),
        GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2),
        make_pipeline(SelectKBest(k=2), RandomForestClassifier(5, random_state=3)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_parts_of_scikit_learn_are_known_to_be_safe(tmp_path: Path, model: Any) -> None:
    fitted = model.fit(ROWS, KINDS)

    probabilities = of(tmp_path, fitted).answers(pd.DataFrame(ROWS))[1]
    np.testing.assert_allclose(probabilities, fitted.predict_proba(ROWS.astype(np.float32)), atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (KINDS == 1, {"0": "False", "1": "True"}),
        (KINDS.astype(float), None),
        (KINDS - 1, None),
        (np.array(["no", "yes"])[(KINDS == 1).astype(int)], None),
    ],
    ids=["truths", "floats", "whole", "text"],
)
def test_classes_are_called_as_the_model_calls_them(tmp_path: Path, labels: Any, expected: Any) -> None:
    fitted = RandomForestClassifier(5, random_state=3).fit(ROWS, labels)

    assert of(tmp_path, fitted).metadata.get("classes") == expected


def test_classes_that_are_one_as_whole_numbers_are_refused(tmp_path: Path) -> None:
    fitted = LogisticRegression().fit(ROWS, np.where(KINDS == 1, 1.0, 1.5).astype(str).astype(object))
    fitted.classes_ = np.array([1.0, 1.5])

    with pytest.raises(NotServable, match=r"The classes 1, 1\.5 are not different as whole numbers"):
        of(tmp_path, fitted)
