#!/usr/bin/env python3
"""Turn your own scikit-learn model into the two files that the console takes: NAME.onnx and NAME.json.

    python export_sklearn.py model.pkl sample.csv [--target COLUMN] [--name OUT]

Run it on your own machine, where the model's packages are installed: it loads the pickle, and loading a pickle runs
code, which is why the console refuses pickles. This file needs nothing else of the project. `sample.csv` holds a few
dozen real rows with a header. Every row goes through the original and through the converted model; if they differ,
nothing is written, because conversions can be wrong without any error.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = "pip install scikit-learn skl2onnx onnxruntime pandas"
MOST_CATEGORIES = 30
MOST_ROWS_NAMED = 10
# Converted models compute in float32: 7 digits, of which sums over many trees or coefficients cost two or three.
PROBABILITY_TOLERANCE = 1e-4
VALUE_TOLERANCE = 1e-4


class ExportError(Exception):
    """Why nothing was written, in words for the model's owner."""


try:
    import numpy as np
    import onnxruntime
    import pandas as pd
    import skl2onnx
    import skl2onnx.common.data_types as onnx_types
    from sklearn.base import is_classifier, is_regressor
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
except ModuleNotFoundError as missing:
    sys.exit(f"The package {missing.name} is missing here. Install what the export needs:\n    {PACKAGES}")


@dataclass(frozen=True)
class Difference:
    """What comparing the converted model with the original gave. `worst` is in the unit of what is predicted."""

    rows: int
    worst: float
    wrong_rows: tuple[int, ...]


# --- the model and the table ------------------------------------------------------------------------------------


def load_model(path: Path) -> Any:
    """The fitted estimator in a pickle or joblib file. Raises `ExportError`."""
    if not path.is_file():
        raise ExportError(f"There is no file {path}.")
    try:
        model = unpickle(path)
    except ModuleNotFoundError as error:
        raise ExportError(f"The model needs the package {error.name}, which is missing here: install it.") from None
    except Exception as error:  # noqa: BLE001 - unpickling runs the file's own code, which may raise anything
        raise ExportError(
            f"{path} can't be loaded as a pickle or joblib file: {type(error).__name__}: {error}"
        ) from None
    if not hasattr(model, "predict"):
        raise ExportError(
            f"{path} holds a {type(model).__name__}, not a model with predict(). Save the fitted model itself."
        )
    if not hasattr(model, "n_features_in_"):
        raise ExportError(f"The {type(model).__name__} in {path} is not fitted, or not made with scikit-learn.")
    return model


def unpickle(path: Path) -> Any:
    """joblib reads plain pickles too; it is there wherever scikit-learn is."""
    import joblib

    try:
        return joblib.load(path)
    except (KeyError, UnicodeDecodeError):  # some plain pickles confuse joblib's own reader
        with path.open("rb") as stream:
            return pickle.load(stream)  # noqa: S301 - the owner's own file, on the owner's own machine


def read_table(path: Path) -> pd.DataFrame:
    """The sample rows. Raises `ExportError`."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ExportError(f"{path} can't be read as CSV: {error}") from None
    if table.empty:
        raise ExportError(f"{path} has no rows below its header. Give a few dozen real rows.")
    return table


def features_of(model: Any, table: pd.DataFrame, target: str | None) -> tuple[pd.DataFrame, str]:
    """The model's own columns in its own order, and the name of what is predicted. Raises `ExportError`."""
    if target is not None and target not in table.columns:
        raise ExportError(f"--target {target}: the sample has no such column. It has: {', '.join(table.columns)}")
    features = table.drop(columns=[target]) if target else table
    if hasattr(model, "feature_names_in_"):
        return named_features(model, features, target)
    expected = model.n_features_in_
    if features.shape[1] == expected:
        return features, target or "prediction"
    hint = ""
    if target is None and features.shape[1] == expected + 1:
        hint = " If one of them is what is predicted, name it: --target COLUMN."
    raise ExportError(f"The model takes {expected} columns and the sample has {features.shape[1]}.{hint}")


def named_features(model: Any, features: pd.DataFrame, target: str | None) -> tuple[pd.DataFrame, str]:
    # LightGBM keeps names with underscores for spaces: what the owner's own table says is the name.
    spelt = {re.sub(r"\s", "_", str(name)): name for name in features.columns} | {
        name: name for name in features.columns
    }
    wanted = [str(name) for name in model.feature_names_in_]
    if missing := [name for name in wanted if name not in spelt]:
        raise ExportError(f"The model takes columns that the sample lacks: {', '.join(missing)}")
    names = [spelt[name] for name in wanted]
    others = [name for name in features.columns if name not in names]
    if target is None and len(others) == 1:
        target = others[0]
    return features[names], target or "prediction"


# --- describing the columns -------------------------------------------------------------------------------------


