"""Serves plotly.js out of the plotly package, so that no copy of it lives in this repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import plotly
from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage

PACKAGE_DATA = Path(plotly.__file__).parent / "package_data"
FILE_NAME = "plotly.min.js"


class PlotlyFinder(BaseFinder):
    """Finds exactly one file: `plotly.min.js`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.storage = FileSystemStorage(location=PACKAGE_DATA)

    # Django calls it with one signature; its stubs split it into two by the value of `find_all`.
    def find(self, path: str, find_all: bool = False, **kwargs: Any) -> str | list[str]:  # type: ignore[override]
        found = str(PACKAGE_DATA / FILE_NAME) if path == FILE_NAME else ""
        if find_all:
            return [found] if found else []
        return found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, FileSystemStorage]]:
        yield FILE_NAME, self.storage
