"""Entries from scikit-learn, converted with skl2onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pandas as pd
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    ensemble,
    feature_extraction,
    impute,
    linear_model,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from tests.zoo.making import (
    N_SHOWN,
    OPSETS,
    SEED,
    Entry,
    as_rows,
    flat,
    label_text,
    labelled,
    matrix_metadata,
    model,
    numbers,
    seeded,
    texts,
    wide,
)

NAMES = ["a", "b", "c", "d"]


def converted(fitted: Any, inputs: Any = None, **options: Any) -> bytes:
    given = {id(fitted): options} if options else None
    ports = inputs or [("X", FloatTensorType([None, 4]))]
    made = skl2onnx.convert_sklearn(fitted, initial_types=ports, options=given, target_opset=OPSETS)
    return bytes(made.SerializeToString())


def words(fitted: Any, told: str) -> str:
    return f"scikit-learn {type(fitted).__name__}: {told}"


def classifier(
    estimator: Any,
    labels: list[Any],
    told: str,
    *,
    gives: str = "probabilities",
    options: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Entry:
    """`gives`: what stands beside the label: probabilities, scores, or nothing."""
    rows = numbers()
    fitted = estimator.fit(rows, labelled(rows, labels))
    given = {"zipmap": False} if options is None else options
    entry = Entry(
        made=words(fitted, told),
        content=converted(fitted, **given),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES) if metadata is None else metadata,
        labels=texts(fitted.predict(rows)),
        classes=[label_text(label) for label in fitted.classes_],
    )
    if gives == "probabilities":
        entry.probabilities = wide(fitted.predict_proba(rows))
    elif gives == "scores":
        entry.scores = np.asarray(fitted.decision_function(rows))[:N_SHOWN].tolist()
    return entry


def regressor(estimator: Any, told: str, *, targets: tuple[str, ...] = ("prediction",), **metadata: Any) -> Entry:
    rows = numbers()
    random = seeded()
    aims = rows @ random.normal(size=(4, len(targets))) + np.sin(rows[:, :1])
    fitted = estimator.fit(rows, aims if len(targets) > 1 else aims[:, 0])
    found = np.asarray(fitted.predict(rows)).reshape(len(rows), len(targets))
    return Entry(
        made=words(fitted, told),
        content=converted(fitted),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES, **metadata),
        values={name: flat(found[:, index]) for index, name in enumerate(targets)},
    )


# --- classes: orders, types, what stands beside them ------------------------------------------------------------------


@model
def logistic_753() -> Entry:
    return classifier(linear_model.LogisticRegression(), [7, 3, 5], "whole-number labels 7, 3, 5, a tensor")


@model
def logistic_753_zipmap() -> Entry:
    return classifier(linear_model.LogisticRegression(), [7, 3, 5], "the same with ZipMap", options={"zipmap": True})


@model
def logistic_named_753() -> Entry:
    """Names that are other labels' texts."""
    entry = classifier(linear_model.LogisticRegression(), [7, 3, 5], "labels named by a mapping that swaps them")
    names = {"3": "5", "5": "7", "7": "3"}
    entry.metadata = {**(entry.metadata or {}), "classes": names}
    entry.labels = [names[label] for label in entry.labels or []]
    entry.classes = [names[label] for label in entry.classes or []]
    return entry


@model
def logistic_text_zipmap() -> Entry:
    names = ["north, east", 'so called "south"', "line\nbreak", "🙂"]
    told = "text labels with comma, quotes, line break and emoji"
    return classifier(linear_model.LogisticRegression(), names, told, options={"zipmap": True})


@model
def logistic_na() -> Entry:
    return classifier(linear_model.LogisticRegression(), ["NA", "None", "nan", ""][:3], "labels NA, None, nan")


@model
def logistic_bool() -> Entry:
    """The converter makes them 0 and 1; a mapping gives them their names back."""
    metadata = matrix_metadata(NAMES, classes={"0": "false", "1": "true"})
    return classifier(linear_model.LogisticRegression(), [False, True], "labels false and true", metadata=metadata)


@model
def logistic_minus() -> Entry:
    return classifier(linear_model.LogisticRegression(), [-1, 1], "labels -1 and 1")


@model
def logistic_raw() -> Entry:
    told = "raw scores under the name probabilities"
    options = {"zipmap": False, "raw_scores": True}
    return classifier(linear_model.LogisticRegression(), [0, 1, 2], told, gives="scores", options=options)


