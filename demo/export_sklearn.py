#!/usr/bin/env python3
"""Turn your own scikit-learn model into the two files that the console takes: NAME.onnx and NAME.json.

    python export_sklearn.py model.pkl sample.csv [--target COLUMN] [--name OUT] [--accept-differences N]

Run it on your own machine, where the model's packages are installed: it loads the pickle, and loading a pickle runs
code, which is why the console refuses pickles. This file needs nothing else of the project. `sample.csv` holds a few
dozen real rows with a header. Every row goes through the original and through the converted model; if they differ,
nothing is written, because conversions can be wrong without any error.

Taken: classifiers, regressors with one target or several, and outlier detectors of scikit-learn, XGBoost, LightGBM and
CatBoost, alone or at the end of a pipeline.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PACKAGES = "pip install scikit-learn skl2onnx onnxruntime pandas"
MOST_CATEGORIES = 30
MOST_ROWS_NAMED = 10
FEW_ROWS = 0.05  # the share of differing rows up to which accepting them is offered
# Converted models compute in float32: 7 digits, of which sums over many trees or coefficients cost two or three.
TOLERANCE = 1e-4
TIE = 1e-4
# Cells that mean "missing", as pandas reads them; unless the fitted model knows one of them as a category.
NUMPY_GAPS = ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN")
GAPS = frozenset(("", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", *NUMPY_GAPS))
# What scikit-learn's text vectorizers split by, and the same for ONNX Runtime, whose \b and \w know ASCII only.
SKLEARN_WORDS, ONNX_WORDS = r"(?u)\b\w\w+\b", r"[\p{L}\p{N}_]{2,}"
LOCALES = ("C.UTF-8", "C")  # en_US, the converter's own choice, is missing on many servers
OPSETS = {"": 18, "ai.onnx.ml": 3}
OUTPUT_NAMES = {"label": "label", "probabilities": "probabilities", "scores": "scores", "value": "variable"}


class ExportError(Exception):
    """Why nothing was written, in words for the model's owner."""


try:
    import numpy as np
    import onnx
    import onnxruntime
    import pandas as pd
    import skl2onnx
    import skl2onnx.common.data_types as onnx_types
    import sklearn
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )
    from skl2onnx.operator_converters.random_forest import (
        convert_sklearn_random_forest_classifier,
        convert_sklearn_random_forest_regressor_converter,
    )
    from sklearn.base import BaseEstimator, is_classifier, is_outlier_detector, is_regressor
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
except ModuleNotFoundError as missing:
    sys.exit(f"The package {missing.name} is missing here. Install what the export needs:\n    {PACKAGES}")


# --- loading the model ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    """A fitted model. `saved_with`: the scikit-learn that pickled it, where that is another one than here."""

    model: Any
    saved_with: str | None = None


def load_model(path: Path) -> Loaded:
    """The fitted estimator in a pickle or joblib file. Raises `ExportError`."""
    if not path.is_file():
        raise ExportError(f"There is no file {path}.")
    try:
        model, saved_with = unpickle_with_version(path)
    except ModuleNotFoundError as error:
        raise ExportError(cant_import(path, error)) from None
    except Exception as error:  # noqa: BLE001 - unpickling runs the file's own code, which may raise anything
        words = f"{path} can't be loaded as a pickle or joblib file: {type(error).__name__}: {error}"
        raise ExportError(with_advice(words, version_in_file(path))) from None
    refuse_other_objects(model, path)
    return Loaded(getattr(model, "best_estimator_", model), saved_with)  # of a search, the model that it found


def unpickle_with_version(path: Path) -> tuple[Any, str | None]:
    """The object, and the other scikit-learn that saved it: it says so in a warning, once for each estimator."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = unpickle(path)
    saved = [re.search(r"unpickle estimator \S+ from version (\S+) when", str(one.message)) for one in caught]
    return model, next((found[1] for found in saved if found), None)


def unpickle(path: Path) -> Any:
    """joblib reads plain pickles too; it is there wherever scikit-learn is."""
    import joblib

    try:
        return joblib.load(path)
    except (KeyError, UnicodeDecodeError):  # some plain pickles confuse joblib's own reader
        with path.open("rb") as stream:
            return pickle.load(stream)  # noqa: S301 - the owner's own file, on the owner's own machine


def version_in_file(path: Path) -> str | None:
    """The scikit-learn that saved a pickle which can't be loaded, if it is another one: read from its bytes."""
    content = path.read_bytes()
    found = re.search(rb"_sklearn_version(?:\x94|q.)?(?:\x8c(.)|X(....))", content, re.DOTALL)
    if not found:
        return None
    length = int.from_bytes(found[1] or found[2], "little")
    version = content[found.end() : found.end() + length].decode("ascii", "replace")
    return None if version == sklearn.__version__ else version


def version_advice(saved_with: str) -> str:
    """Both versions, and what to do."""
    here = sklearn.__version__
    return (
        f"The model was saved with scikit-learn {saved_with}, and this is scikit-learn {here}. "
        "A pickle is reliable only in the version that wrote it. Export it there:\n"
        f'    pip install "scikit-learn=={saved_with}"\n'
        f"or fit the model again with scikit-learn {here} and save it."
    )


def with_advice(words: str, saved_with: str | None) -> str:
    return f"{words}\n{version_advice(saved_with)}" if saved_with else words


def cant_import(path: Path, error: ModuleNotFoundError) -> str:
    """A package that is missing; or a part of scikit-learn that this version has somewhere else."""
    name = str(error.name)
    if name.partition(".")[0] == "sklearn":
        return with_advice(
            f"{path} needs {name}, which scikit-learn {sklearn.__version__} doesn't have.", version_in_file(path)
        )
    return f"The model needs the package {name}, which is missing here: install it."


def refuse_other_objects(model: Any, path: Path) -> None:
    """Raises `ExportError` unless it is a fitted model."""
    kind, package = type(model).__name__, package_of(model)
    if kind == "Booster" and package in {"xgboost", "lightgbm"}:
        ending = "json" if package == "xgboost" else "txt"
        raise ExportError(
            f"{path} holds a Booster of {package}, not a model with scikit-learn's methods. "
            f'Save it in its own format, booster.save_model("model.{ending}"), and register that file.'
        )
    if not hasattr(model, "predict"):
        raise ExportError(f"{path} holds a {kind}, not a model with predict(). Save the fitted model itself.")
    if not (hasattr(model, "n_features_in_") or is_text_reader(model)):
        raise ExportError(f"The {kind} in {path} is not fitted, or not made with scikit-learn.")


# --- what the model is ------------------------------------------------------------------------------------------