def column_type(values: pd.Series) -> str:
    """float, int, string or bool. pandas reads whole numbers with gaps as floats; those are int all the same."""
    if pd.api.types.is_bool_dtype(values):
        return "bool"
    if not pd.api.types.is_numeric_dtype(values):
        return "string"
    if pd.api.types.is_integer_dtype(values):
        return "int"
    present = values.dropna()
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


def describe_column(values: pd.Series, *, nullable: bool | None = None) -> dict[str, Any]:
    """One entry of the metadata's `columns`. The baseline is the median or the most frequent value."""
    kind = column_type(values)
    present = values.dropna()
    column: dict[str, Any] = {"name": str(values.name), "type": kind}
    if kind in {"string", "bool"}:
        seen = sorted({str(value) for value in present})
        if kind == "string" and 0 < len(seen) <= MOST_CATEGORIES and len(seen) < max(2, len(present)):
            column["categories"] = seen
        column["baseline"] = cell(present.mode().iloc[0], kind) if len(present) else None
    elif len(present):
        column |= {"min": cell(present.min(), kind), "max": cell(present.max(), kind)}
        column["baseline"] = cell(present.median(), kind)
    if values.isna().any() if nullable is None else nullable:
        column["nullable"] = True
    return column


def layout_of(model: Any, columns: list[dict[str, Any]]) -> str:
    """`matrix` where the model takes numbers by position; picking columns by name needs one input per column."""
    all_numbers = all(column["type"] != "string" for column in columns)
    picks_names = hasattr(model, "feature_names_in_") and any(
        isinstance(step, ColumnTransformer) for step in steps_of(model)
    )
    return "matrix" if all_numbers and not picks_names else "columns"


def steps_of(model: Any) -> list[Any]:
    return [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]


def parts_of(model: Any) -> Iterator[Any]:
    """The model and all fitted estimators inside its pipelines and column transformers."""
    yield model
    inner: list[Any] = []
    if isinstance(model, Pipeline):
        inner = [step for _, step in model.steps]
    elif isinstance(model, ColumnTransformer):
        inner = [step for _, step, _ in model.transformers_]
    for part in inner:
        yield from parts_of(part)


def with_empty_text_for_missing(model: Any) -> Any:
    """A copy in which missing text is empty text, because ONNX has no other: in imputers and in encoders' categories.

    Only the conversion uses it. What comes out is compared with the model as it was.
    """
    changed = copy.deepcopy(model)
    for part in parts_of(changed):
        if isinstance(part, SimpleImputer) and is_missing(part.missing_values) and part.statistics_.dtype == object:
            part.missing_values = ""
        if isinstance(part, OneHotEncoder | OrdinalEncoder):
            part.categories_ = [
                np.array(["" if is_missing(value) else value for value in values], dtype=object)
                if values.dtype == object
                else values
                for values in part.categories_
            ]
    return changed


def is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


# --- converting and comparing -----------------------------------------------------------------------------------


def convert(model: Any, columns: list[dict[str, Any]], layout: str, name: str) -> bytes:
    """The model as ONNX, labels and plain probabilities as outputs. Raises `ExportError`."""
    register_boosters(model)
    rows = None
    if layout == "matrix":
        inputs = [("input", onnx_types.FloatTensorType([rows, len(columns)]))]
    else:
        # Whole numbers travel as floats too: a missing one is NaN, and transformers join columns of one type only.
        kinds = {True: onnx_types.StringTensorType, False: onnx_types.FloatTensorType}
        inputs = [(column["name"], kinds[column["type"] == "string"]([rows, 1])) for column in columns]
    model = with_empty_text_for_missing(model)
    options = {id(model): {"zipmap": False}} if is_classifier(model) else None
    try:
        with plain_feature_names(model):
            converted = skl2onnx.convert_sklearn(
                model, name=name, initial_types=inputs, options=options, target_opset={"": 18, "ai.onnx.ml": 3}
            )
    except Exception as error:  # noqa: BLE001 - converters of many packages raise what they like
        raise ExportError(
            f"skl2onnx can't convert this {described(model)}: {first_line(error)}{hint_for(error)}"
        ) from None
    return bytes(converted.SerializeToString())


@contextmanager
def plain_feature_names(model: Any) -> Iterator[None]:
    """XGBoost's converter reads columns by the names f0, f1 ... only; the model gets its own names back."""
    boosters = [step.get_booster() for step in steps_of(model) if type(step).__module__.startswith("xgboost")]
    names = [booster.feature_names for booster in boosters]
    for booster in boosters:
        booster.feature_names = None
    try:
        yield
    finally:
        for booster, kept in zip(boosters, names, strict=True):
            booster.feature_names = kept