@model
def linear_svc() -> Entry:
    return classifier(svm.LinearSVC(), ["x", "y", "z"], "three classes, margins", gives="scores", options={})


@model
def linear_svc_binary_ints() -> Entry:
    return classifier(svm.LinearSVC(), [0, 1], "two classes", gives="scores", options={})


@model
def svc_platt() -> Entry:
    """Probabilities that honestly disagree with the labels in some rows."""
    rows = numbers(n_rows=80)
    fitted = svm.SVC(probability=True, random_state=SEED).fit(rows, labelled(rows, [0, 1, 2]))
    return Entry(
        made=words(fitted, "Platt probabilities"),
        content=converted(fitted, zipmap=False),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        labels=texts(fitted.predict(rows)),
        classes=["0", "1", "2"],
        probabilities=wide(fitted.predict_proba(rows)),
        confirmed=["agreement"],
    )


@model
def perceptron() -> Entry:
    return classifier(
        linear_model.Perceptron(random_state=SEED), [0, 1, 2], "no probabilities", gives="scores", options={}
    )


@model
def sgd() -> Entry:
    told = "logistic loss"
    return classifier(linear_model.SGDClassifier(loss="log_loss", random_state=SEED), ["no", "yes"], told)


@model
def gaussian_bayes() -> Entry:
    return classifier(naive_bayes.GaussianNB(), ["low", "mid", "high"], "labels whose order is not the alphabet's")


@model
def knn() -> Entry:
    rows = numbers(n_rows=60)
    fitted = neighbors.KNeighborsClassifier(5).fit(rows, labelled(rows, [10, 20]))
    return Entry(
        made=words(fitted, "labels 10 and 20"),
        content=converted(fitted, zipmap=False),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        labels=texts(fitted.predict(rows)),
        classes=["10", "20"],
        probabilities=wide(fitted.predict_proba(rows)),
    )


@model
def tree_classifier() -> Entry:
    return classifier(tree.DecisionTreeClassifier(max_depth=4, random_state=SEED), [2, 1, 0], "pure leaves")


@model
def forest() -> Entry:
    return classifier(ensemble.RandomForestClassifier(8, max_depth=4, random_state=SEED), ["r", "g", "b"], "8 trees")


@model
def forest_leaves() -> Entry:
    told = "leaf indices as a third output"
    estimator = ensemble.RandomForestClassifier(5, max_depth=3, random_state=SEED)
    return classifier(estimator, [0, 1, 2], told, options={"zipmap": False, "decision_leaf": True})


@model
def extra_trees() -> Entry:
    return classifier(ensemble.ExtraTreesClassifier(8, max_depth=4, random_state=SEED), [0, 1], "two classes")


@model
def gradient_boosting() -> Entry:
    return classifier(ensemble.GradientBoostingClassifier(n_estimators=8, random_state=SEED), [0, 1, 2], "8 rounds")


@model
def hist_gradient_boosting() -> Entry:
    return classifier(ensemble.HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=7), ["no", "yes"], "5 rounds")


@model
def ada_boost() -> Entry:
    return classifier(ensemble.AdaBoostClassifier(n_estimators=5, random_state=SEED), [0, 1, 2], "5 rounds")


@model
def mlp_classifier() -> Entry:
    estimator = neural_network.MLPClassifier((6,), max_iter=300, random_state=SEED)
    return classifier(estimator, ["a", "b", "c"], "one hidden layer")


@model
def calibrated() -> Entry:
    estimator = calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2)
    return classifier(estimator, [0, 1], "a LinearSVC with calibrated probabilities")


@model
def voting() -> Entry:
    parts = [("l", linear_model.LogisticRegression()), ("n", naive_bayes.GaussianNB())]
    return classifier(
        ensemble.VotingClassifier(parts, voting="soft", flatten_transform=False), [0, 1, 2], "two models vote softly"
    )


@model
def stacking() -> Entry:
    parts = [("l", linear_model.LogisticRegression()), ("n", naive_bayes.GaussianNB())]
    return classifier(ensemble.StackingClassifier(parts, cv=2), [0, 1, 2], "two models stacked")


@model
def one_vs_rest() -> Entry:
    estimator = multiclass.OneVsRestClassifier(linear_model.LogisticRegression())
    return classifier(estimator, ["x", "y", "z"], "three logistic regressions")


@model
def bagging() -> Entry:
    estimator = ensemble.BaggingClassifier(linear_model.LogisticRegression(), 3, random_state=SEED)
    return classifier(estimator, [0, 1, 2], "three logistic regressions")


