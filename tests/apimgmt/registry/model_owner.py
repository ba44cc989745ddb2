"""Someone with a model and a table, who runs demo/export_sklearn.py on them."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest

from tests.apimgmt.registry import makers

SCRIPT = makers.DEMO_MODELS.parent / "export_sklearn.py"


def load_script() -> ModuleType:
    """The script as a module: many exports need no process each."""
    found = importlib.util.spec_from_file_location("export_sklearn", SCRIPT)
    module = importlib.util.module_from_spec(found)
    sys.modules["export_sklearn"] = module  # its dataclasses look themselves up there
    found.loader.exec_module(module)
    return module


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


def numbers(names: list[str], n_rows: int = 80) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(random.normal(size=(n_rows, len(names))).round(3), columns=names)