def package_of(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def steps_of(model: Any) -> list[Any]:
    return [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]


def described(model: Any) -> str:
    """`StandardScaler, RandomForestClassifier`."""
    return ", ".join(type(step).__name__ for step in steps_of(model))


def parts_of(part: Any, seen: set[int] | None = None) -> Iterator[Any]:
    """The model and all estimators inside it: steps, transformers, members of an ensemble."""
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, BaseEstimator) or hasattr(part, "predict") or hasattr(part, "predict_proba"):
        yield part
        inner: Iterable[Any] = vars(part).values() if hasattr(part, "__dict__") else ()
    elif isinstance(part, list | tuple):
        inner = part
    elif isinstance(part, dict):
        inner = part.values()
    else:
        return
    for one in inner:
        yield from parts_of(one, seen)


def is_vectorizer(part: Any) -> bool:
    """Whether it takes one column of free text: a fitted CountVectorizer or TfidfVectorizer."""
    return hasattr(part, "vocabulary_") and hasattr(part, "token_pattern")


def is_text_reader(model: Any) -> bool:
    """Whether the model takes a list of texts, not a table."""
    first = steps_of(model)[0]
    return all(is_text_reader(part) for _, part in getattr(first, "transformer_list", ())) and (
        hasattr(first, "transformer_list") or is_vectorizer(first)
    )


def column_names_of(model: Any) -> list[str] | None:
    """The names of the columns that it was fitted on; None if it was fitted on arrays."""
    if hasattr(model, "feature_names_in_"):
        return [str(name) for name in model.feature_names_in_]
    names = list(getattr(model, "feature_names_", ()))  # CatBoost numbers the columns of an array
    return None if not names or names == [str(index) for index in range(len(names))] else names


def column_count_of(model: Any) -> int:
    if is_text_reader(model):
        return 1
    return model.n_features_in_ or len(getattr(model, "feature_names_", ()))


def task_of(model: Any) -> str:
    """binary, multiclass, regression or anomaly. Raises `ExportError` for everything else."""
    if is_outlier_detector(model):
        return "anomaly"
    if is_regressor(model):
        return "regression"
    if not is_classifier(model):
        raise ExportError(f"A {type(model).__name__} is no classifier, no regressor and no outlier detector.")
    if isinstance(model.classes_, list):
        raise ExportError(
            "The model predicts several labels at once (multilabel); the console serves one. "
            "Export one classifier for each label."
        )
    if len(model.classes_) < 2:
        raise ExportError(f"The model knows only one class, {model.classes_[0]}. Fit it on rows of at least two.")
    return "binary" if len(model.classes_) == 2 else "multiclass"


def roles_of(model: Any) -> tuple[str, ...]:
    """What the converted model's outputs are, in their order."""
    if task_of(model) == "regression":
        return ("value",)
    if is_classifier(model) and hasattr(model, "predict_proba"):
        return ("label", "probabilities")
    votes_by_pairs = getattr(steps_of(model)[-1], "decision_function_shape", None) == "ovo"
    if hasattr(model, "decision_function") and not (votes_by_pairs and len(model.classes_) > 2):
        return ("label", "scores")
    return ("label",)


def graph_label(label: Any) -> int | str:
    """A class as the converted model says it: ONNX has text and whole numbers."""
    return label if isinstance(label, str) else int(label)


def class_names(model: Any) -> list[str] | dict[str, str]:
    """The classes as they are shown: their own text, or a mapping where the converted model says another one."""
    if is_outlier_detector(model):
        return {"-1": "outlier", "1": "inlier"}
    names = {str(graph_label(label)): class_name(label) for label in model.classes_}
    if len(names) < len(model.classes_):
        shown = ", ".join(str(label) for label in model.classes_)
        raise ExportError(f"The classes {shown} are not different as whole numbers. Fit the model on text labels.")
    return list(names) if all(label == name for label, name in names.items()) else names


def class_name(label: Any) -> str:
    """`True`, `2` (for 2.0 too), `Adelie`."""
    is_number = not isinstance(label, str | bool | np.bool_)
    return str(int(label)) if is_number else str(label)


# --- what the fitted model knows of its columns -----------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """What is known of one column. `is_text`: None where no part of the model tells."""

    is_text: bool | None = None
    categories: tuple[str, ...] | None = None
    gap: float | None = np.nan  # what stands for a missing text
    reader: str = ""


def learned_columns(model: Any, names: Sequence[str]) -> dict[str, Learned]:
    """By column, from the first part of the model that can tell."""
    learned: dict[str, Learned] = {}
    for part, columns in readers_of(model, list(names)):
        for position, name in enumerate(columns):
            found = learned_of(part, position)
            known = learned.get(name, Learned())
            if known.is_text is None:
                learned[name] = found
            elif known.categories is None and found.categories is not None:
                learned[name] = replace(found, gap=known.gap)
    return {name: learned.get(name, Learned()) for name in names}


def readers_of(part: Any, names: list[str]) -> Iterator[tuple[Any, list[str]]]:
    """The parts that see columns as they are in the table, each with its columns."""
    if isinstance(part, Pipeline):
        for step in steps_of(part):
            yield from readers_of(step, names)
            if not isinstance(step, SimpleImputer):  # which leaves the columns what they are
                return
    elif isinstance(part, ColumnTransformer):
        for _, step, columns in part.transformers_:
            yield from readers_of(step, [names[index] for index in positions(columns, names)])
    elif hasattr(part, "transformer_list"):
        for _, step in part.transformer_list:
            yield from readers_of(step, names)
    elif not isinstance(part, str):
        yield part, names


def positions(columns: Any, names: list[str]) -> list[int]:
    """Where the columns of a ColumnTransformer are: given by name or position, alone, as list, slice or mask."""
    if isinstance(columns, slice):
        return list(range(len(names)))[columns] if not isinstance(columns.start, str) else []
    several = [columns] if isinstance(columns, str | int) else list(columns)
    if several and all(isinstance(one, bool | np.bool_) for one in several):
        return [index for index, is_taken in enumerate(several) if is_taken]
    return [names.index(one) if isinstance(one, str) else int(one) % len(names) for one in several]


def learned_of(part: Any, position: int) -> Learned:
    """What a fitted part tells of the column at a position."""
    reader = type(part).__name__
    if is_vectorizer(part):
        return Learned(True, reader=reader)
    if hasattr(part, "categories_"):
        return learned_from_categories(part.categories_[position], reader)
    if isinstance(part, SimpleImputer):
        filled = part.statistics_[position]
        return Learned(isinstance(filled, str), gap=None if part.missing_values is None else np.nan, reader=reader)
    if hasattr(part, "predict"):
        return Learned(takes_text_itself(part, position), reader=reader)
    return Learned(False if hasattr(part, "scale_") else None, reader=reader)


def learned_from_categories(values: Any, reader: str) -> Learned:
    texts = tuple(value for value in values if isinstance(value, str))
    present = [value for value in values if not is_missing(value)]
    if len(texts) < len(present) or not texts:
        return Learned(False if present else None, reader=reader)
    return Learned(True, texts, None if any(value is None for value in values) else np.nan, reader)