def hint_for(error: Exception) -> str:
    """What cures a conversion that fails for a reason outside the model."""
    import google.protobuf

    if "Unable to create node" in str(error) and int(google.protobuf.__version__.partition(".")[0]) >= 7:
        return '\nThe converter needs an older protobuf:\n    pip install "protobuf<7"\nThen run this again.'
    return ""


def register_boosters(model: Any) -> None:
    """skl2onnx knows XGBoost and LightGBM only through onnxmltools. Raises `ExportError` if that is missing."""
    for step in steps_of(model):
        package, kind = type(step).__module__.partition(".")[0], type(step).__name__
        if package not in {"xgboost", "lightgbm"}:
            continue
        try:
            from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
            from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
            from skl2onnx.common.shape_calculator import (
                calculate_linear_classifier_output_shapes,
                calculate_linear_regressor_output_shapes,
            )
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


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def feed(table: pd.DataFrame, columns: list[dict[str, Any]], layout: str) -> dict[str, Any]:
    """The rows as the converted model takes them; missing is NaN, or empty text."""
    if layout == "matrix":
        return {"input": table.to_numpy(dtype=np.float32)}
    return {
        column["name"]: table[column["name"]].fillna("").astype(str).to_numpy(dtype=object).reshape(-1, 1)
        if column["type"] == "string"
        else table[column["name"]].to_numpy(dtype=np.float32).reshape(-1, 1)
        for column in columns
    }


def run_original(model: Any, table: pd.DataFrame) -> tuple[Any, Any]:
    """Positions of the predicted classes and the probabilities; or None and the values."""
    rows = table if hasattr(model, "feature_names_in_") else table.to_numpy(dtype=float)
    if not is_classifier(model):
        return None, np.asarray(model.predict(rows), dtype=float).reshape(len(table), -1)
    positions = {str(label): index for index, label in enumerate(model.classes_)}
    return np.array([positions[str(label)] for label in model.predict(rows)]), model.predict_proba(rows)


