"""demo/export_sklearn.py: kinds of models, columns and targets. Answers are compared with the library's own."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import sklearn.base
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from apimgmt.models import Workspace
from apimgmt.registry.registration import register_model
from contract.model_spec import Task
from tests.apimgmt.registry import makers
from tests.apimgmt.registry.test_registration import INSTALLER

SCRIPT = makers.DEMO_MODELS.parent / "export_sklearn.py"
ODD_NAMES = ["size m2", "p.h", "share%", "2nd", "#rooms", "größe", "a-b", "label"]
takes_meanings = pytest.mark.skipif("anomaly" not in get_args(Task), reason="needs outputs and mappings in metadata")


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    found = importlib.util.spec_from_file_location("export_kinds_script", SCRIPT)
    module = importlib.util.module_from_spec(found)
    sys.modules["export_kinds_script"] = module  # its dataclasses look themselves up there
    found.loader.exec_module(module)
    yield module
    del sys.modules["export_kinds_script"]


@dataclass(frozen=True)
class Owner:
    """Someone with a model and a table in a folder, who runs the export."""

    script: ModuleType
    folder: Path
    capture: pytest.CaptureFixture[str]

    def export(self, model: Any, table: pd.DataFrame, *arguments: str) -> tuple[int, str]:
        """The exit code and everything that was said."""
        joblib.dump(model, self.folder / "model.pkl")
        table.to_csv(self.folder / "sample.csv", index=False)
        return self.run(*arguments)

    def run(self, *arguments: str) -> tuple[int, str]:
        self.capture.readouterr()
        code = self.script.main(["model.pkl", "sample.csv", *arguments])
        said = self.capture.readouterr()
        return code, said.out + said.err

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads((self.folder / "model.json").read_text(encoding="utf-8"))

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("model.*") if path.suffix != ".pkl")

    def answers(self, table: pd.DataFrame) -> list[np.ndarray]:
        """What the written file gives, fed by the names in it."""
        session = onnxruntime.InferenceSession(self.folder / "model.onnx", providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        if self.metadata["input"] == "matrix":
            return session.run(None, {inputs[0].name: table.astype("float32").to_numpy()})
        assert [one.name for one in inputs] == list(table.columns)
        return session.run(None, {one.name: self._column(table[one.name], one.type) for one in inputs})

    @staticmethod
    def _column(values: pd.Series, kind: str) -> np.ndarray:
        if kind == "tensor(string)":
            return values.fillna("").astype(str).to_numpy(dtype=object).reshape(-1, 1)
        return values.to_numpy(dtype="float32").reshape(-1, 1)


@pytest.fixture
def owner(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Owner:
    monkeypatch.chdir(tmp_path)
    return Owner(script, tmp_path, capsys)


def numbers(names: list[str], n_rows: int = 80) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(random.normal(size=(n_rows, len(names))).round(3), columns=names)


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
    ],
    ids=["linear", "forest", "each", "boosted"],
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


@takes_meanings
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


# --- comparing --------------------------------------------------------------------------------------------------


def test_a_tie_is_told_as_a_tie(script: ModuleType) -> None:
    original = script.Answers([0, 1, 1], np.array([[0.50001, 0.49999], [0.3, 0.7], [0.4, 0.6]]))
    converted = script.Answers([1, 1, 1], np.array([[0.49999, 0.50001], [0.3, 0.7], [0.4, 0.6]]))

    difference = script.difference_between(original, converted, 3)

    assert (difference.wrong_rows, difference.tied_rows) == ((), (1,))


def test_ties_are_said_after_the_comparison(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])

    script.tell(model, [{}], ["y"], script.Difference(9, 2e-5, (), (4,), 2))

    assert "A tie in row 4: the original's two best classes lie within 0.0001" in capsys.readouterr().out


def test_another_class_without_a_tie_is_a_difference(script: ModuleType) -> None:
    original = script.Answers([0, 1], np.array([[0.6, 0.4], [0.3, 0.7]]))
    converted = script.Answers([1, 1], np.array([[0.6, 0.4], [0.3, 0.7]]))

    difference = script.difference_between(original, converted, 2)

    assert difference.wrong_rows == (1,)
    assert difference.worst_words == "row 1: the original says 0 (0.6), the converted model 1 (0.6)"


def test_numbers_are_compared_by_their_own_size(script: ModuleType) -> None:
    """A large value beside a small one gives the small one no room."""
    original = script.Answers(None, np.array([[1_000_000.0], [1.0]]))
    converted = script.Answers(None, np.array([[1_000_050.0], [1.001]]))

    assert script.difference_between(original, converted, 2).wrong_rows == (2,)


def test_rows_are_made_exact_in_float32_before_both_see_them(owner: Owner) -> None:
    """0.1 is another number in float32; a tree that splits right there sends it to the other side."""
    table = pd.DataFrame({"a": [0.1, 0.1, 0.3, 0.3] * 10, "b": [1.0, 2.0] * 20})
    model = DecisionTreeClassifier().fit(table, [0, 0, 1, 1] * 10)
    model.tree_.threshold[0] = 0.1

    code, said = owner.export(model, table)

    assert code == 0, said


def scaled_booster() -> tuple[Any, pd.DataFrame]:
    """A conversion that is wrong in some rows: scaled values are rounded in front of splits."""
    data = load_diabetes(as_frame=True, scaled=False)
    model = make_pipeline(StandardScaler(), XGBRegressor(n_estimators=30, random_state=0))
    return model.fit(data.data, data.target), data.data


def test_differences_are_accepted_by_their_number_and_written_down(owner: Owner) -> None:
    model, table = scaled_booster()
    code, said = owner.export(model, table)
    assert code == 1
    wrong = int(said.partition("differs from the original in ")[2].split()[0])
    assert "The worst is row " in said
    assert owner.files == []

    fewer, _ = owner.run("--accept-differences", str(wrong - 1))
    code, said = owner.run("--accept-differences", str(wrong))

    assert fewer == 1
    assert code == 0, said
    assert "accepted as you asked" in said
    assert f"differs from the original in {wrong} of 442 sample rows" in owner.metadata["description"]
    assert "The worst is row " in owner.metadata["description"]


def test_accepting_is_offered_for_few_rows_only(script: ModuleType) -> None:
    few = script.Difference(100, 0.2, (3, 7), (), 1, "row 3")
    many = script.Difference(100, 0.2, tuple(range(1, 40)), (), 1, "row 3")

    with pytest.raises(script.ExportError, match="--accept-differences 2"):
        script.refuse_differences(few, LinearRegression())
    with pytest.raises(script.ExportError) as refusal:
        script.refuse_differences(many, LinearRegression())
    assert "--accept-differences" not in str(refusal.value)


def test_a_row_without_an_answer_is_never_accepted(script: ModuleType) -> None:
    lost = script.difference_between(
        script.Answers(None, np.array([[1.0]])), script.Answers(None, np.array([[np.nan]])), 1
    )

    with pytest.raises(script.ExportError, match="the converted model nan"):
        script.refuse_differences(lost, LinearRegression(), accepted=5)


# --- what is refused, and other versions ------------------------------------------------------------------------


def saved_with(version: str, model: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle as that version of scikit-learn writes it."""
    with monkeypatch.context() as patched:
        patched.setattr(sklearn.base, "__version__", version)
        joblib.dump(model, path)