def takes_text_itself(part: Any, position: int) -> bool:
    """Only CatBoost has columns of text or categories of its own that are told by position."""
    return hasattr(part, "get_cat_feature_indices") and position in part.get_cat_feature_indices()


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


# --- the sample -------------------------------------------------------------------------------------------------


def read_cells(path: Path) -> pd.DataFrame:
    """The sample as it is written: every cell is text. Raises `ExportError`."""
    try:
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} can't be read as CSV: {error}") from None
    if table.empty:
        raise ExportError(f"{path} has no rows below its header. Give a few dozen real rows.")
    return table.astype(object).fillna("")


def features_of(model: Any, table: pd.DataFrame, targets: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """The model's own columns in its own order, and the names of the others. Raises `ExportError`."""
    for target in targets:
        if target not in table.columns:
            raise ExportError(f"--target {target}: the sample has no such column. It has: {', '.join(table.columns)}")
    features = table.drop(columns=list(targets))
    names = column_names_of(model)
    features = features_by_position(model, features, targets) if names is None else features_by_name(names, features)
    others = [str(name) for name in table.columns if name not in features.columns and not is_row_number(name)]
    return features, others


def is_row_number(name: str) -> bool:
    """Whether a column is the index that pandas writes into the first column, without a name."""
    return re.fullmatch(r"Unnamed: \d+", name) is not None


def features_by_position(model: Any, features: pd.DataFrame, targets: Sequence[str]) -> pd.DataFrame:
    expected = column_count_of(model)
    if features.shape[1] == expected:
        return features
    hint = ""
    if not targets and features.shape[1] > expected:
        hint = " If one of them is what is predicted, name it: --target COLUMN."
    raise ExportError(f"The model takes {counted(expected, 'column')} and the sample has {features.shape[1]}.{hint}")


def features_by_name(wanted: list[str], features: pd.DataFrame) -> pd.DataFrame:
    # LightGBM keeps names with underscores for spaces: what the owner's own table says is the name.
    spelt = {re.sub(r"\s", "_", str(name)): name for name in features.columns} | {
        name: name for name in features.columns
    }
    if lacking := [name for name in wanted if name not in spelt]:
        raise ExportError(f"The model takes columns that the sample lacks: {', '.join(lacking)}")
    return features[[spelt[name] for name in wanted]]


def target_names(given: Sequence[str], others: Sequence[str], count: int) -> list[str]:
    """A name for each number that is predicted. Raises `ExportError`."""
    if given and len(given) != count:
        raise ExportError(f"The model predicts {count} numbers a row, and --target names {len(given)}.")
    if given or len(others) == count:
        return list(given or others)
    return ["prediction"] if count == 1 else [f"target_{index + 1}" for index in range(count)]


def typed_table(model: Any, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells as the values that the model was fitted on. Raises `ExportError`."""
    learned = learned_columns(model, list(cells.columns))
    values = [typed(cells.iloc[:, index], one) for index, one in enumerate(learned.values())]
    return pd.concat(values, axis=1)


def typed(cells: pd.Series, learned: Learned) -> pd.Series:
    """Numbers, true/false, or text. Raises `ExportError` for text where the model computes with numbers."""
    known = frozenset(learned.categories or ())
    gaps = cells.map(lambda cell: cell.strip() in GAPS and cell not in known)
    if learned.is_text is not True:
        found = as_numbers(cells, gaps, is_number=learned.is_text is False)
        if found is not None:
            return found
    if learned.is_text is False:
        refuse_text(cells, gaps, learned)
    texts = [learned.gap if is_gap else text for text, is_gap in zip(cells, gaps, strict=True)]
    return pd.Series(texts, index=cells.index, name=cells.name, dtype=object)


def as_numbers(cells: pd.Series, gaps: pd.Series, *, is_number: bool) -> pd.Series | None:
    """None if a cell is no number, or like "01234" would lose something as one."""
    stripped = cells.str.strip()
    flags = stripped.str.lower().map({"true": True, "false": False})
    if not gaps.all() and bool((flags.notna() | gaps).all()):
        return flags.astype(object if gaps.any() else bool)
    if not is_number and bool(stripped.str.match(r"[+-]?0\d").any()):
        return None
    numbers = pd.to_numeric(stripped.where(~gaps, None), errors="coerce")
    return numbers if bool((numbers.notna() | gaps).all()) else None


def refuse_text(cells: pd.Series, gaps: pd.Series, learned: Learned) -> None:
    numbers = pd.to_numeric(cells.str.strip(), errors="coerce")
    row = int(np.flatnonzero(numbers.isna() & ~gaps)[0])
    raise ExportError(
        f"The column {cells.name} goes into the {learned.reader} as numbers, and row {row + 1} of the sample has "
        f'"{cells.iloc[row]}". Categories need an encoder (OneHotEncoder or OrdinalEncoder) in a Pipeline in front '
        "of the model: fit and export that."
    )


# --- describing the columns -------------------------------------------------------------------------------------


def column_type(values: pd.Series) -> str:
    """float, int, string or bool. pandas reads whole numbers with gaps as floats; those are int all the same."""
    present = values.dropna()
    if pd.api.types.is_bool_dtype(values) or (len(present) and all(isinstance(one, bool) for one in present)):
        return "bool"
    if not pd.api.types.is_numeric_dtype(values):
        return "string"
    if pd.api.types.is_integer_dtype(values):
        return "int"
    has_gaps = 0 < len(present) < len(values)
    return "int" if has_gaps and bool((present == present.round()).all()) else "float"


def cell(value: Any, kind: str) -> Any:
    """A JSON value of the column's type; None if missing."""
    if pd.isna(value):
        return None
    if kind == "string":
        return str(value)
    if kind == "bool":
        return bool(value)
    return round(value) if kind == "int" else float(value)


def middle(numbers: pd.Series, kind: str) -> Any:
    """The median, without the noise of binary fractions: 1.865, not 1.8650000000000002."""
    return cell(float(f"{numbers.median():.12g}"), kind)


def describe_column(
    values: pd.Series, *, nullable: bool | None = None, categories: Sequence[str] | None = None
) -> dict[str, Any]:
    """One entry of the metadata's `columns`. `categories`: those that the model knows, else the sample's are taken.

    The baseline is the median or the most frequent value.
    """
    kind = column_type(values)
    present = values.dropna()
    column: dict[str, Any] = {"name": str(values.name), "type": kind}
    if kind == "string":
        listed = categories_of(present, categories)
        column |= {"categories": listed} if listed else {}
        present = present[present.isin(listed)] if listed else present
    if kind in {"string", "bool"}:
        column["baseline"] = cell(present.mode().iloc[0], kind) if len(present) else None
    elif len(present := present[np.isfinite(present)]):
        column |= {"min": cell(present.min(), kind), "max": cell(present.max(), kind)}
        column["baseline"] = middle(present, kind)
    if values.isna().any() if nullable is None else nullable:
        column["nullable"] = True
    return column


def categories_of(present: pd.Series, known: Sequence[str] | None) -> list[str]:
    """Those that the model knows; else those of the sample, if they come again. Empty: too many for a list."""
    if known is not None:
        listed = [name for name in known if name]
        return listed if len(listed) <= MOST_CATEGORIES else []
    seen = sorted({str(value) for value in present})
    return seen if 0 < len(seen) <= MOST_CATEGORIES and len(seen) < max(2, len(present)) else []


def describe_columns(model: Any, table: pd.DataFrame) -> list[dict[str, Any]]:
    """All entries, without what may be missing: that is tried out."""
    learned = learned_columns(model, list(table.columns))
    return [
        describe_column(table[name], nullable=False, categories=one.categories)
        for name, one in zip(table.columns, learned.values(), strict=True)
    ]


def layout_of(model: Any, columns: list[dict[str, Any]]) -> str:
    """`matrix` where the model takes numbers by position; picking columns by name needs one input per column."""
    all_numbers = all(column["type"] != "string" for column in columns)
    picks_names = hasattr(model, "feature_names_in_") and any(
        isinstance(step, ColumnTransformer) for step in steps_of(model)
    )
    return "matrix" if all_numbers and not picks_names else "columns"


# --- making the model convertible -------------------------------------------------------------------------------
# On a copy, which is used for the conversion only. What comes out is compared with the model as it was.


def convertible_copy(model: Any, names: list[str], inputs: list[str]) -> Any:
    """`names`: of the columns; `inputs`: of the converted model's inputs for them. Raises `ExportError`."""
    changed = copy.deepcopy(model)
    for part in parts_of(changed):
        use_empty_text_for_missing(part)
        if package_of(part) == "xgboost":
            forget_names(part)
        elif package_of(part) == "lightgbm":
            refuse_own_categories(part, getattr(getattr(part, "booster_", None), "pandas_categorical", None))
        if isinstance(part, ColumnTransformer) and hasattr(part, "transformers_"):
            pick_inputs(part, dict(zip(names, inputs, strict=True)))
        if hasattr(part, "flatten_transform"):  # of a vote, which only its transform() looks at
            part.flatten_transform = False
    return changed


def use_empty_text_for_missing(part: Any) -> None:
    """ONNX has no other missing text: in imputers, and in the categories of encoders."""
    has_texts = getattr(part, "statistics_", np.empty(0)).dtype == object
    if isinstance(part, SimpleImputer) and is_missing(part.missing_values) and has_texts:
        part.missing_values = ""
    if isinstance(part, OneHotEncoder | OrdinalEncoder) and hasattr(part, "categories_"):
        part.categories_ = [
            np.array(["" if is_missing(value) else value for value in values], dtype=object)
            if values.dtype == object
            else values
            for values in part.categories_
        ]


def forget_names(part: Any) -> None:
    """XGBoost's converter reads columns by the names f0, f1 ... and numbers only. Raises `ExportError`."""
    if not hasattr(part, "get_booster") or not part.__sklearn_is_fitted__():
        return
    booster = part.get_booster()
    refuse_own_categories(part, [kind for kind in booster.feature_types or () if kind == "c"])
    config = json.loads(booster.save_config())["learner"]
    if config["gradient_booster"]["name"] != "gbtree":
        kind = config["gradient_booster"]["name"]
        raise ExportError(f'XGBoost with booster="{kind}" can\'t be converted. Fit the model with booster="gbtree".')
    if int(config["learner_model_param"].get("num_target", "1")) > 1:
        raise ExportError(
            "XGBoost with several targets can't be converted. Fit a booster for each of them: "
            "sklearn.multioutput.MultiOutputRegressor(XGBRegressor(...))."
        )
    booster.feature_names = None
    booster.feature_types = None


def refuse_own_categories(part: Any, categorical: Any) -> None:
    if categorical:
        raise ExportError(
            f"This {type(part).__name__} takes columns of categories itself, which can't be converted. Put an encoder "
            "(OneHotEncoder or OrdinalEncoder) in a Pipeline in front of it: fit and export that."
        )


def pick_inputs(part: ColumnTransformer, inputs: Mapping[str, str]) -> None:
    """Let it pick its columns by the names of the converted model's inputs. A mask becomes positions."""

    def picked(columns: Any) -> Any:
        if isinstance(columns, str):
            return inputs.get(columns, columns)
        if isinstance(columns, slice | int):
            return columns
        several = list(columns)
        if several and all(isinstance(one, bool | np.bool_) for one in several):
            return positions(several, [""] * len(several))
        return [inputs.get(one, one) if isinstance(one, str) else one for one in several]

    part.transformers_ = [(name, step, picked(columns)) for name, step, columns in part.transformers_]


def joined(model: Any, columns: list[dict[str, Any]], inputs: list[str]) -> Any:
    """Steps in front that take several columns of text as one: skl2onnx joins inputs in ColumnTransformers only."""
    first = steps_of(model)[0]
    takes_inputs = isinstance(first, ColumnTransformer | OneHotEncoder | OrdinalEncoder)
    if not isinstance(model, Pipeline) or takes_inputs or len(columns) == 1:
        return model
    if any(column["type"] != "string" for column in columns):
        return model
    front = ColumnTransformer([])
    front.transformers_ = [("all", Pipeline(model.steps[:-1]), inputs)]
    return Pipeline([("columns", front), model.steps[-1]])


# --- converting -------------------------------------------------------------------------------------------------


def convert(
    model: Any, columns: list[dict[str, Any]], layout: str, name: str, *, reserved: Sequence[str] = ()
) -> bytes:
    """The model as ONNX: its outputs are those of `roles_of`, none called as in `reserved`. Raises `ExportError`."""
    if package_of(model) == "catboost":
        return finished(catboost_to_onnx(model), {}, model, reserved)
    names = [column["name"] for column in columns]
    inputs = [f"column{index}" for index in range(len(names))]  # skl2onnx changes names that are no identifiers
    changed = convertible_copy(model, names, inputs)
    register_boosters(changed)
    register_histogram_boosting()
    if layout == "columns":
        changed = joined(changed, columns, inputs)
    try:
        converted = converted_with_options(changed, initial_types(columns, layout, inputs), name)
    except Exception as error:  # noqa: BLE001 - converters of many packages raise what they like
        raise ExportError(
            f"skl2onnx can't convert this {described(model)}: {first_line(error)}{hint_for(error, model)}"
        ) from None
    return finished(converted, dict(zip(inputs, names, strict=True)) if layout == "columns" else {}, model, reserved)


def initial_types(columns: list[dict[str, Any]], layout: str, inputs: list[str]) -> list[tuple[str, Any]]:
    rows = None
    if layout == "matrix":
        return [("input", onnx_types.FloatTensorType([rows, len(columns)]))]
    # Whole numbers travel as floats too: a missing one is NaN, and transformers join columns of one type only.
    kinds = {True: onnx_types.StringTensorType, False: onnx_types.FloatTensorType}
    return [(name, kinds[column["type"] == "string"]([rows, 1])) for name, column in zip(inputs, columns, strict=True)]


def converted_with_options(model: Any, inputs: list[tuple[str, Any]], name: str) -> Any:
    """With the first options that this model's converter knows and ONNX Runtime can load here."""
    failure: Exception | None = None
    for options in possible_options(model):
        try:
            converted = skl2onnx.convert_sklearn(
                model, name=name, initial_types=inputs, options=options, target_opset=OPSETS
            )
            if any(is_vectorizer(part) for part in parts_of(model)):
                session_of(converted.SerializeToString())
        except Exception as error:
            failure = failure or error
            is_option = isinstance(error, NameError) or "locale" in str(error).lower()
            if not is_option:
                raise
        else:
            return converted
    raise failure or RuntimeError("no options")


def possible_options(model: Any) -> Iterator[dict[int, dict[str, Any]] | None]:
    final = steps_of(model)[-1]
    wanted: list[dict[int, dict[str, Any]]] = [{}]
    if is_classifier(model):
        wanted = [{id(model): {"zipmap": False}}]
    if is_classifier(model) and "scores" in roles_of(model):
        # Binary scores come in the order of the classes with this option only.
        raw = {"raw_scores": True}
        wanted = [{id(final): {"zipmap": False} | raw}, {id(final): raw}, *wanted, {}]
    vectorizers = [part for part in parts_of(model) if is_vectorizer(part)]
    for options in wanted:
        for locale in LOCALES if vectorizers else LOCALES[:1]:
            texts = {id(part): text_options(part, locale) for part in vectorizers}
            yield {**options, **texts} or None


def text_options(part: Any, locale: str) -> dict[str, Any]:
    is_usual = part.token_pattern == SKLEARN_WORDS and part.analyzer == "word"
    return {"locale": locale} | ({"tokenexp": ONNX_WORDS} if is_usual else {})


def register_boosters(model: Any) -> None:
    """skl2onnx knows XGBoost and LightGBM only through onnxmltools. Raises `ExportError` if that is missing."""
    for step in parts_of(model):
        package, kind = package_of(step), type(step).__name__
        if package not in {"xgboost", "lightgbm"} or not isinstance(step, BaseEstimator):
            continue
        try:
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        except ImportError:
            raise ExportError(f"A {kind} needs one more package:\n    pip install onnxmltools") from None
        classifies = is_classifier(step)
        skl2onnx.update_registered_converter(
            type(step),
            f"{package}{kind}",
            calculate_linear_classifier_output_shapes if classifies else calculate_linear_regressor_output_shapes,
            convert_xgboost if package == "xgboost" else convert_lightgbm,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]} if classifies else {},
        )


