"""What `make.py` shares: seeded data, the two converters' options, and the form of an entry.

Needs the libraries of `requirements.txt`; no test imports it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

MODELS = Path(__file__).parent / "models"
OPSETS = {"": 18, "ai.onnx.ml": 3}
SEED = 20
N_SHOWN = 40

Row = dict[str, Any]


@dataclass
class Entry:
    """One model: its file, what its owner says of it, rows, and the library's own predictions for them.

    `classes`: names in the order of the numbers. `probabilities`, `scores`: a line a row; `values`: by target.
    `refused`: why it can't be served, in place of answers: the field at fault and the code, or words of the sentence.
    `options`: what else `register_model` is told. `tolerance`: of numbers, where the file is not exact in float32.
    `confirmed`: what only its owner can say, and does. `ending`: of the model file's name.
    """

    made: str
    content: bytes
    rows: list[Row]
    metadata: dict[str, Any] | None = None
    task: str | None = None
    labels: list[str] | None = None
    classes: list[str] | None = None
    probabilities: list[list[float]] | None = None
    scores: list[list[float]] | list[float] | None = None
    values: dict[str, list[float]] | None = None
    refused: dict[str, str] | None = None
    target_column: list[Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    tolerance: float | None = None
    is_row_wise: bool = False
    confirmed: list[str] | None = None
    ending: str = ".onnx"


MAKERS: dict[str, Callable[[], Entry]] = {}


def model(function: Callable[[], Entry]) -> Callable[[], Entry]:
    MAKERS[function.__name__] = function
    return function


def write(name: str, entry: Entry) -> int:
    """Both files of an entry; the size of the larger one."""
    (MODELS / f"{name}{entry.ending}").write_bytes(_content(name, entry))
    kept = {key: value for key, value in vars(entry).items() if key != "content" and value not in (None, {}, False)}
    if entry.ending == ".onnx":
        del kept["ending"]
    text = json.dumps(kept, ensure_ascii=False, indent=1, default=_plain)
    (MODELS / f"{name}.json").write_text(_compact(text) + "\n", encoding="utf-8")
    return len(entry.content)


def _content(name: str, entry: Entry) -> bytes:
    if entry.ending != ".onnx":
        return entry.content
    graph = onnx.load_from_string(entry.content)
    graph.graph.name = name  # converters draw one at random
    return graph.SerializeToString(deterministic=True)


def _compact(text: str) -> str:
    """One member a line; lists and rows on one line each."""
    document = json.loads(text)
    lines = []
    for key, value in document.items():
        if key == "rows":
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            lines.append(f' "rows": [\n  {rows}\n ]')
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value))


def seeded() -> np.random.Generator:
    random.seed(SEED)
    np.random.seed(SEED)
    return np.random.default_rng(SEED)


def numbers(n_columns: int = 4, n_rows: int = 240) -> np.ndarray:
    """Exact in float32, so that no library reads another number than the graph."""
    return seeded().normal(size=(n_rows, n_columns)).astype(np.float32)


def labelled(rows: np.ndarray, labels: Sequence[Any]) -> np.ndarray:
    """One of the labels for each row, mostly by its numbers; each label comes often."""
    random_ = np.random.default_rng(SEED + 1)
    scores = (
        rows @ random_.normal(size=(rows.shape[1], len(labels))) + random_.normal(size=(len(rows), len(labels))) / 2
    )
    chosen = scores.argmax(axis=1)
    kind = object if isinstance(labels[0], str) else None
    return np.array([labels[index] for index in chosen], dtype=kind)


def label_text(label: Any) -> str:
    if isinstance(label, bool | np.bool_):
        return "true" if label else "false"
    return str(label)


def as_rows(values: np.ndarray, names: Sequence[str]) -> list[Row]:
    return [dict(zip(names, map(float, line), strict=True)) for line in values[:N_SHOWN]]


def matrix_metadata(names: Sequence[str], **rest: Any) -> dict[str, Any]:
    return {"input": "matrix", "columns": [{"name": name, "type": "float"} for name in names], **rest}


def wide(values: Any) -> list[list[float]]:
    return np.asarray(values, dtype=np.float64)[:N_SHOWN].tolist()


def flat(values: Any) -> list[float]:
    return np.asarray(values, dtype=np.float64).reshape(-1)[:N_SHOWN].tolist()


def texts(labels: Any) -> list[str]:
    return [label_text(label) for label in labels[:N_SHOWN]]


def drawn(
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[Any],
    tensors: dict[str, np.ndarray] | None = None,
    domains: Sequence[tuple[str, int]] = (),
) -> bytes:
    """A graph by hand. `outputs`: (name, type, shape), or a value info."""
    ports = [
        one if isinstance(one, onnx.ValueInfoProto) else onnx.helper.make_tensor_value_info(*one) for one in outputs
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "drawn",
        [onnx.helper.make_tensor_value_info(*port) for port in inputs],
        ports,
        [onnx.numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    opsets = [onnx.helper.make_opsetid(domain, number) for domain, number in (("", 18), *domains)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return bytes(made.SerializeToString())
