"""Turn a file of another format into the one ONNX file that is inspected, stored and served.

For the confined child only: the bytes are a stranger's. Each format's library is imported when its first file comes.
What the file says of its columns, classes and outputs goes into the ONNX file, beside what was compared, and is read
back like a metadata file (`inference.engines.onnx.graph.own_metadata`): a stored file needs nothing beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from contract.model_spec import Cell
from inference.conversion import from_mlflow, onnx_archive
from inference.conversion.archive import Archive
from inference.conversion.comparison import Compared, compared
from inference.conversion.original import Column, Original
from inference.conversion.trees import refusing_missing, splits, tidied
from inference.engines.onnx.graph import METADATA_KEY
from inference.signature import NotServable
from inference.table import Array

READERS: Final = {
    "xgboost": "inference.conversion.from_xgboost",
    "lightgbm": "inference.conversion.from_lightgbm",
    "catboost": "inference.conversion.from_catboost",
    "skops": "inference.conversion.from_skops",
}
OwnedRows = Sequence[Mapping[str, Cell]]


def converted(path: Path, kind: str, rows: OwnedRows = ()) -> bytes:
    """The ONNX file. `kind`: "onnx_archive", "mlflow", or one of `READERS`. `rows`: the owner's, to compare on.

    Raises `NotServable`.
    """
    if kind == "onnx_archive":
        return onnx_archive.joined(path)
    if kind == "mlflow":
        return _of_folder(from_mlflow.Folder(Archive(path)), rows)
    return _converted(_original(kind, path.read_bytes()), rows)


def _of_folder(folder: from_mlflow.Folder, rows: OwnedRows) -> bytes:
    if folder.format == "onnx":
        model = onnx_archive.joined_model(folder.archive, folder.file)
        return _with_metadata(model, folder.metadata(_own_columns(model)))
    original = _original(folder.format, folder.archive.read(folder.file))
    if folder.columns is not None and len(folder.columns) != len(original.columns):
        raise NotServable(
            f"The signature in MLmodel has {len(folder.columns)} columns, the model takes {len(original.columns)}."
        )
    return _converted(original, rows, folder)


def _own_columns(model: onnx.ModelProto) -> dict[str, Any]:
    """Names that the graph itself has: those of its inputs, where there is one a column."""
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [port.name for port in model.graph.input if port.name not in constants]
    return {"columns": [{"name": name} for name in names]} if len(names) > 1 else {}


def _original(kind: str, content: bytes) -> Original:
    try:
        reader = import_module(READERS[kind])
    except (ImportError, OSError) as error:
        raise NotServable(
            f"The library that reads this file can't be loaded here ({error}). `make formats` and `make catboost` "
            "install these libraries."
        ) from None
    original: Original = reader.read(content)
    return original


def _converted(original: Original, rows: OwnedRows, folder: from_mlflow.Folder | None = None) -> bytes:
    model = tidied(original.to_onnx(), original.columns)
    owned = _owned(rows, original.columns)
    model, found, may_be_missing = _held_against(original, model, owned)
    description = (
        f"Converted from {original.library}, which gives the same answers on {found.n_rows} rows "
        f"(largest difference {found.largest:.1e}). {original.remark}"
    )
    metadata = {**_stated(original, model, may_be_missing=may_be_missing), "description": description.strip()}
    return _with_metadata(model, folder.metadata(metadata) if folder is not None else metadata)


def _held_against(
    original: Original, model: onnx.ModelProto, owned: list[Array]
) -> tuple[onnx.ModelProto, Compared, bool]:
    """The model to keep, and whether values may be missing: where only such rows differ, it has no answer to them."""
    split_at = splits(model, len(original.columns))
    if original.takes_missing:
        with suppress(NotServable):
            return model, compared(original, model.SerializeToString(), split_at, owned, with_missing=True), True
    whole = refusing_missing(model)
    found = compared(original, whole.SerializeToString(), split_at, _without_gaps(owned), with_missing=False)
    return whole, found, False


def _without_gaps(owned: list[Array]) -> list[Array]:
    is_whole = np.ones(len(owned[0]), bool)
    for values in owned:
        is_whole &= np.array([value is not None and value == value for value in values.tolist()], bool)
    return [values[is_whole] for values in owned]


def _stated(original: Original, model: onnx.ModelProto, *, may_be_missing: bool) -> dict[str, Any]:
    """What the library tells, as a metadata file has it."""
    stated: dict[str, Any] = {"task": original.task}
    outputs = [output.name for output in model.graph.output]
    if original.task == "regression":
        stated["outputs"] = {"value": outputs}
    elif len(outputs) == 2:
        stated["outputs"] = {"label": outputs[0], "probabilities": outputs[1]}
    if original.classes:
        stated["classes"] = dict(original.classes)
    if _are_usable(original.names, len(original.columns)):
        stated["columns"] = [column.stated(may_be_missing=may_be_missing) for column in original.columns]
    return stated


def _are_usable(names: list[str], n_columns: int) -> bool:
    return len(set(names)) == n_columns and all(name.strip() for name in names)


def _owned(rows: OwnedRows, columns: Sequence[Column]) -> list[Array]:
    """Those rows that have a value of each column's kind, or nothing."""
    names = {column.name for column in columns}
    known = [row for row in rows if names <= row.keys()]
    taken = [row for row in known if all(_fits(row[column.name], column) for column in columns)]
    return [_array([row[column.name] for row in taken], column) for column in columns]


def _fits(cell: Cell, column: Column) -> bool:
    return cell is None or isinstance(cell, str) == (column.kind == "text")


def _array(cells: list[Cell], column: Column) -> Array:
    if column.kind == "text":
        return np.array(cells, object)
    return np.array([np.nan if cell is None else cell for cell in cells], np.float32)


def _with_metadata(model: onnx.ModelProto, metadata: dict[str, Any]) -> bytes:
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(metadata))
    content: bytes = model.SerializeToString()
    return content