class Nodes:
    """Where a converter of skl2onnx puts its nodes; `change` alters the attributes of those that hold trees."""

    def __init__(self, container: Any, change: Callable[[dict[str, Any]], None]) -> None:
        self._container = container
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *node: Any, **attributes: Any) -> None:
        if ways := attributes.get("nodes_missing_value_tracks_true"):
            # Numbers, not truths: protobuf 7 takes nothing else.
            attributes["nodes_missing_value_tracks_true"] = [int(way) for way in ways]
            self._change(attributes)
        self._container.add_node(*node, **attributes)


def register_histogram_boosting() -> None:
    """skl2onnx rounds thresholds to the nearest float32, so that values just above one pass it: here they go down."""

    def exactly(convert: Callable[..., None]) -> Callable[[Any, Any, Any], None]:
        def converted(scope: Any, operator: Any, container: Any) -> None:
            thresholds = exact_thresholds(operator.raw_operator, convert)
            convert(scope, operator, Nodes(container, lambda attributes: attributes.update(nodes_values=thresholds)))

        return converted

    for kind, shapes, convert in (
        (
            HistGradientBoostingClassifier,
            calculate_linear_classifier_output_shapes,
            convert_sklearn_random_forest_classifier,
        ),
        (
            HistGradientBoostingRegressor,
            calculate_linear_regressor_output_shapes,
            convert_sklearn_random_forest_regressor_converter,
        ),
    ):
        options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "raw_scores": [True, False]}
        skl2onnx.update_registered_converter(
            kind,
            f"Exact{kind.__name__}",
            shapes,
            exactly(convert),
            options=options if kind is HistGradientBoostingClassifier else None,
        )