def run_converted(model: Any, content: bytes, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """As `run_original`, from ONNX Runtime."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = session.run(None, inputs)
    if not is_classifier(model):
        return None, np.asarray(outputs[0], dtype=float).reshape(len(outputs[0]), -1)
    labels = [int(label) if isinstance(label, bool | np.bool_) else label for label in model.classes_]
    positions = {str(label): index for index, label in enumerate(labels)}
    return np.array([positions[str(label)] for label in outputs[0]]), np.asarray(outputs[1], dtype=float)


def compare(
    model: Any, content: bytes, table: pd.DataFrame, *, columns: list[dict[str, Any]], layout: str
) -> Difference:
    """Every row through both. Classes must be the same and numbers within the tolerance. Raises `ExportError`."""
    try:
        classes, numbers = run_original(model, table)
    except Exception as error:  # noqa: BLE001 - the model's own code
        raise ExportError(f"The original model can't predict the sample rows: {first_line(error)}") from None
    try:
        onnx_classes, onnx_numbers = run_converted(model, content, feed(table, columns, layout))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has a type of its own for every failure
        raise ExportError(f"The converted model can't predict the sample rows: {first_line(error)}") from None
    if numbers.shape != onnx_numbers.shape:
        raise ExportError(
            f"The original gives {numbers.shape[1]} numbers a row, the converted model {onnx_numbers.shape[1]}."
        )
    distance = np.abs(numbers - onnx_numbers).max(axis=1)
    allowed = PROBABILITY_TOLERANCE if classes is not None else VALUE_TOLERANCE * max(1.0, float(np.abs(numbers).max()))
    wrong = ~(distance <= allowed)  # NaN is wrong too
    if classes is not None:
        wrong |= classes != onnx_classes
    return Difference(len(table), float(distance.max()), tuple(int(row) + 1 for row in np.flatnonzero(wrong)))


def refuse_differences(difference: Difference, model: Any) -> None:
    """Raises `ExportError` naming the rows if the conversion is wrong."""
    wrong = difference.wrong_rows
    if not wrong:
        return
    named = ", ".join(str(row) for row in wrong[:MOST_ROWS_NAMED]) + (", ..." if len(wrong) > MOST_ROWS_NAMED else "")
    raise ExportError(
        f"The converted model differs from the original in {len(wrong)} of {difference.rows} rows "
        f"(by up to {difference.worst:.3g}): row {named}. Nothing was written. {remedy(model)}"
    )


def remedy(model: Any) -> str:
    """What usually cures a wrong conversion."""
    kinds = [type(step).__name__ for step in steps_of(model)]
    is_boosted = any(kind.startswith(("XGB", "LGBM")) for kind in kinds)
    if is_boosted and len(kinds) > 1:
        return (
            "A scaler in front of boosted trees is rounded to float32, and values near a split change sides. "
            "Trees need no scaling: fit the model without the scaler and export that."
        )
    return "The usual cause is rounding to float32 in front of trees, or a missing value that both treat differently."


def nullable_columns(
    model: Any, content: bytes, table: pd.DataFrame, columns: list[dict[str, Any]], layout: str
) -> set[str]:
    """Columns in which a missing value gives the same prediction in both models: tried out, not guessed."""
    few = table.head(20)
    found = set()
    for column in columns:
        kept = few[column["name"]].dtype if column["type"] == "string" else float
        gaps = pd.Series([np.nan] * len(few), index=few.index, dtype=kept)
        holed = few.assign(**{column["name"]: gaps})
        try:
            difference = compare(model, content, holed, columns=columns, layout=layout)
        except ExportError:
            continue  # one of the two refuses missing values here
        if not difference.wrong_rows:
            found.add(column["name"])
    return found


# --- the metadata -----------------------------------------------------------------------------------------------


def described(model: Any) -> str:
    """`StandardScaler, RandomForestClassifier`."""
    return ", ".join(type(step).__name__ for step in steps_of(model))


def task_of(model: Any) -> str:
    """binary, multiclass or regression. Raises `ExportError` for everything else."""
    if is_regressor(model):
        return "regression"
    if not is_classifier(model):
        raise ExportError(f"A {type(model).__name__} is neither a classifier nor a regressor.")
    classes = model.classes_
    if isinstance(classes, list):
        raise ExportError("The model predicts several targets at once; the console serves models with one.")
    if not hasattr(model, "predict_proba"):
        raise ExportError(
            f"This {described(model)} gives no probabilities (predict_proba). "
            "Fit it with probability=True, or wrap it in CalibratedClassifierCV."
        )
    return "binary" if len(classes) == 2 else "multiclass"


def sample_row(table: pd.DataFrame, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The first row without a gap, else the first one."""
    whole = table.dropna()
    row = (whole if len(whole) else table).iloc[0]
    return {column["name"]: cell(row[column["name"]], column["type"]) for column in columns}


def metadata_of(
    model: Any, table: pd.DataFrame, columns: list[dict[str, Any]], *, layout: str, target: str, description: str
) -> dict[str, Any]:
    """The whole metadata file."""
    document: dict[str, Any] = {"task": task_of(model), "target": target}
    if is_classifier(model):
        document["classes"] = [str(label) for label in model.classes_]
    document |= {"columns": columns, "input": layout, "sample": sample_row(table, columns), "description": description}
    return document


def write(content: bytes, metadata: dict[str, Any], stem: Path) -> tuple[Path, Path]:
    """NAME.onnx and NAME.json."""
    onnx_path, json_path = stem.with_name(stem.name + ".onnx"), stem.with_name(stem.name + ".json")
    onnx_path.write_bytes(content)
    json_path.write_text(json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return onnx_path, json_path


# --- the command ------------------------------------------------------------------------------------------------


def export(model_path: Path, sample_path: Path, *, target: str | None, stem: Path) -> None:
    """All steps in order. Raises `ExportError`; then nothing was written."""
    model = load_model(model_path)
    task = task_of(model)
    table, target_name = features_of(model, read_table(sample_path), target)
    columns = [describe_column(table[name], nullable=False) for name in table.columns]
    layout = layout_of(model, columns)
    content = convert(model, columns, layout, stem.name)
    difference = compare(model, content, table, columns=columns, layout=layout)
    refuse_differences(difference, model)
    nullable = nullable_columns(model, content, table, columns, layout)
    columns = [column | ({"nullable": True} if column["name"] in nullable else {}) for column in columns]
    metadata = metadata_of(model, table, columns, layout=layout, target=target_name, description=described(model))
    onnx_path, json_path = write(content, metadata, stem)
    print(f"{described(model)}: {task}, {len(columns)} columns, target {target_name}")
    print(
        f"Compared with the original on {difference.rows} rows: all alike (largest difference {difference.worst:.2g})."
    )
    print(f"Wrote {onnx_path} ({len(content) / 1000:.0f} kB) and {json_path}. Register both.")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Convert a pickled scikit-learn model to ONNX and compare the two.")
    parser.add_argument("model", type=Path, help="the pickle or joblib file")
    parser.add_argument("sample", type=Path, help="CSV with a header and a few dozen real rows")
    parser.add_argument("--target", help="the column of the sample that is predicted, if it is in there")
    parser.add_argument("--name", help="name of the files to write; default: the model's, beside it")
    given = parser.parse_args(arguments)
    stem = Path(given.name) if given.name else given.model.with_suffix("")
    stem = stem.with_suffix("") if stem.suffix == ".onnx" else stem
    warnings.simplefilter("ignore")  # of the model's own packages; what matters here is compared, not warned about
    try:
        export(given.model, given.sample, target=given.target, stem=stem)
    except ExportError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
