"""FastAPI as somebody builds it who cares for speed: no checks of caller, key or count.

One thread a session, an async function (the model takes microseconds: a thread pool would cost more), pydantic for the
rows, orjson for the answer, sent without a second validation, no access log, one process a core.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel, create_model

spec = json.loads(Path(os.environ["BENCH_SPEC"]).read_text())
names = [column["name"] for column in spec["columns"]]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name

fields: dict[str, Any] = dict.fromkeys(names, (float, ...))
Row: type[BaseModel] = create_model("Row", **fields)


class Rows(BaseModel):
    rows: list[Row]  # type: ignore[valid-type]  # Row is made at run time


app = FastAPI()


@app.post("/predict")
async def predict(body: Rows) -> Response:
    values = np.array([[getattr(row, name) for name in names] for row in body.rows], np.float32)
    labels, probabilities = session.run(None, {input_name: values})
    predictions = [
        {"class": spec["classes"][label], "probabilities": dict(zip(spec["classes"], row, strict=True))}
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]
    content = orjson.dumps({"model_version": "1", "predictions": predictions})
    return Response(content, media_type="application/json")