def exact_thresholds(model: Any, convert: Callable[..., None]) -> Any:
    """Of each node, the largest float32 not above its own: a graph of doubles is made for them and thrown away."""
    found: list[Any] = []

    def keeping(scope: Any, operator: Any, container: Any) -> None:
        keep = Nodes(container, lambda attributes: found.append(attributes["nodes_values"]))
        convert(scope, operator, keep, op_version=3)  # before, a classifier has no doubles

    skl2onnx.convert_sklearn(
        model,
        initial_types=[("x", onnx_types.DoubleTensorType([None, model.n_features_in_]))],
        custom_conversion_functions={type(model): keeping},
    )
    exact = np.asarray(found[0], np.float64)
    nearest = exact.astype(np.float32)
    return np.where(nearest <= exact, nearest, np.nextafter(nearest, np.float32(-np.inf)))


def catboost_to_onnx(model: Any) -> Any:
    """By CatBoost's own export. Raises `ExportError`."""
    refuse_own_categories(model, model.get_cat_feature_indices())
    if re.match(r"Multi(?!Class)", str(model.get_all_params().get("loss_function"))):
        raise ExportError("CatBoost with several targets can't be converted. Fit and export a model for each of them.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except Exception as error:  # noqa: BLE001 - CatBoost's own errors
            reason = re.sub(r"^\S+\.cpp:\d+: ", "", first_line(error))
            advice = " Fit it on labels that are text or whole numbers." if "label" in reason else ""
            raise ExportError(f"CatBoost can't convert this {described(model)}: {reason}.{advice}") from None
        return onnx.load(str(path))


def hint_for(error: Exception, model: Any) -> str:
    """What cures a conversion that fails for a known reason."""
    if any(package_of(part) == "catboost" for part in parts_of(model)):
        return "\nCatBoost exports itself, but only alone: fit it on the prepared columns, outside a pipeline."
    return ""


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].partition(" You may raise an i")[0][:300] if lines else type(error).__name__


# --- the converted graph: its outputs and the names in it -------------------------------------------------------


