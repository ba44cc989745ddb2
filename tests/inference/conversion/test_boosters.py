"""Models trained here, in every form that their libraries have, converted and asked beside their own library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from inference.conversion.conversion import converted
from inference.engines.onnx.graph import own_metadata
from inference.signature import NotServable

pytestmark = pytest.mark.long

pd = pytest.importorskip("pandas")
xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")

N_ROWS = 300
NAMES = ["a b", "label", "variable", "é%"]


def random() -> np.random.Generator:
    return np.random.default_rng(5)


def table(*, with_gaps: bool = True) -> Any:
    rows = random().normal(size=(N_ROWS, 4)).astype(np.float32)
    if with_gaps:
        rows[::5, 0] = np.nan
        rows[::7, 1] = 0
    return pd.DataFrame(rows, columns=NAMES)


def number(rows: Any) -> Any:
    return (np.nan_to_num(rows[NAMES[0]]) * 3 + rows[NAMES[2]] ** 2).to_numpy()


def two(rows: Any) -> Any:
    return (number(rows) > 1).astype(int)


def three(rows: Any) -> Any:
    return np.digitize(number(rows), [-0.5, 1.5])


class Converted:
    """What the console makes of a file, asked by ONNX Runtime."""

    def __init__(self, folder: Path, kind: str, content: bytes) -> None:
        path = folder / "file"
        path.write_bytes(content)
        made = converted(path, kind)
        self.metadata = json.loads(own_metadata(onnx.load_model_from_string(made)))
        self._session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])

    def answers(self, rows: Any) -> list[Any]:
        ports = self._session.get_inputs()
        if len(ports) == 1:
            return self._session.run(None, {ports[0].name: rows.to_numpy(np.float32)})
        feed = {}
        for port in ports:
            cells = rows[port.name]
            is_text = port.type == "tensor(string)"
            values = cells.astype(object).fillna("") if is_text else cells.astype(np.float32)
            feed[port.name] = values.to_numpy().reshape(-1, 1)
        return self._session.run(None, feed)


def xgboost_file(rows: Any, aim: Any, *, form: str = "ubj", **params: Any) -> tuple[Any, bytes]:
    matrix = xgboost.DMatrix(rows, aim, enable_categorical=True)
    booster = xgboost.train({"verbosity": 0, "nthread": 1, **params}, matrix, 20)
    return booster, bytes(booster.save_raw(form))


def lightgbm_file(rows: Any, aim: Any, *, train: dict[str, Any] | None = None, **params: Any) -> tuple[Any, bytes]:
    data = lightgbm.Dataset(rows, aim, params={"verbose": -1}, **(train or {}))
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **params}, data, 20)
    return booster, booster.model_to_string().encode()


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize(
    ("params", "aim"),
    [
        ({"objective": "binary:logistic"}, two),
        ({"objective": "binary:logistic", "base_score": 0.2, "num_parallel_tree": 3, "subsample": 0.7}, two),
        ({"objective": "multi:softprob", "num_class": 3}, three),
        ({"objective": "multi:softmax", "num_class": 3}, three),
        ({"objective": "reg:squarederror"}, number),
        ({"objective": "reg:absoluteerror"}, number),
        ({"objective": "reg:pseudohubererror"}, number),
        ({"objective": "reg:quantileerror", "quantile_alpha": 0.3}, number),
        ({"objective": "reg:gamma"}, lambda rows: abs(number(rows)) + 0.1),
        ({"objective": "count:poisson"}, lambda rows: abs(number(rows))),
    ],
)
def test_xgboost(tmp_path: Path, params: dict[str, Any], aim: Callable[[Any], Any], form: str) -> None:
    rows = table()
    booster, content = xgboost_file(rows, aim(rows), form=form, **params)
    model = Converted(tmp_path, "xgboost", content)

    numbers = np.asarray(model.answers(rows)[-1])
    matrix = xgboost.DMatrix(rows)
    assert [column["name"] for column in model.metadata["columns"]] == NAMES
    if params["objective"].startswith("binary"):
        np.testing.assert_allclose(numbers[:, 1], booster.predict(matrix), atol=1e-6)
    elif params["objective"] == "multi:softmax":
        assert (numbers.argmax(axis=1) == booster.predict(matrix)).all()
    else:
        np.testing.assert_allclose(numbers.squeeze(), booster.predict(matrix), rtol=1e-4, atol=1e-5)


def test_xgboost_categories_are_asked_by_name_and_by_number(tmp_path: Path) -> None:
    rows = table()
    rows["town"] = pd.Categorical(random().choice(["Bern", "Oslo", "a,b"], N_ROWS))
    rows["floor"] = pd.Categorical(random().choice([3, 4, 7], N_ROWS))
    aim = number(rows) + (rows["town"] == "Oslo") * 4 + (rows["floor"] == 7) * 2
    booster, content = xgboost_file(rows, aim)
    model = Converted(tmp_path, "xgboost", content)

    kinds = {column["name"]: column.get("type") for column in model.metadata["columns"]}
    assert (kinds["town"], kinds["floor"]) == ("string", "int")
    expected = booster.predict(xgboost.DMatrix(rows, enable_categorical=True))
    np.testing.assert_allclose(np.asarray(model.answers(rows)[0]).ravel(), expected, rtol=1e-4, atol=1e-5)


def test_xgboost_names_of_categories_that_it_has_cut_are_refused(tmp_path: Path) -> None:
    rows = table()
    rows["town"] = pd.Categorical(random().choice(["Bern", "Zürich"], N_ROWS))
    _booster, content = xgboost_file(rows, number(rows))

    with pytest.raises(NotServable, match="a letter beyond ASCII"):
        Converted(tmp_path, "xgboost", content)


@pytest.mark.parametrize(
    ("params", "aim", "words"),
    [
        ({"objective": "binary:hinge"}, two, "binary:hinge"),
        ({"objective": "binary:logitraw"}, two, "binary:logitraw"),
        ({"objective": "reg:logistic"}, two, "reg:logistic"),
        ({"objective": "rank:pairwise"}, two, "rank:pairwise"),
        ({"objective": "multi:softprob", "num_class": 2}, two, "with two classes"),
        ({"booster": "dart"}, number, "the booster dart"),
        ({"booster": "gblinear"}, number, "the booster gblinear"),
        ({}, lambda rows: np.c_[number(rows), number(rows)], "predicts 2 targets at once"),
        (
            {"multi_strategy": "multi_output_tree"},
            lambda rows: np.c_[number(rows), number(rows)],
            "predicts 2 targets at once",
        ),
    ],
)
def test_xgboost_that_converts_wrongly_is_refused_by_name(
    tmp_path: Path, params: dict[str, Any], aim: Callable[[Any], Any], words: str
) -> None:
    rows = table(with_gaps=False)
    _booster, content = xgboost_file(rows, aim(rows), **params)

    with pytest.raises(NotServable, match=words):
        Converted(tmp_path, "xgboost", content)


@pytest.mark.parametrize("is_by_scikit_learn", [True, False])
def test_xgboost_stopped_early_answers_as_its_own_interface_does(tmp_path: Path, is_by_scikit_learn: bool) -> None:
    """scikit-learn's predicts with the best iteration, XGBoost's own with all of them."""
    rows = table()
    labels = two(rows)
    path = tmp_path / "m.ubj"
    if is_by_scikit_learn:
        fitted = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=4)
        fitted.fit(rows[:150], labels[:150], eval_set=[(rows[150:], labels[150:])], verbose=False)
        expected = fitted.predict_proba(rows)[:, 1]
        fitted.save_model(path)
    else:
        train, test = xgboost.DMatrix(rows[:150], labels[:150]), xgboost.DMatrix(rows[150:], labels[150:])
        fitted = xgboost.train(
            {"objective": "binary:logistic"},
            train,
            200,
            evals=[(test, "test")],
            early_stopping_rounds=4,
            verbose_eval=False,
        )
        expected = fitted.predict(xgboost.DMatrix(rows))
        fitted.save_model(path)
    model = Converted(tmp_path, "xgboost", path.read_bytes())

    np.testing.assert_allclose(np.asarray(model.answers(rows)[-1])[:, 1], expected, atol=1e-6)
    assert "rounds count" in model.metadata["description"]


@pytest.mark.parametrize(
    ("params", "aim"),
    [
        ({"objective": "binary"}, two),
        ({"objective": "multiclass", "num_class": 3}, three),
        ({"objective": "regression"}, number),
        ({"objective": "regression", "boosting": "dart"}, number),
        ({"objective": "regression_l1"}, number),
        ({"objective": "huber"}, number),
        ({"objective": "fair"}, number),
        ({"objective": "mape"}, number),
        ({"objective": "quantile", "alpha": 0.3}, number),
        ({"objective": "poisson"}, lambda rows: abs(number(rows))),
        ({"objective": "gamma"}, lambda rows: abs(number(rows)) + 0.1),
        ({"objective": "tweedie"}, lambda rows: abs(number(rows))),
    ],
)
@pytest.mark.parametrize("with_gaps", [True, False], ids=["gaps", "whole"])
def test_lightgbm(tmp_path: Path, params: dict[str, Any], aim: Callable[[Any], Any], with_gaps: bool) -> None:
    """Asked with gaps in either case: a column that had none in training takes a missing value for 0."""
    rows = table(with_gaps=with_gaps)
    booster, content = lightgbm_file(rows, aim(rows), **params)
    model = Converted(tmp_path, "lightgbm", content)

    asked = table(with_gaps=True)
    numbers = np.asarray(model.answers(asked.rename(columns=lambda name: name.replace(" ", "_")))[-1])
    expected = booster.predict(asked.astype(np.float64))
    if params["objective"] == "binary":
        numbers = numbers[:, 1]
    np.testing.assert_allclose(numbers.squeeze(), expected, rtol=1e-4, atol=1e-5)


def test_lightgbm_thresholds_between_two_float32_are_kept(tmp_path: Path) -> None:
    """Rounded to the nearest, a threshold would let the value just above it pass."""
    rows = pd.DataFrame(np.round(random().normal(size=(N_ROWS, 4)), 2), columns=NAMES)
    booster, content = lightgbm_file(rows, number(rows), num_leaves=100)
    model = Converted(tmp_path, "lightgbm", content)

    exact = rows.astype(np.float32).astype(np.float64)
    numbers = np.asarray(model.answers(exact)[-1]).ravel()
    np.testing.assert_allclose(numbers, booster.predict(exact), rtol=1e-4, atol=1e-5)


def test_lightgbm_categories_are_asked_by_name_and_by_number(tmp_path: Path) -> None:
    rows = table().rename(columns=lambda name: name.replace(" ", "_"))
    rows["town"] = pd.Categorical(random().choice(["Bern", "Zürich", "a,b"], N_ROWS))
    rows["floor"] = pd.Categorical(random().choice([3, 4, 7], N_ROWS))
    aim = random().normal(size=N_ROWS) / 5 + (rows["town"] == "Zürich") * 4 + (rows["floor"] == 7) * 2
    booster, content = lightgbm_file(rows, aim, min_data_per_group=1)
    model = Converted(tmp_path, "lightgbm", content)

    np.testing.assert_allclose(np.asarray(model.answers(rows)[0]).ravel(), booster.predict(rows), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "aim", "words"),
    [
        ({"objective": "multiclassova", "num_class": 3}, three, "multiclassova"),
        ({"objective": "cross_entropy"}, two, "cross_entropy"),
        ({"objective": "binary", "sigmoid": 2}, two, "sigmoid=2"),
        ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, number, "random forest"),
        ({"linear_tree": True}, number, "linear trees"),
        ({"reg_sqrt": True}, number, "reg_sqrt"),
        ({"zero_as_missing": True}, number, "zero_as_missing"),
    ],
)
def test_lightgbm_that_converts_wrongly_is_refused_by_name(
    tmp_path: Path, params: dict[str, Any], aim: Callable[[Any], Any], words: str
) -> None:
    rows = table()
    _booster, content = lightgbm_file(rows, aim(rows), **params)

    with pytest.raises(NotServable, match=words):
        Converted(tmp_path, "lightgbm", content)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("xgboost", b'{"learner": {}}'),
        ("xgboost", b'{"learner": [' + b"[" * 5000),
        ("xgboost", b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner"),
        ("lightgbm", b"tree\nversion=v4\nnum_class=1\n"),
        ("lightgbm", b"tree\nversion=v4\nnum_class=\xff\n"),
        ("skops", b"PK\x05\x06" + bytes(18)),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, kind: str, content: bytes) -> None:
    with pytest.raises(NotServable, match="is damaged"):
        Converted(tmp_path, kind, content)
