"""Entries in other formats than ONNX, as their own libraries write them: what the console turns into ONNX itself."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import mlflow
import numpy as np
import onnx
import pandas as pd
import skops.io
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tests.zoo.making import N_SHOWN, SEED, Entry, flat, labelled, model, numbers, seeded, texts, wide

NAMES = ["a b", "c.d", "label", "50%"]
TOWNS = ["Bern", "New York", "São Paulo", "a,b"]


def table(*, has_gaps: bool = False, towns: list[str] | None = None, is_plain: bool = False) -> pd.DataFrame:
    """`is_plain`: LightGBM writes an underscore for each blank in a name."""
    rows = numbers()
    if has_gaps:
        rows[::4, 0] = np.nan
        rows[1::6, 2] = np.nan
    found = pd.DataFrame(rows, columns=NAMES)
    if towns is not None:
        found["town"] = pd.Categorical(seeded().choice(towns, len(found)))
    return found.rename(columns=lambda name: name.replace(" ", "_")) if is_plain else found


def aims(labels: list[Any]) -> Any:
    return labelled(numbers(), labels)


def number(rows: pd.DataFrame) -> Any:
    """A target with some of everything in it."""
    found = rows[NAMES[1]] * 3 + np.sin(rows[NAMES[3]])
    return found + rows["town"].astype(str).str.len() if "town" in rows else found


def shown(rows: pd.DataFrame) -> list[dict[str, Any]]:
    lines = rows.head(N_SHOWN).astype(object).to_dict("records")
    return [{name: None if cell != cell else cell for name, cell in line.items()} for line in lines]


def entry(made: str, ending: str, content: bytes, rows: pd.DataFrame, **answers: Any) -> Entry:
    return Entry(made=made, ending=ending, content=content, rows=shown(rows), **answers)


def classified(fitted: Any, rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "labels": texts(np.asarray(fitted.predict(rows)).reshape(-1)),
        "classes": [str(label) for label in fitted.classes_],
        "probabilities": wide(fitted.predict_proba(rows)),
    }


def refused(words: str) -> dict[str, Any]:
    return {"refused": {"field": "file", "words": words}}


def saved(save: Callable[[str], Any], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        save(str(path))
        return path.read_bytes()


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder.parent))), path.read_bytes())
    return packed.getvalue()


def logged(log: Callable[[str], Any]) -> bytes:
    """The folder that MLflow writes, as a zip archive."""
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above, "model")
        log(str(folder))
        return zipped(folder)


# --- XGBoost ----------------------------------------------------------------------------------------------------------

SIZE: dict[str, Any] = {"n_estimators": 6, "max_depth": 3, "random_state": SEED}


@model
def file_xgb_json() -> Entry:
    rows = table(has_gaps=True)
    fitted = xgboost.XGBClassifier(**SIZE).fit(rows, aims([0, 1]))
    content = saved(fitted.save_model, "m.json")
    return entry("XGBoost JSON: two classes, missing values", ".ubj", content, rows, **classified(fitted, rows))


@model
def file_xgb_ubj() -> Entry:
    rows = table()
    fitted = xgboost.XGBClassifier(**SIZE).fit(rows, aims([0, 1, 2]))
    return entry(
        "XGBoost UBJ: three classes", ".ubj", saved(fitted.save_model, "m.ubj"), rows, **classified(fitted, rows)
    )


@model
def file_xgb_categories() -> Entry:
    rows = table(towns=["Bern", "New York", "Oslo", "a,b"])
    fitted = xgboost.XGBRegressor(enable_categorical=True, **SIZE).fit(rows, number(rows))
    content = saved(fitted.save_model, "m.ubj")
    return entry(
        "XGBoost UBJ: categories by name", ".ubj", content, rows, values={"prediction": flat(fitted.predict(rows))}
    )


@model
def file_xgb_stopped_early() -> Entry:
    rows, labels = table(), aims([0, 1])
    fitted = xgboost.XGBClassifier(**{**SIZE, "n_estimators": 200}, early_stopping_rounds=3)
    fitted.fit(rows[:120], labels[:120], eval_set=[(rows[120:], labels[120:])], verbose=False)
    content = saved(fitted.save_model, "m.ubj")
    return entry("XGBoost UBJ: stopped early", ".ubj", content, rows, **classified(fitted, rows))


def _xgb_refused(made: str, words: str, aim: Any, **params: Any) -> Entry:
    rows = table()
    booster = xgboost.train({"max_depth": 2, **params}, xgboost.DMatrix(rows, aim(rows)), 3)
    return entry(f"XGBoost UBJ: {made}", ".ubj", saved(booster.save_model, "m.ubj"), rows, **refused(words))


@model
def file_xgb_dart() -> Entry:
    return _xgb_refused("dart", "the booster dart", number, booster="dart")


@model
def file_xgb_hinge() -> Entry:
    return _xgb_refused(
        "a class without a probability", "binary:hinge", lambda rows: aims([0, 1]), objective="binary:hinge"
    )


@model
def file_xgb_two_targets() -> Entry:
    return _xgb_refused("two targets", "predicts 2 targets at once", lambda rows: np.c_[number(rows), number(rows)])


# --- LightGBM ---------------------------------------------------------------------------------------------------------


def _lightgbm(made: str, rows: pd.DataFrame, fitted: Any, **answers: Any) -> Entry:
    content = saved(fitted.booster_.save_model, "m.txt")
    return entry(f"LightGBM text: {made}", ".txt", content, rows, **answers)


@model
def file_lgbm_gaps() -> Entry:
    rows = table(is_plain=True, has_gaps=True)
    fitted = lightgbm.LGBMClassifier(**SIZE, verbose=-1).fit(rows, aims([0, 1]))
    return _lightgbm("two classes, missing values", rows, fitted, **classified(fitted, rows))


@model
def file_lgbm_multi() -> Entry:
    rows = table(is_plain=True)
    fitted = lightgbm.LGBMClassifier(**SIZE, verbose=-1).fit(rows, aims([0, 1, 2]))
    return _lightgbm("three classes", rows, fitted, **classified(fitted, rows))


@model
def file_lgbm_categories() -> Entry:
    rows = table(is_plain=True, towns=TOWNS)
    fitted = lightgbm.LGBMRegressor(**SIZE, verbose=-1, min_data_per_group=1).fit(rows, number(rows))
    return _lightgbm("categories by name", rows, fitted, values={"prediction": flat(fitted.predict(rows))})


@model
def file_lgbm_counts() -> Entry:
    rows = table(is_plain=True)
    fitted = lightgbm.LGBMRegressor(objective="poisson", **SIZE, verbose=-1).fit(rows, number(rows).abs())
    return _lightgbm("counts", rows, fitted, values={"prediction": flat(fitted.predict(rows))})


@model
def file_lgbm_linear() -> Entry:
    rows = table(is_plain=True)
    fitted = lightgbm.LGBMRegressor(linear_tree=True, **SIZE, verbose=-1).fit(rows, number(rows))
    return _lightgbm("linear trees", rows, fitted, **refused("linear trees"))


@model
def file_lgbm_one_against_all() -> Entry:
    rows = table(is_plain=True)
    fitted = lightgbm.LGBMClassifier(objective="multiclassova", **SIZE, verbose=-1).fit(rows, aims([0, 1, 2]))
    return _lightgbm("one class against all others", rows, fitted, **refused("multiclassova"))


# --- CatBoost ---------------------------------------------------------------------------------------------------------

QUIET: dict[str, Any] = {"iterations": 8, "depth": 3, "verbose": 0, "allow_writing_files": False, "random_seed": SEED}


def _catboost(made: str, rows: pd.DataFrame, fitted: Any, **answers: Any) -> Entry:
    return entry(f"CatBoost cbm: {made}", ".cbm", saved(fitted.save_model, "m.cbm"), rows, **answers)


@model
def file_catboost_binary() -> Entry:
    rows = table(has_gaps=True)
    fitted = catboost.CatBoostClassifier(**QUIET).fit(rows, aims([0, 1]))
    return _catboost("two classes, missing values", rows, fitted, **classified(fitted, rows))


@model
def file_catboost_texts() -> Entry:
    rows = table()
    fitted = catboost.CatBoostClassifier(**QUIET).fit(rows, aims(["low", "mid", "high"]))
    return _catboost("three text labels", rows, fitted, **classified(fitted, rows))


@model
def file_catboost_regressor() -> Entry:
    rows = table()
    fitted = catboost.CatBoostRegressor(**QUIET).fit(rows, number(rows))
    return _catboost("one target", rows, fitted, values={"prediction": flat(fitted.predict(rows))})


@model
def file_catboost_categories() -> Entry:
    rows = table(towns=TOWNS)
    fitted = catboost.CatBoostRegressor(**QUIET, cat_features=["town"]).fit(rows, number(rows))
    return _catboost("categories", rows, fitted, **refused("columns of categories (town)"))


# --- skops ------------------------------------------------------------------------------------------------------------


@model
def file_skops_forest() -> Entry:
    rows = table()
    fitted = RandomForestClassifier(8, max_depth=4, random_state=SEED).fit(rows, aims([7, 3, 5]))
    return entry("skops RandomForestClassifier", ".skops", skops.io.dumps(fitted), rows, **classified(fitted, rows))


@model
def file_skops_pipeline() -> Entry:
    rows = table(towns=TOWNS).astype({"town": object})
    front = ColumnTransformer([("n", StandardScaler(), NAMES), ("t", OneHotEncoder(), ["town"])])
    fitted = Pipeline([("front", front), ("last", LogisticRegression())]).fit(rows, aims(["no", "yes"]))
    return entry("skops Pipeline: text and numbers", ".skops", skops.io.dumps(fitted), rows, **classified(fitted, rows))


@model
def file_skops_function() -> Entry:
    rows = table()
    fitted = Pipeline([("f", FunctionTransformer(saved)), ("l", LinearRegression())])
    fitted.steps[1][1].fit(rows, number(rows))
    words = "is not known to be safe to load"
    return entry(
        "skops Pipeline: a function of somebody's own", ".skops", skops.io.dumps(fitted), rows, **refused(words)
    )


# --- archives ---------------------------------------------------------------------------------------------------------


@model
def file_mlflow_xgboost() -> Entry:
    rows = table()
    fitted = xgboost.XGBClassifier(**SIZE).fit(rows, aims([0, 1]))
    signature = mlflow.models.infer_signature(rows, fitted.predict(rows))
    content = logged(
        lambda to: mlflow.xgboost.save_model(
            fitted, to, signature=signature, input_example=rows.head(3), model_format="ubj"
        )
    )
    return entry("MLflow folder: XGBoost", ".zip", content, rows, **classified(fitted, rows))


@model
def file_mlflow_lightgbm() -> Entry:
    rows = table(is_plain=True)
    fitted = lightgbm.LGBMRegressor(**SIZE, verbose=-1).fit(rows, number(rows))
    signature = mlflow.models.infer_signature(rows, fitted.predict(rows))
    content = logged(lambda to: mlflow.lightgbm.save_model(fitted.booster_, to, signature=signature))
    return entry("MLflow folder: LightGBM", ".zip", content, rows, values={"prediction": flat(fitted.predict(rows))})


@model
def file_mlflow_catboost() -> Entry:
    rows = table()
    fitted = catboost.CatBoostRegressor(**QUIET).fit(rows, number(rows))
    content = logged(lambda to: mlflow.catboost.save_model(fitted, to, input_example=rows.head(3)))
    return entry("MLflow folder: CatBoost", ".zip", content, rows, values={"prediction": flat(fitted.predict(rows))})


@model
def file_mlflow_onnx() -> Entry:
    rows = table()
    fitted = LinearRegression().fit(rows, number(rows))
    weights = ", ".join(map(repr, map(float, fitted.coef_)))
    graph = onnx.parser.parse_graph(
        "g (float[N, 4] x) => (float[N, 1] y) "
        f"<float[4, 1] w = {{{weights}}}, float b = {{{float(fitted.intercept_)!r}}}> "
        "{ z = MatMul(x, w) y = Add(z, b) }"
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    signature = mlflow.models.infer_signature(rows, fitted.predict(rows))
    content = logged(lambda to: mlflow.onnx.save_model(made, to, signature=signature, save_as_external_data=True))
    return entry(
        "MLflow folder: ONNX with its weights beside it",
        ".zip",
        content,
        rows,
        values={"prediction": flat(fitted.predict(rows))},
    )


@model
def file_mlflow_sklearn() -> Entry:
    rows = table()
    fitted = LinearRegression().fit(rows, number(rows))
    content = logged(lambda to: mlflow.sklearn.save_model(fitted, to, serialization_format="pickle"))
    return entry(
        "MLflow folder: scikit-learn", ".zip", content, rows, **refused("has the flavours python_function, sklearn")
    )
