"""A model's folder as MLflow writes it, in a zip archive (https://mlflow.org/docs/latest/ml/model/#storage-format).

Its flavours hold the model's own file, which is read as if it had been uploaded alone; names and types of columns come
from its signature, and a row to try from its example. Nothing in the folder is run.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from inference.conversion.archive import Archive
from inference.signature import NotServable

MAIN_FILE: Final = "MLmodel"
_MOST_YAML_BYTES: Final = 1 << 20

# Flavour, key of the path of its file, and the format that file must have. The first one present is taken.
FLAVOURS: Final[tuple[tuple[str, str, str], ...]] = (
    ("onnx", "data", "onnx"),
    ("xgboost", "data", "xgboost"),
    ("lightgbm", "data", "lightgbm"),
    ("catboost", "data", "catboost"),
)
_TYPES: Final = {
    "double": "float",
    "float": "float",
    "integer": "int",
    "long": "int",
    "boolean": "bool",
    "string": "string",
}


class Folder:
    """`format`: of the file called `file`. `columns`: (name, type) as the signature has them, None without names."""

    def __init__(self, archive: Archive) -> None:
        """Raises `NotServable`."""
        mains = [name for name in archive.names if name.name == MAIN_FILE]
        if len(mains) != 1:
            raise NotServable("The zip archive must have one file called MLmodel: it is one model's folder.")
        self.archive = archive
        self._top = mains[0].parent
        self._document = _document(archive.read(mains[0], at_most=_MOST_YAML_BYTES))
        self.format, self.file = self._chosen()
        self.columns = self._columns()

    def _chosen(self) -> tuple[str, PurePosixPath]:
        flavours = self._document.get("flavors")
        flavours = flavours if isinstance(flavours, dict) else {}
        for name, key, kind in FLAVOURS:
            flavour = flavours.get(name)
            if isinstance(flavour, dict):
                path = _text(flavour.get(key))
                if PurePosixPath(path).suffix in {".pkl", ".joblib", ".pickle", ".cloudpickle"}:
                    raise NotServable(
                        f"MLflow saved this {name} model as a pickle ({path}), which runs code when it is loaded. Log "
                        f"the booster itself (model.get_booster() or model.booster_) with mlflow.{name}.log_model."
                    )
                return kind, self._inside(path)
        known = ", ".join(sorted(name for name in flavours if isinstance(name, str))[:10]) or "none"
        raise NotServable(
            f"The MLflow model has the flavours {known}. Taken are {', '.join(name for name, _, _ in FLAVOURS)}: log "
            "the model with one of them, such as mlflow.onnx.log_model."
        )

    def _inside(self, path: str) -> PurePosixPath:
        name = PurePosixPath(path.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or not name.parts:
            raise NotServable(f"The file MLmodel names a file outside of its folder: {path[:100]}.")
        return self._top / name

    def _columns(self) -> list[tuple[str, str | None]] | None:
        signature = self._document.get("signature")
        if not isinstance(signature, dict):
            return None
        try:
            inputs = json.loads(signature["inputs"])
            names = [(column.get("name"), _TYPES.get(column.get("type"))) for column in inputs]
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return names if names and all(isinstance(name, str) and name.strip() for name, _type in names) else None

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """What the model's own file says, with what the folder adds. Raises `NotServable` where they contradict."""
        own = [column["name"] for column in metadata.get("columns", [])]
        signed = dict(self.columns or [])
        if own and signed and set(own) != set(signed):
            odd = sorted(set(own) ^ set(signed))
            raise NotServable(
                f"The signature in MLmodel and the model's own file name different columns: {', '.join(odd[:5])}."
            )
        names = own or list(signed)
        if not names:
            return metadata
        stated = {column["name"]: column for column in metadata.get("columns", [])}
        columns = [stated.get(name) or {"name": name, **_typed(signed.get(name))} for name in names]
        sample = self._example(names)
        return {**metadata, "columns": columns, **({"sample": sample} if sample else {})}

    def _example(self, names: list[str]) -> dict[str, Any] | None:
        """The first whole row of the input example; None where there is none, or it is no table of these columns."""
        info = self._document.get("saved_input_example_info")
        path = _text(info.get("artifact_path")) if isinstance(info, dict) else ""
        if not path or self._inside(path) not in self.archive.names:
            return None
        try:
            example = json.loads(self.archive.read(self._inside(path)))
        except (ValueError, RecursionError):
            return None
        rows = example.get("data", example.get("inputs")) if isinstance(example, dict) else example
        header = example.get("columns", names) if isinstance(example, dict) else names
        if not isinstance(rows, list) or not isinstance(header, list) or set(map(str, header)) != set(names):
            return None
        for row in rows:
            if isinstance(row, list) and len(row) == len(header) and all(_is_cell(cell) for cell in row):
                return dict(zip(map(str, header), row, strict=True))
        return None


def _text(value: object) -> str:
    """Never of a list: written out, one that names itself a few times over fills any memory."""
    return value if isinstance(value, str) else ""


def _is_cell(value: object) -> bool:
    return isinstance(value, int | float | str) and value == value  # a NaN is none


def _typed(kind: str | None) -> dict[str, str]:
    return {"type": kind} if kind else {}


def _document(content: bytes) -> dict[str, Any]:
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        raise NotServable("The file MLmodel is damaged: it is no YAML.") from None
    if not isinstance(document, dict):
        raise NotServable("The file MLmodel is damaged: it says nothing about a model.")
    return document