def test_a_pickle_of_another_version_is_exported_with_both_versions_named(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = numbers(["a", "b"])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, (table["a"] > 0).astype(int))
    table.to_csv("sample.csv", index=False)
    saved_with("1.2.2", model, owner.folder / "model.pkl", monkeypatch)

    code, said = owner.run()

    assert code == 0, said
    assert f"saved with scikit-learn 1.2.2, and this is scikit-learn {sklearn.__version__}" in said
    assert 'pip install "scikit-learn==1.2.2"' in said
    assert f"Saved with scikit-learn 1.2.2, exported with {sklearn.__version__}" in owner.metadata["description"]


def test_a_pickle_of_another_version_that_breaks_names_both(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    table = numbers(["a", "b"])
    model = DecisionTreeClassifier().fit(table, (table["a"] > 0).astype(int))
    del model.tree_
    table.to_csv("sample.csv", index=False)
    saved_with("1.0.2", model, owner.folder / "model.pkl", monkeypatch)

    code, said = owner.run()

    assert code == 1
    assert 'pip install "scikit-learn==1.0.2"' in said
    assert owner.files == []


def test_a_pickle_that_can_not_be_loaded_names_the_version_in_its_bytes(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_with("1.1.3", LogisticRegression(), owner.folder / "model.pkl", monkeypatch)
    content = (owner.folder / "model.pkl").read_bytes()
    broken = content.replace(b"LogisticRegression", b"LogisticRegressioM")
    (owner.folder / "model.pkl").write_bytes(broken)
    numbers(["a"]).to_csv("sample.csv", index=False)

    code, said = owner.run()

    assert code == 1
    assert "can't be loaded" in said
    assert f"saved with scikit-learn 1.1.3, and this is scikit-learn {sklearn.__version__}" in said


def xgboost_of(kind: str, table: pd.DataFrame) -> Any:
    up = (table["a"] > 0).astype(int)
    if kind == "dart":
        return XGBClassifier(n_estimators=3, booster="dart").fit(table, up)
    if kind == "targets":
        return XGBRegressor(n_estimators=3).fit(table, table[["a", "b"]])
    if kind == "categories":
        town = pd.Series(np.tile(["Ulm", "Köln"], 40), dtype="category")
        return XGBClassifier(n_estimators=3, enable_categorical=True).fit(table.assign(town=town), up)
    return XGBClassifier(n_estimators=3).fit(table, up).get_booster()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dart", 'XGBoost with booster="dart" can\'t be converted'),
        ("targets", "XGBoost with several targets can't be converted"),
        ("categories", "Categories need an encoder"),
        ("booster", 'booster.save_model("model.json")'),
    ],
)
def test_what_xgboost_can_not_have_converted_is_refused_by_name(owner: Owner, kind: str, words: str) -> None:
    table = numbers(["a", "b"])
    shown = table.assign(town=np.tile(["Ulm", "Köln"], 40)) if kind == "categories" else table

    code, said = owner.export(xgboost_of(kind, table), shown)

    assert code == 1
    assert words in said
    assert owner.files == []


