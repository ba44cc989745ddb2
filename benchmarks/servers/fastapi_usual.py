"""FastAPI as tutorials show it: a plain function (so a thread pool), a response model, default session and settings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel, create_model

spec = json.loads(Path(os.environ["BENCH_SPEC"]).read_text())
session = ort.InferenceSession(os.environ["BENCH_MODEL"], providers=["CPUExecutionProvider"])

fields: dict[str, Any] = {column["name"]: (float, ...) for column in spec["columns"]}
Row: type[BaseModel] = create_model("Row", **fields)


class Rows(BaseModel):
    rows: list[Row]  # type: ignore[valid-type]  # Row is made at run time


class Prediction(BaseModel):
    label: str
    probabilities: dict[str, float]


class Predictions(BaseModel):
    model_version: str
    predictions: list[Prediction]


app = FastAPI()


@app.post("/predict")
def predict(body: Rows) -> Predictions:
    values = np.array([list(row.values()) for row in body.model_dump()["rows"]], dtype=np.float32)
    labels, probabilities = session.run(None, {session.get_inputs()[0].name: values})
    return Predictions(
        model_version="1",
        predictions=[
            Prediction(
                label=spec["classes"][int(label)],
                probabilities={name: float(value) for name, value in zip(spec["classes"], row, strict=True)},
            )
            for label, row in zip(labels, probabilities, strict=True)
        ],
    )