@model
def multilabel() -> Entry:
    rows = numbers()
    aims = np.column_stack([rows[:, 0] > 0, rows[:, 1] > 0]).astype(np.int64)
    fitted = neighbors.KNeighborsClassifier(3).fit(rows[:60], aims[:60])
    return Entry(
        made=words(fitted, "two independent labels a row"),
        content=converted(fitted, zipmap=False),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        refused={"field": "outputs", "code": "multilabel"},
    )


# --- anomalies and clusters -------------------------------------------------------------------------------------------


def anomaly(estimator: Any, told: str, *, task: str | None = "anomaly", n_rows: int = 240) -> Entry:
    rows = numbers(n_rows=n_rows)
    rows[::9] *= 3
    fitted = estimator.fit(rows)
    return Entry(
        made=words(fitted, told),
        content=converted(fitted),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES, **({"task": task} if task else {})),
        labels=texts(fitted.predict(rows)),
        scores=flat(fitted.decision_function(rows)),
    )


@model
def isolation_forest() -> Entry:
    return anomaly(
        ensemble.IsolationForest(n_estimators=8, max_samples=32, random_state=SEED), "labels -1 and 1, one score"
    )


@model
def isolation_forest_unsaid() -> Entry:
    entry = anomaly(
        ensemble.IsolationForest(n_estimators=8, max_samples=32, random_state=SEED),
        "nobody says that it is one",
        task=None,
    )
    entry.labels = entry.scores = None
    entry.refused = {"field": "outputs", "code": "anomaly"}
    return entry


@model
def one_class_svm() -> Entry:
    return anomaly(svm.OneClassSVM(nu=0.2), "labels -1 and 1, one score", n_rows=80)


@model
def local_outliers() -> Entry:
    return anomaly(neighbors.LocalOutlierFactor(5, novelty=True), "novelty detection", n_rows=60)


@model
def kmeans() -> Entry:
    """The least distance wins, not the highest."""
    rows = numbers()
    fitted = cluster.KMeans(3, n_init=1, random_state=SEED).fit(rows)
    return Entry(
        made=words(fitted, "the cluster, and distances from all of them"),
        content=converted(fitted),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        labels=texts(fitted.predict(rows)),
        classes=["0", "1", "2"],
        scores=wide(fitted.transform(rows)),
    )


# --- numbers ----------------------------------------------------------------------------------------------------------


@model
def linear() -> Entry:
    return regressor(linear_model.LinearRegression(), "one target")


@model
def linear_three() -> Entry:
    targets = ("height", "weight", "幅")
    return regressor(
        linear_model.LinearRegression(), "three targets", targets=targets, outputs={"value": list(targets)}
    )


@model
def linear_three_unsaid() -> Entry:
    entry = regressor(linear_model.LinearRegression(), "three targets, and nobody says so", targets=("x", "y", "z"))
    entry.values, entry.refused = None, {"field": "outputs", "code": "several_numbers"}
    return entry


@model
def pls() -> Entry:
    return regressor(
        cross_decomposition.PLSRegression(2), "two targets", targets=("p", "q"), outputs={"value": ["p", "q"]}
    )


@model
def mlp_two() -> Entry:
    estimator = neural_network.MLPRegressor(hidden_layer_sizes=(5,), max_iter=400, random_state=SEED)
    told = "two targets, which its converter writes into one column of twice as many lines"
    entry = regressor(estimator, told, targets=("p", "q"), outputs={"value": ["p", "q"]})
    entry.values, entry.refused = None, {"field": "outputs", "code": "no_served_output"}
    return entry


@model
def tree_regressor() -> Entry:
    return regressor(tree.DecisionTreeRegressor(max_depth=4, random_state=SEED), "16 leaves")


@model
def forest_two() -> Entry:
    estimator = ensemble.RandomForestRegressor(6, max_depth=3, random_state=SEED)
    return regressor(estimator, "two targets", targets=("p", "q"), task="regression", outputs={"value": ["p", "q"]})


@model
def hist_regressor() -> Entry:
    return regressor(ensemble.HistGradientBoostingRegressor(max_iter=6, max_leaf_nodes=7), "6 rounds")


@model
def svr() -> Entry:
    return regressor(svm.SVR(max_iter=60), "support vectors")


@model
def knn_regressor() -> Entry:
    rows = numbers(n_rows=60)
    fitted = neighbors.KNeighborsRegressor(4).fit(rows, rows[:, 0] * 2)
    return Entry(
        made=words(fitted, "four neighbours"),
        content=converted(fitted),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        values={"prediction": flat(fitted.predict(rows))},
    )


