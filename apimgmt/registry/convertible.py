"""Formats that are turned into ONNX when they are registered: how each is known, and what has to be installed for it.

A file is known by its first bytes, an archive by the names in it. The confined child does the rest
(`inference.conversion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apimgmt.registry.file_kinds import HEAD_BYTES, ZIP, FileRefused, names_in
from inference.signature import NotServable

_TREES: Final = "make formats"
_CATBOOST: Final = "make catboost"


@dataclass(frozen=True)
class SourceFormat:
    """`kind`: see `inference.conversion.conversion.converted`. `modules`: what reads it; `command` installs that.

    `endings`: what such files are usually called, for people.
    """

    kind: str
    title: str | Promise
    endings: str = ".zip"
    modules: tuple[str, ...] = ()
    command: str = ""
    is_file: Callable[[bytes], bool] = lambda head: False
    is_archive: Callable[[Sequence[str]], bool] = lambda names: False

    @property
    def is_installed(self) -> bool:
        """Looked up each time: installing a library needs no restart."""
        return all(find_spec(module) is not None for module in self.modules)


def _is_xgboost(head: bytes) -> bool:
    """JSON, or UBJSON: an object whose first key is `learner`, or `version`."""
    start = head.lstrip()
    return start.startswith(b"{L\x00\x00\x00\x00\x00\x00\x00\x07") or (start[:1] == b"{" and b'"learner"' in head)


FORMATS: Final = (
    SourceFormat(
        "mlflow",
        _("MLflow folder as a zip"),
        is_archive=lambda names: any(name.rpartition("/")[2] == "MLmodel" for name in names),
    ),
    SourceFormat(
        "onnx_archive",
        _("ONNX with its weights beside it, as a zip"),
        is_archive=lambda names: any(name.lower().endswith(".onnx") for name in names),
    ),
    SourceFormat(
        "skops",
        "skops",
        ".skops",
        modules=("skops", "skl2onnx", "pandas"),
        command=_TREES,
        is_archive=lambda names: "schema.json" in names,
    ),
    SourceFormat(
        "xgboost",
        "XGBoost",
        ".json .ubj",
        modules=("xgboost", "onnxmltools"),
        command=_TREES,
        is_file=_is_xgboost,
    ),
    SourceFormat(
        "lightgbm",
        "LightGBM",
        ".txt",
        modules=("lightgbm", "onnxmltools"),
        command=_TREES,
        is_file=lambda head: head.startswith((b"tree\nversion=", b"tree\r\nversion=")),
    ),
    SourceFormat(
        "catboost",
        "CatBoost",
        ".cbm",
        modules=("catboost",),
        command=_CATBOOST,
        is_file=lambda head: head.startswith(b"CBM1"),
    ),
)


def source_format(path: Path) -> SourceFormat | None:
    """None for what is no file of such a format: an ONNX file, or what `check_kind` refuses."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head.startswith(ZIP):
        return next((one for one in FORMATS if one.is_file(head)), None)
    try:
        names = names_in(path)
    except NotServable:
        return None
    return next((one for one in FORMATS if one.is_archive(names)), None)


def refuse_missing_library(source: SourceFormat) -> None:
    """Raises `FileRefused` with the command that adds what is missing."""
    if source.is_installed:
        return
    raise FileRefused(
        gettext("Format: %s. This console takes such files once the library that reads them is installed:")
        % source.title,
        lines=(source.command,),
        advice=gettext(
            "Whoever runs the console does that in its folder; no restart is needed. Then register the file again."
        ),
    )