def finished(converted: Any, inputs: dict[str, str], model: Any, reserved: Sequence[str]) -> bytes:
    """With the outputs that are served, and with the columns' own names. `inputs`: from the graph's to the column's."""
    graph = converted.graph
    without_maps(graph)
    roles = roles_of(model)
    del graph.output[len(roles) :]
    if package_of(model) == "catboost":
        inputs = {graph.input[0].name: "input"}
    taken = {inputs.get(one.name, one.name) for one in graph.input}
    taken |= set(reserved) if roles == ("value",) else set()
    outputs = {}
    for role, output in zip(roles, graph.output, strict=True):
        outputs[output.name] = free_name(OUTPUT_NAMES[role], taken)
        taken.add(outputs[output.name])
    if roles == ("value",):
        put_targets_side_by_side(graph, getattr(steps_of(model)[-1], "n_outputs_", 1))
    rename(graph, inputs | outputs)
    return bytes(converted.SerializeToString())


def without_maps(graph: Any) -> None:
    """A ZipMap makes a map of each row; the plain numbers that go into it take its place."""
    numbers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "ZipMap"}
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        graph.node.remove(node)
    for output in graph.output:
        if output.name in numbers:
            output.CopyFrom(onnx.helper.make_tensor_value_info(numbers[output.name], onnx.TensorProto.FLOAT, None))


def put_targets_side_by_side(graph: Any, count: int) -> None:
    """Several numbers a row in one line: some converters (of MLPRegressor) put them below each other."""
    output = graph.output[0]
    if count == 1:
        return
    inner, shape = free_name("below_each_other", value_names(graph)), free_name("side_by_side", value_names(graph))
    replace_in_nodes(graph, {output.name: inner})
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, count], dtype=np.int64), shape))
    graph.node.append(onnx.helper.make_node("Reshape", [inner, shape], [output.name]))
    kind = output.type.tensor_type.elem_type
    output.CopyFrom(onnx.helper.make_tensor_value_info(output.name, kind, [None, count]))


def free_name(name: str, taken: Iterable[str]) -> str:
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    return free


def rename(graph: Any, names: dict[str, str]) -> None:
    """Give values of a graph other names; inner values that are called so already step aside."""
    present = set(value_names(graph))
    changed = {old: new for old, new in names.items() if old != new}
    taken = present | set(changed.values())
    for inner in sorted(present & set(changed.values()) - set(changed)):
        changed[inner] = free_name(f"inner_{inner}", taken)
        taken.add(changed[inner])
    if changed:
        replace_names(graph, changed)


def value_names(graph: Any) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield value.name
    for node in graph.node:
        yield from (*node.input, *node.output)
        for inner in subgraphs(node):
            yield from value_names(inner)