def test_several_labels_are_refused_by_that_name(owner: Owner) -> None:
    table = numbers(["a", "b"])

    code, said = owner.export(RandomForestClassifier(3).fit(table, (table > 0).astype(int)), table)

    assert code == 1
    assert "multilabel" in said


# --- CatBoost, where it is installed ----------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes"), ("low", "mid", "top")], ids=["numbers", "two", "three"])
def test_catboost_is_exported_by_its_own_means(owner: Owner, labels: tuple[Any, ...]) -> None:
    catboost = pytest.importorskip("catboost")
    table = numbers(["size m2", "b"])
    target = np.array(labels)[pd.qcut(table["b"], len(labels), labels=False)]
    model = catboost.CatBoostClassifier(iterations=10, verbose=0, allow_writing_files=False).fit(table, target)

    code, said = owner.export(model, table.assign(y=target))

    assert code == 0, said
    assert owner.metadata["classes"] == [str(label) for label in labels]
    label, probabilities = owner.answers(table)
    assert label.tolist() == model.predict(table).ravel().tolist()
    assert probabilities == pytest.approx(model.predict_proba(table), abs=1e-4)


def test_catboost_with_categories_of_its_own_is_refused(owner: Owner) -> None:
    catboost = pytest.importorskip("catboost")
    table = numbers(["a"]).assign(town=np.tile(["Ulm", "Köln"], 40))
    model = catboost.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False, cat_features=["town"])

    code, said = owner.export(model.fit(table, table["a"]), table)

    assert code == 1
    assert "takes columns of categories itself" in said