@model
def poisson() -> Entry:
    rows = numbers()
    fitted = linear_model.PoissonRegressor().fit(rows, np.exp(rows[:, 0] / 2 + 2))
    return Entry(
        made=words(fitted, "an exponential link"),
        content=converted(fitted),
        rows=as_rows(rows, NAMES),
        metadata=matrix_metadata(NAMES),
        values={"prediction": flat(fitted.predict(rows))},
    )


# --- tables: a column an input ----------------------------------------------------------------------------------------


def table(n_rows: int = 240) -> pd.DataFrame:
    random = seeded()
    return pd.DataFrame(
        {
            "地域": random.choice(["北", "南", "東"], n_rows),
            "size": random.choice(["S", "M", "L"], n_rows),
            "price": random.normal(100, 20, n_rows).astype(np.float32).astype(float),
            "weight": random.normal(2, 1, n_rows).astype(np.float32).astype(float),
        }
    )


def from_table(
    fitted: Any, frame: pd.DataFrame, told: str, *, options: dict[str, Any] | None = None, **metadata: Any
) -> Entry:
    """A fitted pipeline with an input a column, of the column's type."""
    is_text = {name: not pd.api.types.is_numeric_dtype(frame[name]) for name in frame}
    ports = [(n, StringTensorType([None, 1]) if is_text[n] else FloatTensorType([None, 1])) for n in frame]
    shown = frame.iloc[:N_SHOWN]
    rows = [
        {name: None if isinstance(cell, float) and np.isnan(cell) else cell for name, cell in row.items()}
        for row in shown.to_dict("records")
    ]
    entry = Entry(made=f"scikit-learn Pipeline: {told}", content=b"", rows=rows, metadata=metadata or None)
    if hasattr(fitted, "predict_proba"):
        entry.content = converted(fitted, ports, **(options or {"zipmap": False}))
        entry.labels = texts(fitted.predict(shown))
        entry.classes = [label_text(label) for label in fitted.classes_]
        entry.probabilities = wide(fitted.predict_proba(shown))
    else:
        entry.content = converted(fitted, ports)
        entry.values = {"prediction": flat(fitted.predict(shown))}
    return entry


def frame_labels(frame: pd.DataFrame) -> Any:
    noise = seeded().normal(size=len(frame))
    return np.where(frame["price"].fillna(100) / 20 - 5 + (frame["size"] == "L") + noise > 0, "dear", "cheap")


@model
def one_hot() -> Entry:
    frame = table()
    steps = compose.ColumnTransformer(
        [
            ("text", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["地域", "size"]),
            ("numbers", preprocessing.StandardScaler(), ["price", "weight"]),
        ]
    )
    fitted = pipeline.make_pipeline(steps, linear_model.LogisticRegression()).fit(frame, frame_labels(frame))
    return from_table(fitted, frame, "one-hot texts and scaled numbers, a Japanese column name")


@model
def ordinal_zipmap() -> Entry:
    frame = table()
    steps = compose.ColumnTransformer(
        [
            ("text", preprocessing.OrdinalEncoder(), ["地域", "size"]),
            ("numbers", "passthrough", ["price", "weight"]),
        ]
    )
    fitted = pipeline.make_pipeline(steps, tree.DecisionTreeClassifier(max_depth=3)).fit(frame, frame_labels(frame))
    return from_table(fitted, frame, "ordinal texts, ZipMap", options={"zipmap": True})


@model
def imputed() -> Entry:
    frame = table()
    frame.loc[::5, "price"] = np.nan
    frame.loc[2::7, "weight"] = np.nan
    steps = compose.ColumnTransformer(
        [
            ("text", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["地域", "size"]),
            ("numbers", impute.SimpleImputer(), ["price", "weight"]),
        ]
    )
    fitted = pipeline.make_pipeline(steps, linear_model.LogisticRegression(max_iter=2000))
    return from_table(fitted.fit(frame, frame_labels(frame)), frame, "missing numbers are filled in")


def renamed(content: bytes, names: list[str]) -> bytes:
    """With the columns' own names for its inputs, which the converter has made into identifiers."""
    graph = onnx.load_from_string(content)
    new = {port.name: name for port, name in zip(graph.graph.input, names, strict=True)}
    for port in graph.graph.input:
        port.name = new[port.name]
    for node in graph.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
    return bytes(graph.SerializeToString())


