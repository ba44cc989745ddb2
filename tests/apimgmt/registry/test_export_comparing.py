"""demo/export_sklearn.py: how the two models are compared, what is refused, and other versions and libraries."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.base
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from tests.apimgmt.registry.model_owner import Owner, numbers

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


@pytest.mark.long
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


def test_a_model_of_one_class_is_refused(owner: Owner) -> None:
    table = numbers(["a", "b"])

    code, said = owner.export(DecisionTreeClassifier().fit(table, [0] * len(table)), table)

    assert code == 1
    assert "knows only one class, 0" in said


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


def test_catboost_fitted_on_an_array_takes_the_samples_columns(owner: Owner) -> None:
    catboost = pytest.importorskip("catboost")
    table = numbers(["size m2", "b"])
    model = catboost.CatBoostRegressor(iterations=10, verbose=0, allow_writing_files=False)

    code, said = owner.export(model.fit(table.to_numpy(), table["b"]), table)

    assert code == 0, said
    assert owner.answers(table)[0].ravel() == pytest.approx(model.predict(table.to_numpy()), abs=1e-4)


def test_catboost_with_several_targets_is_refused_by_name(owner: Owner) -> None:
    catboost = pytest.importorskip("catboost")
    table = numbers(["a", "b"])
    model = catboost.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False, loss_function="MultiRMSE")

    code, said = owner.export(model.fit(table, table.to_numpy()), table)

    assert code == 1
    assert "CatBoost with several targets can't be converted" in said


def test_catboost_with_categories_of_its_own_is_refused(owner: Owner) -> None:
    catboost = pytest.importorskip("catboost")
    table = numbers(["a"]).assign(town=np.tile(["Ulm", "Köln"], 40))
    model = catboost.CatBoostRegressor(iterations=3, verbose=0, allow_writing_files=False, cat_features=["town"])

    code, said = owner.export(model.fit(table, table["a"]), table)

    assert code == 1
    assert "takes columns of categories itself" in said