def replace_names(graph: Any, names: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = names.get(value.name, value.name)
    replace_in_nodes(graph, names)


def replace_in_nodes(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            replace_names(inner, names)


def subgraphs(node: Any) -> list[Any]:
    return [one.g for one in node.attribute if one.type == onnx.AttributeProto.GRAPH]


# --- comparing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """Of one of the two models: labels as the graph says them, numbers as `(n_rows, n_numbers)`; None without."""

    labels: list[int | str] | None
    numbers: Any | None


@dataclass(frozen=True)
class Difference:
    """What comparing the converted model with the original gave. `worst` is in the unit of what is predicted.

    `tied_rows`: the class differs, but the original's two best are as good as equal. `width`: numbers a row.
    """

    rows: int
    worst: float
    wrong_rows: tuple[int, ...]
    tied_rows: tuple[int, ...] = ()
    width: int = 0
    worst_words: str = ""


def exact_rows(table: pd.DataFrame, columns: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows with numbers that float32 holds, so that both models are given the same ones."""
    exact = {name: exact_numbers(table[name]) for name in (c["name"] for c in columns if c["type"] != "string")}
    return table.assign(**exact)


def exact_numbers(values: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(values):
        return values
    exact = values.astype("float32").astype("float64")
    return values if pd.api.types.is_integer_dtype(values) and bool((exact == values).all()) else exact


def feed(table: pd.DataFrame, columns: list[dict[str, Any]], layout: str) -> dict[str, Any]:
    """The rows as the converted model takes them; missing is NaN, or empty text."""
    if layout == "matrix":
        return {"input": table.astype("float32").to_numpy()}
    return {
        column["name"]: texts_of(table[column["name"]])
        if column["type"] == "string"
        else table[column["name"]].to_numpy(dtype=np.float32).reshape(-1, 1)
        for column in columns
    }


def texts_of(values: pd.Series) -> Any:
    texts = ["" if is_missing(value) else str(value) for value in values]
    return np.array(texts, dtype=object).reshape(-1, 1)


def session_of(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told in words of this script
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def original_rows(model: Any, table: pd.DataFrame, columns: list[dict[str, Any]]) -> Any:
    """The table as the model was fitted on it: with names, as an array, or as texts."""
    if is_text_reader(model):
        return table.iloc[:, 0]
    if column_names_of(model) is not None:
        return table
    is_text = any(column["type"] == "string" for column in columns)
    return table.to_numpy(dtype=object if is_text else float)


def run_original(model: Any, table: pd.DataFrame, columns: list[dict[str, Any]]) -> Answers:
    rows, roles = original_rows(model, table, columns), roles_of(model)
    if roles == ("value",):
        return Answers(None, np.asarray(model.predict(rows), dtype=float).reshape(len(table), -1))
    labels = [graph_label(label) for label in np.ravel(model.predict(rows))]
    if "probabilities" in roles:
        return Answers(labels, np.asarray(model.predict_proba(rows), dtype=float))
    if "scores" not in roles:
        return Answers(labels, None)
    scores = np.asarray(model.decision_function(rows), dtype=float).reshape(len(table), -1)
    is_binary = is_classifier(model) and scores.shape[1] == 1
    return Answers(labels, np.hstack([-scores, scores]) if is_binary else scores)


def run_converted(model: Any, session: Any, inputs: dict[str, Any]) -> Answers:
    """As `run_original`, from ONNX Runtime. Raises `ExportError` for an output that isn't one line a row."""
    outputs = dict(zip(roles_of(model), session.run(None, inputs), strict=True))
    labels = [graph_label(label) for label in np.ravel(outputs["label"])] if "label" in outputs else None
    numbers = next((value for role, value in outputs.items() if role != "label"), None)
    n_rows = len(next(iter(inputs.values())))
    if numbers is not None and len(numbers) != n_rows:
        raise ExportError(f"The converted model gives {counted(len(numbers), 'line')} for {counted(n_rows, 'row')}.")
    return Answers(labels, None if numbers is None else np.asarray(numbers, dtype=float).reshape(n_rows, -1))


def compare(
    model: Any, content: bytes, table: pd.DataFrame, *, columns: list[dict[str, Any]], layout: str
) -> Difference:
    """Every row through both. Classes must be the same and numbers within the tolerance. Raises `ExportError`."""
    try:
        session = session_of(content)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has a type of its own for every failure
        raise ExportError(f"The converted model can't be loaded: {first_line(error)}") from None
    return compare_in(session, model, table, columns=columns, layout=layout)


def compare_in(
    session: Any, model: Any, table: pd.DataFrame, *, columns: list[dict[str, Any]], layout: str
) -> Difference:
    rows = exact_rows(table, columns)
    try:
        original = run_original(model, rows, columns)
    except Exception as error:  # noqa: BLE001 - the model's own code
        raise ExportError(f"The original model can't predict the sample rows: {first_line(error)}") from None
    try:
        converted = run_converted(model, session, feed(rows, columns, layout))
    except ExportError:
        raise
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has a type of its own for every failure
        raise ExportError(f"The converted model can't predict the sample rows: {first_line(error)}") from None
    return difference_between(original, converted, len(table))


def difference_between(original: Answers, converted: Answers, n_rows: int) -> Difference:
    distance, is_wrong = number_differences(original.numbers, converted.numbers, n_rows)
    is_tied = np.zeros(n_rows, dtype=bool)
    if original.labels is not None and converted.labels is not None:
        differs = np.array([one != other for one, other in zip(original.labels, converted.labels, strict=True)])
        is_tied = differs & are_ties(original.numbers, n_rows)
        is_wrong = is_wrong | (differs & ~is_tied)
    worst_words = ""
    if is_wrong.any():
        worst_words = words_for_row(worst_row(distance, is_wrong), original, converted)
    width = 0 if original.numbers is None else original.numbers.shape[1]
    return Difference(
        n_rows, float(distance.max()), row_numbers(is_wrong), row_numbers(is_tied & ~is_wrong), width, worst_words
    )


def number_differences(original: Any, converted: Any, n_rows: int) -> tuple[Any, Any]:
    """Of each row, how far the numbers are apart and whether that is too far. Raises `ExportError`."""
    if original is None:
        return np.zeros(n_rows), np.zeros(n_rows, dtype=bool)
    if original.shape != converted.shape:
        raise ExportError(
            f"The original gives {original.shape[1]} numbers a row, the converted model {converted.shape[1]}."
        )
    apart = np.abs(original - converted)
    is_close = apart <= TOLERANCE * np.maximum(1.0, np.abs(original))  # NaN is not
    return apart.max(axis=1), ~is_close.all(axis=1)


def are_ties(numbers: Any, n_rows: int) -> Any:
    """Rows in which the two best classes are as good as equal; of one score, in which it is as good as zero."""
    if numbers is None:
        return np.zeros(n_rows, dtype=bool)
    if numbers.shape[1] == 1:
        return np.abs(numbers[:, 0]) <= TIE
    best = np.sort(numbers, axis=1)
    return best[:, -1] - best[:, -2] <= TIE


def worst_row(distance: Any, is_wrong: Any) -> int:
    """A row without an answer is worse than any distance."""
    return int(np.argmax(np.where(is_wrong, np.nan_to_num(distance, nan=np.inf), -1.0)))


def row_numbers(chosen: Any) -> tuple[int, ...]:
    """Counted from 1, below the header."""
    return tuple(int(row) + 1 for row in np.flatnonzero(chosen))


def words_for_row(row: int, original: Answers, converted: Answers) -> str:
    """`row 17: the original says 1 (0.62), the converted model 0 (0.31)`."""
    column = 0
    if original.numbers is not None and converted.numbers is not None:
        column = int(np.argmax(np.nan_to_num(np.abs(original.numbers - converted.numbers)[row], nan=np.inf)))

    def said(answers: Answers) -> str:
        number = "" if answers.numbers is None else f"{answers.numbers[row, column]:.6g}"
        label = "" if answers.labels is None else str(answers.labels[row])
        return f"{label} ({number})" if label and number else label or number

    return f"row {row + 1}: the original says {said(original)}, the converted model {said(converted)}"


def counted(number: int, noun: str) -> str:
    """`1 column`, `30 columns`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rows_in_words(rows: Sequence[int]) -> str:
    """`row 3`, `rows 3, 7, ...`."""
    named = ", ".join(str(row) for row in rows[:MOST_ROWS_NAMED]) + (", ..." if len(rows) > MOST_ROWS_NAMED else "")
    return f"row {named}" if len(rows) == 1 else f"rows {named}"


def refuse_differences(difference: Difference, model: Any, *, accepted: int = 0) -> None:
    """Raises `ExportError` naming the rows if the conversion is wrong in more rows than are accepted."""
    wrong = difference.wrong_rows
    is_finite = bool(np.isfinite(difference.worst))
    if not wrong or (len(wrong) <= accepted and is_finite):
        return
    words = (
        f"The converted model differs from the original in {len(wrong)} of {difference.rows} rows "
        f"(by up to {difference.worst:.3g}): {rows_in_words(wrong)}. The worst is {difference.worst_words}. "
        f"Nothing was written. {remedy(model, is_everywhere=len(wrong) > difference.rows / 2)}"
    )
    if is_finite and len(wrong) <= max(1, FEW_ROWS * difference.rows):
        words += (
            "\nIf the difference in these rows doesn't matter, accept it by name; it is then written into the "
            f"description:\n    --accept-differences {len(wrong)}"
        )
    raise ExportError(words)


def remedy(model: Any, *, is_everywhere: bool = False) -> str:
    """What usually cures a wrong conversion. `is_everywhere`: most rows differ, which no rounding does."""
    kinds = [type(step).__name__ for step in steps_of(model)]
    if any(is_vectorizer(part) for part in parts_of(model)):
        return (
            "skl2onnx doesn't convert every way to read texts: fit the vectorizer with sublinear_tf=False, and without "
            "stop_words where ngram_range has more than single words."
        )
    is_boosted = any(kind.startswith(("XGB", "LGBM")) for kind in kinds)
    if is_boosted and len(kinds) > 1:
        return (
            "A scaler in front of boosted trees is rounded to float32, and values near a split change sides. "
            "Trees need no scaling: fit the model without the scaler and export that."
        )
    if is_everywhere:
        return (
            f"So many rows don't differ by rounding: the converter of this {described(model)} computes something else. "
            "Fit another kind of model, or leave its less usual options out, and export that."
        )
    return "The usual cause is rounding to float32 in front of trees, or a missing value that both treat differently."


def nullable_columns(
    model: Any, content: bytes, table: pd.DataFrame, columns: list[dict[str, Any]], layout: str
) -> set[str]:
    """Columns in which a missing value gives the same prediction in both models: tried out, not guessed."""
    few, session = table.head(20), session_of(content)
    learned = learned_columns(model, list(table.columns))
    found = set()
    for column, known in zip(columns, learned.values(), strict=True):
        is_text = column["type"] == "string"
        gap, kept = (known.gap, object) if is_text else (np.nan, float)
        holed = few.assign(**{column["name"]: pd.Series([gap] * len(few), index=few.index, dtype=kept)})
        try:
            difference = compare_in(session, model, holed, columns=columns, layout=layout)
        except ExportError:
            continue  # one of the two refuses missing values here
        if not difference.wrong_rows:
            found.add(column["name"])
    return found


# --- the metadata -----------------------------------------------------------------------------------------------


def sample_row(table: pd.DataFrame, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The first row without a gap and with known categories only, else the first one."""
    listed = {column["name"]: column["categories"] for column in columns if "categories" in column}
    table = table.replace([np.inf, -np.inf], np.nan)
    whole = table.dropna()
    known = whole[[all(row[name] in names for name, names in listed.items()) for _, row in whole.iterrows()]]
    chosen = next(rows for rows in (known, whole, table) if len(rows)).iloc[0]
    return {column["name"]: cell(chosen[column["name"]], column["type"]) for column in columns}


def metadata_of(
    model: Any,
    table: pd.DataFrame,
    columns: list[dict[str, Any]],
    *,
    layout: str,
    target: str | Sequence[str],
    description: str,
) -> dict[str, Any]:
    """The whole metadata file. `target`: several of them for a regression with several numbers a row."""
    document: dict[str, Any] = {"task": task_of(model)}
    targets = [target] if isinstance(target, str) else list(target)
    if len(targets) == 1:
        document["target"] = targets[0]
    roles = roles_of(model)
    if len(targets) > 1:
        document["outputs"] = {"value": targets}
    elif roles not in {("value",), ("label", "probabilities")}:
        document["outputs"] = {role: free_name(OUTPUT_NAMES[role], names_of(columns, layout)) for role in roles}
    if roles != ("value",):
        document["classes"] = class_names(model)
    return document | {
        "columns": columns,
        "input": layout,
        "sample": sample_row(table, columns),
        "description": description,
    }


def names_of(columns: list[dict[str, Any]], layout: str) -> list[str]:
    """What the converted model's inputs are called."""
    return ["input"] if layout == "matrix" else [column["name"] for column in columns]


def description_of(model: Any, difference: Difference, saved_with: str | None) -> str:
    """The steps, and whatever its reader has to know about the conversion."""
    words = described(model)
    if wrong := difference.wrong_rows:
        words += (
            f". The conversion differs from the original in {len(wrong)} of {difference.rows} sample rows, "
            f"by up to {difference.worst:.3g}: accepted at the export. The worst is {difference.worst_words}"
        )
    if saved_with:
        words += f". Saved with scikit-learn {saved_with}, exported with {sklearn.__version__}"
    return words


def write(content: bytes, metadata: dict[str, Any], stem: Path) -> tuple[Path, Path]:
    """NAME.onnx and NAME.json."""
    onnx_path, json_path = stem.with_name(stem.name + ".onnx"), stem.with_name(stem.name + ".json")
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    onnx_path.write_bytes(content)
    json_path.write_text(text, encoding="utf-8")
    return onnx_path, json_path


# --- the command ------------------------------------------------------------------------------------------------


def export(loaded: Loaded, sample_path: Path, *, targets: Sequence[str], stem: Path, accepted: int) -> None:
    """All steps in order. Raises `ExportError`; then nothing was written."""
    model = loaded.model
    task_of(model)  # refuses what is no model for a table before anything else is looked at
    cells, others = features_of(model, read_cells(sample_path), targets)
    table = typed_table(model, cells)
    columns = describe_columns(model, table)
    layout = layout_of(model, columns)
    content = convert(model, columns, layout, stem.name, reserved=[*targets, *others])
    difference = compare(model, content, table, columns=columns, layout=layout)
    refuse_differences(difference, model, accepted=accepted)
    nullable = nullable_columns(model, content, table, columns, layout)
    columns = [column | ({"nullable": True} if column["name"] in nullable else {}) for column in columns]
    count = difference.width if roles_of(model) == ("value",) else 1
    names = target_names(targets, others, count)
    description = description_of(model, difference, loaded.saved_with)
    metadata = metadata_of(model, table, columns, layout=layout, target=names, description=description)
    paths = write(content, metadata, stem)
    tell(model, columns, names, difference)
    print(f"Wrote {paths[0]} ({len(content) / 1000:.0f} kB) and {paths[1]}. Register both.")


def tell(model: Any, columns: list[dict[str, Any]], targets: list[str], difference: Difference) -> None:
    """What was made, and how the two models compare."""
    names = f"target {targets[0]}" if len(targets) == 1 else f"targets {', '.join(targets)}"
    print(f"{described(model)}: {task_of(model)}, {counted(len(columns), 'column')}, {names}")
    if "scores" in roles_of(model):
        print("It gives scores, not probabilities: the console shows them as scores.")
    if roles_of(model) == ("label",):
        print("It gives the class alone, without probabilities or scores.")
    compared = f"Compared with the original on {difference.rows} rows:"
    if wrong := difference.wrong_rows:
        print(f"{compared} {rows_in_words(wrong)} differ by up to {difference.worst:.2g}, accepted as you asked.")
    else:
        print(f"{compared} all alike (largest difference {difference.worst:.2g}).")
    if ties := difference.tied_rows:
        print(
            f"A tie in {rows_in_words(ties)}: the original's two best classes lie within {TIE:g} of each other, "
            "and the converted model answers the other one."
        )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Convert a pickled scikit-learn model to ONNX and compare the two.")
    parser.add_argument("model", type=Path, help="the pickle or joblib file")
    parser.add_argument("sample", type=Path, help="CSV with a header and a few dozen real rows")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        help="the column of the sample that is predicted, if it is in there; again for each one if there are several",
    )
    parser.add_argument("--name", help="name of the files to write; default: the model's, beside it")
    parser.add_argument(
        "--accept-differences",
        type=int,
        default=0,
        metavar="N",
        help="write the files although up to N rows differ from the original; it is noted in the description",
    )
    given = parser.parse_args(arguments)
    stem = Path(given.name) if given.name else given.model.with_suffix("")
    stem = stem.with_suffix("") if stem.suffix == ".onnx" else stem
    warnings.simplefilter("ignore")  # of the model's own packages; what matters here is compared, not warned about
    saved_with = None
    try:
        loaded = load_model(given.model)
        saved_with = loaded.saved_with
        export(loaded, given.sample, targets=given.target, stem=stem, accepted=given.accept_differences)
    except ExportError as error:
        print(with_advice(str(error), saved_with), file=sys.stderr)
        return 1
    if saved_with:
        print(version_advice(saved_with), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