@model
def odd_names() -> Entry:
    """Names with a blank, a dot, a percent sign, a leading digit, a composed and a decomposed letter."""
    names = ["price per m²", "a.b", "share %", "1st", "#", "が", "é"]
    rows = numbers(len(names))
    frame = pd.DataFrame(rows, columns=names).astype(float)
    fitted = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()).fit(frame, rows.sum(axis=1))
    entry = from_table(fitted, frame, "column names of every kind")
    entry.content = renamed(entry.content, names)
    return entry


@model
def text_and_numbers() -> Entry:
    random = seeded()
    words_ = ["good", "bad", "fine", "awful", "great", "poor"]
    frame = pd.DataFrame(
        {
            "review": [" ".join(random.choice(words_, 4)) for _ in range(160)],
            "stars": random.integers(1, 6, 160).astype(float),
        }
    )
    aims = np.where(frame["review"].str.count("good|great|fine") + frame["stars"] / 2 > 3.4, "keep", "return")
    steps = compose.ColumnTransformer(
        [
            ("text", feature_extraction.text.TfidfVectorizer(lowercase=False), "review"),
            ("numbers", preprocessing.StandardScaler(), ["stars"]),
        ]
    )
    fitted = pipeline.make_pipeline(steps, linear_model.LogisticRegression()).fit(frame, aims)
    columns = [{"name": "review", "type": "string"}, {"name": "stars", "type": "float"}]
    return from_table(fitted, frame, "TF-IDF of a text beside a number", columns=columns)


@model
def text_alone() -> Entry:
    random = seeded()
    words_ = ["good", "bad", "fine", "awful", "great", "poor"]
    lines = np.array([" ".join(random.choice(words_, 4)) for _ in range(160)], dtype=object)
    aims = [2 if "good" in line else 1 if "bad" in line else 0 for line in lines]
    fitted = pipeline.make_pipeline(
        feature_extraction.text.CountVectorizer(lowercase=False), naive_bayes.MultinomialNB()
    ).fit(lines, aims)
    return Entry(
        made="scikit-learn Pipeline: word counts of one text, without a ColumnTransformer",
        content=converted(fitted, [("line", StringTensorType([None, 1]))], zipmap=False),
        rows=[{"line": line} for line in lines[:N_SHOWN]],
        metadata={"columns": [{"name": "line", "type": "string"}]},
        labels=texts(fitted.predict(lines)),
        classes=["0", "1", "2"],
        probabilities=wide(fitted.predict_proba(lines)),
    )


def lower_case(locale: str, told: str) -> Entry:
    """A text pipeline as scikit-learn makes it by default, which lowers the letters by a locale's rules."""
    random = seeded()
    words_ = ["Good", "good", "BAD", "bad", "Fine", "awful", "Great", "poor"]
    lines = np.array([" ".join(random.choice(words_, 4)) for _ in range(160)], dtype=object)
    lowered = [line.lower() for line in lines]
    aims = [2 if "good" in line else 1 if "bad" in line else 0 for line in lowered]
    vectorizer = feature_extraction.text.TfidfVectorizer()
    fitted = pipeline.make_pipeline(vectorizer, linear_model.LogisticRegression()).fit(lines, aims)
    options = {id(fitted): {"zipmap": False}, id(vectorizer): {"locale": locale}}
    ports = [("line", StringTensorType([None, 1]))]
    made = skl2onnx.convert_sklearn(fitted, initial_types=ports, options=options, target_opset=OPSETS)
    return Entry(
        made=f"scikit-learn Pipeline: {told}",
        content=bytes(made.SerializeToString()),
        rows=[{"line": line} for line in lines[:N_SHOWN]],
        metadata={"columns": [{"name": "line", "type": "string"}]},
        labels=texts(fitted.predict(lines)),
        classes=["0", "1", "2"],
        probabilities=wide(fitted.predict_proba(lines)),
    )


@model
def lower_case_c() -> Entry:
    """What the refusal of the other one advises."""
    return lower_case("C", "TF-IDF of one text in lower case, by the locale C")


@model
def lower_case_elsewhere() -> Entry:
    """Converters write en_US, which some servers have: this locale none has."""
    entry = lower_case("xx_YY", "TF-IDF of one text in lower case, by a locale that the server lacks")
    entry.labels = entry.probabilities = entry.classes = None
    entry.refused = {"field": "file", "words": "the locale xx_YY, which this server does not have"}
    return entry
