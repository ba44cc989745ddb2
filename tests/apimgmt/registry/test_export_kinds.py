"""demo/export_sklearn.py: kinds of models, columns and targets. Answers are compared with the library's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from apimgmt.models import Workspace
from apimgmt.registry.registration import register_model
from tests.apimgmt.registry.model_owner import Owner, numbers
from tests.apimgmt.registry.test_registration import INSTALLER

pytestmark = pytest.mark.long  # each case is a conversion by real libraries
ODD_NAMES = ["size m2", "p.h", "share%", "2nd", "#rooms", "größe", "a-b", "label"]


def shops(n_rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "zip": random.choice(["01234", "10115", "80331"], n_rows),
            "region": random.choice(["NA", "EMEA", "APAC"], n_rows),
            "sales": random.normal(100, 20, n_rows).round(2),
        }
    )


def encoded(columns: list[str], final: Any) -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(ColumnTransformer([("texts", encoder, columns)], remainder="passthrough"), final)


# --- columns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("picks", ["names", "positions", "mask", "selector"])
def test_columns_keep_names_that_are_no_identifiers(owner: Owner, picks: str) -> None:
    table = numbers(ODD_NAMES).assign(**{"home town": np.tile(["Ulm", "Köln"], 40)})
    target = (table["2nd"] > 0).astype(int)
    taken: Any = {
        "names": ODD_NAMES,
        "positions": list(range(8)),
        "mask": [True] * 8 + [False],
        "selector": make_column_selector(dtype_include="number"),
    }[picks]
    prepare = ColumnTransformer([("n", StandardScaler(), taken), ("t", OneHotEncoder(), ["home town"])])
    model = make_pipeline(prepare, LogisticRegression()).fit(table, target)

    code, said = owner.export(model, table)

    assert code == 0, said
    assert [column["name"] for column in owner.metadata["columns"]] == [*ODD_NAMES, "home town"]
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_a_booster_takes_columns_of_true_and_false(owner: Owner) -> None:
    table = numbers(["size m2", "b"]).assign(is_new=np.tile([True, False], 40))
    model = XGBClassifier(n_estimators=5).fit(table, table["b"] > 0)

    code, said = owner.export(model, table)

    assert code == 0, said
    assert [column["type"] for column in owner.metadata["columns"]] == ["float", "float", "bool"]
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_true_and_false_with_gaps_stay_true_and_false(owner: Owner) -> None:
    table = numbers(["a", "b"]).assign(is_new=np.tile([1.0, 0.0, np.nan, 1.0], 20))
    model = XGBClassifier(n_estimators=5).fit(table, (table["b"] > 0).astype(int))
    shown = table.assign(is_new=table["is_new"].map({1.0: "true", 0.0: "false"}))

    code, said = owner.export(model, shown)

    assert code == 0, said
    assert owner.metadata["columns"][2] == {"name": "is_new", "type": "bool", "baseline": True, "nullable": True}


def test_lightgbm_keeps_the_tables_own_names(owner: Owner) -> None:
    table = numbers(["size m2", "p.h", "share%"])
    model = LGBMClassifier(n_estimators=5, verbose=-1).fit(table, np.where(table["p.h"] > 0, "yes", "no"))

    code, said = owner.export(model, table)

    assert code == 0, said
    assert [column["name"] for column in owner.metadata["columns"]] == ["size m2", "p.h", "share%"]
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_a_category_spelt_na_and_a_zip_code_stay_text(owner: Owner) -> None:
    table = shops()
    model = encoded(["zip", "region"], LogisticRegression()).fit(table, (table["region"] == "NA").astype(int))

    code, said = owner.export(model, table)

    assert code == 0, said
    zips, regions, _sales = owner.metadata["columns"]
    assert (zips["type"], zips["categories"]) == ("string", ["01234", "10115", "80331"])
    assert regions["categories"] == ["APAC", "EMEA", "NA"]
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_zip_codes_without_a_leading_zero_are_text_where_the_model_learnt_text(owner: Owner) -> None:
    table = shops()
    model = encoded(["zip", "region"], LogisticRegression()).fit(table, (table["region"] == "NA").astype(int))

    code, said = owner.export(model, table[table["zip"] != "01234"])

    assert code == 0, said
    assert owner.metadata["columns"][0]["categories"] == ["01234", "10115", "80331"]
    assert owner.metadata["sample"]["zip"] in {"10115", "80331"}


def test_na_is_a_gap_where_the_encoder_does_not_list_it(owner: Owner) -> None:
    table = shops().replace({"region": {"NA": None}})
    model = encoded(["zip", "region"], LogisticRegression()).fit(table, (table["sales"] > 100).astype(int))

    code, said = owner.export(model, table.fillna({"region": "NA"}))

    assert code == 0, said
    assert owner.metadata["columns"][1]["categories"] == ["APAC", "EMEA"]
    assert owner.metadata["columns"][1]["nullable"] is True


def test_numbers_with_leading_zeros_are_numbers_where_the_model_computes_with_them(owner: Owner) -> None:
    table = numbers(["a", "b"]).assign(count=np.tile([7, 12], 40))
    model = DecisionTreeClassifier().fit(table, (table["a"] > 0).astype(int))

    code, said = owner.export(model, table.assign(count=table["count"].map("{:03d}".format)))

    assert code == 0, said
    assert owner.metadata["columns"][2]["type"] == "int"


def test_text_in_a_column_of_numbers_is_named_with_its_row(owner: Owner) -> None:
    table = numbers(["a", "b"])
    model = DecisionTreeClassifier().fit(table, (table["a"] > 0).astype(int))
    table = table.astype({"b": object})
    table.loc[3, "b"] = "unknown"

    code, said = owner.export(model, table)

    assert code == 1
    assert 'The column b goes into the DecisionTreeClassifier as numbers, and row 4 of the sample has "unknown"' in said


# --- text pipelines ---------------------------------------------------------------------------------------------

TEXTS = ["good film a day", "bad film I 2 u", "Très BON CINÉMA", "not good, bad!", "it's ok", "o so GOOD-film_x"] * 8


def test_a_pipeline_that_reads_texts_is_exported(owner: Owner) -> None:
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0, 1, 1] * 8)
    table = pd.DataFrame({"review": TEXTS, "good": [1, 0, 1, 0, 1, 1] * 8})

    code, said = owner.export(model, table, "--target", "good")

    assert code == 0, said
    assert [(one["name"], one["type"]) for one in owner.metadata["columns"]] == [("review", "string")]
    more = pd.DataFrame({"review": [*TEXTS[:6], "nothing known", "CINÉMA x"]})
    assert owner.answers(more)[1] == pytest.approx(model.predict_proba(more["review"]), abs=1e-4)


def test_texts_beside_numbers_are_exported(owner: Owner) -> None:
    table = numbers(["a", "b"], 48).assign(**{"the review": TEXTS})
    prepare = ColumnTransformer([("text", TfidfVectorizer(), "the review"), ("n", StandardScaler(), ["a", "b"])])
    model = make_pipeline(prepare, LogisticRegression()).fit(table, [1, 0, 1, 0, 1, 1] * 8)

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


@pytest.mark.parametrize(
    "front",
    [
        (OneHotEncoder(handle_unknown="ignore"),),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),),
        (SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
    ],
    ids=["one-hot", "ordinal", "imputed"],
)
def test_text_columns_need_no_column_transformer(owner: Owner, front: tuple[Any, ...]) -> None:
    table = shops()[["zip", "region"]].rename(columns={"zip": "zip code"})
    model = make_pipeline(*front, LogisticRegression()).fit(table, (table["zip code"] == "01234").astype(int))

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_texts_may_be_read_in_several_ways(owner: Owner) -> None:
    letters = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
    model = make_pipeline(FeatureUnion([("words", TfidfVectorizer()), ("letters", letters)]), LogisticRegression())
    model.fit(TEXTS[:2] * 20, [1, 0] * 20)
    table = pd.DataFrame({"review": TEXTS[:2] * 20})

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table["review"]), abs=1e-4)


# --- targets and outputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (lambda y: (y > 0).astype(float), ["0", "1"]),
        (lambda y: y > 0, {"0": "False", "1": "True"}),
        (lambda y: np.where(y > 0, 7, 3), ["3", "7"]),
        (lambda y: np.where(y > 0, "no, never", "yes"), ["no, never", "yes"]),
    ],
    ids=["float", "bool", "int", "text"],
)
@pytest.mark.parametrize("kind", [LogisticRegression, GaussianNB, RandomForestClassifier])
def test_targets_of_every_type(owner: Owner, kind: Any, target: Any, classes: Any) -> None:
    table = numbers(["a", "b"])
    model = kind().fit(table, target(table["a"]))

    code, said = owner.export(model, table.assign(y=target(table["a"])))

    assert code == 0, said
    assert (owner.metadata["classes"], owner.metadata["target"]) == (classes, "y")


def test_a_sample_in_which_the_target_is_missing_here_and_there(owner: Owner) -> None:
    table = numbers(["a", "b"])
    known = (table["a"] > 0).astype(float)
    model = LogisticRegression().fit(table, known)

    code, said = owner.export(model, table.assign(y=known.where(table.index % 3 > 0)), "--target", "y")

    assert code == 0, said
    assert [column["name"] for column in owner.metadata["columns"]] == ["a", "b"]
    assert "80 rows: all alike" in said


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        RandomForestRegressor(5, random_state=0),
        MultiOutputRegressor(LinearRegression()),
        MultiOutputRegressor(XGBRegressor(n_estimators=5)),
        # Its converter puts the targets below each other.
        MLPRegressor(hidden_layer_sizes=4, tol=10, n_iter_no_change=1, random_state=0),
    ],
    ids=["linear", "forest", "each", "boosted", "neural"],
)
def test_several_targets_are_the_columns_of_one_output(owner: Owner, model: Any) -> None:
    table = numbers(["a", "b", "c"])
    targets = pd.DataFrame({"variable": table["a"] * 2, "weight": table["b"] - table["c"]})
    model.fit(table, targets)

    code, said = owner.export(model, table.join(targets))

    assert code == 0, said
    assert owner.metadata["outputs"] == {"value": ["variable", "weight"]}
    assert "target" not in owner.metadata
    (answer,) = owner.answers(table)
    assert answer == pytest.approx(model.predict(table), abs=1e-4)
    session = onnxruntime.InferenceSession(owner.folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].name not in {"variable", "weight"}


def test_targets_are_named_one_by_one(owner: Owner) -> None:
    table = numbers(["a", "b", "h", "w"])
    model = LinearRegression().fit(table[["a", "b"]].to_numpy(), table[["h", "w"]])

    code, said = owner.export(model, table, "--target", "h", "--target", "w")
    refused, words = owner.run("--target", "h")

    assert code == 0, said
    assert owner.metadata["outputs"] == {"value": ["h", "w"]}
    assert refused == 1
    assert "takes 2 columns and the sample has 3" in words


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [LinearSVC, SVC, RidgeClassifier])
def test_scores_are_told_as_scores(owner: Owner, kind: Any, n_classes: int) -> None:
    data = load_iris(as_frame=True)
    rows = data.target < n_classes
    table, target = data.data[rows], data.target_names[data.target[rows]]
    model = make_pipeline(StandardScaler(), kind()).fit(table, target)

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.metadata["outputs"] == {"label": "label", "scores": "scores"}
    label, scores = owner.answers(table)
    assert label.tolist() == model.predict(table).tolist()
    assert scores.shape[1] == n_classes
    assert [model.classes_[index] for index in scores.argmax(axis=1)] == label.tolist()


@pytest.mark.parametrize("kind", [HistGradientBoostingClassifier, HistGradientBoostingRegressor])
def test_boosting_by_histograms_is_the_same_at_its_thresholds(owner: Owner, kind: Any) -> None:
    table, target = load_iris(return_X_y=True, as_frame=True)
    model = kind(max_iter=20, random_state=3).fit(table.mask(table == 3.0), target)

    code, said = owner.export(model, table)

    assert code == 0, said
    half_way = pd.DataFrame((table.to_numpy()[:-1] + table.to_numpy()[1:]) / 2, columns=table.columns)
    asked = half_way.round(3).astype("float32")
    expected = model.predict_proba(asked) if kind is HistGradientBoostingClassifier else model.predict(asked)
    np.testing.assert_allclose(owner.answers(asked)[-1].squeeze(), expected, atol=1e-5)


def test_a_vote_gives_the_label_alone(owner: Owner) -> None:
    table = numbers(["a", "b"])
    members = [("tree", DecisionTreeClassifier(max_depth=3)), ("bayes", GaussianNB())]
    model = VotingClassifier(members).fit(table, np.where(table["a"] > 0, "up", "down"))

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.metadata["outputs"] == {"label": "label"}
    (label,) = owner.answers(table)
    assert label.tolist() == model.predict(table).tolist()


def test_an_outlier_detector_is_an_anomaly_model(owner: Owner) -> None:
    table = numbers(["a", "b"])
    model = IsolationForest(n_estimators=20, random_state=0).fit(table)

    code, said = owner.export(model, table)

    assert code == 0, said
    document = owner.metadata
    assert (document["task"], document["outputs"]) == ("anomaly", {"label": "label", "scores": "scores"})
    assert document["classes"] == {"-1": "outlier", "1": "inlier"}
    label, scores = owner.answers(table)
    assert label.ravel().tolist() == model.predict(table).tolist()
    assert scores.ravel() == pytest.approx(model.decision_function(table), abs=1e-4)


def test_of_a_search_the_best_model_is_exported(owner: Owner) -> None:
    table = numbers(["a", "b"])
    search = GridSearchCV(encoded([], LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=2)

    code, said = owner.export(search.fit(table, (table["a"] > 0).astype(int)), table)

    assert code == 0, said
    assert "ColumnTransformer, LogisticRegression: binary" in said


@pytest.mark.parametrize("kind", ["calibrated", "stacked"])
def test_boosters_inside_another_model_are_found(owner: Owner, kind: str) -> None:
    table = numbers(["size m2", "p.h"])
    boosters = [("x", XGBClassifier(n_estimators=3)), ("l", LGBMClassifier(n_estimators=3, verbose=-1))]
    model = {
        "calibrated": CalibratedClassifierCV(XGBClassifier(n_estimators=3), cv=2),
        "stacked": StackingClassifier(boosters, cv=2),
    }[kind].fit(table, (table["p.h"] > 0).astype(int))

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_columns_may_be_called_as_the_outputs_are(owner: Owner) -> None:
    table = numbers(["label", "probabilities", "variable", "merged_columns"])
    model = encoded([], LogisticRegression()).fit(table, (table["label"] > 0).astype(int))

    code, said = owner.export(model, table)

    assert code == 0, said
    assert owner.answers(table)[1] == pytest.approx(model.predict_proba(table), abs=1e-4)


@pytest.mark.parametrize("kind", ["targets", "scores", "label", "anomaly", "bool"])
def test_the_console_takes_what_is_written(owner: Owner, store: Path, workspace: Workspace, kind: str) -> None:
    table = numbers(["a", "b"])
    up = np.where(table["a"] > 0, "up", "down")
    model = {
        "targets": lambda: LinearRegression().fit(table, table[["b", "a"]].rename(columns={"a": "x", "b": "y"})),
        "scores": lambda: LinearSVC().fit(table, up),
        "label": lambda: VotingClassifier([("t", DecisionTreeClassifier()), ("b", GaussianNB())]).fit(table, up),
        "anomaly": lambda: IsolationForest(n_estimators=20, random_state=0).fit(table),
        "bool": lambda: LogisticRegression().fit(table, table["a"] > 0),
    }[kind]()
    code, said = owner.export(model, table)
    assert code == 0, said

    registered = register_model(workspace, "Kind", owner.folder / "model.onnx", actor=INSTALLER)

    assert registered.version.spec["task"] == owner.metadata["task"]
