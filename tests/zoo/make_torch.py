"""Entries from PyTorch: small networks, exported with `torch.onnx.export`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.zoo.making import SEED, Entry, as_rows, flat, matrix_metadata, model, numbers, wide

NAMES = ["a", "b", "c", "d"]


def exported(network: torch.nn.Module, given: Any, inputs: list[str], output: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            network,
            given,
            path,
            input_names=inputs,
            output_names=[output],
            dynamic_axes={name: {0: "n"} for name in (*inputs, output)},
            opset_version=17,
            dynamo=False,
        )
        return path.read_bytes()


def network(*last: torch.nn.Module, width: int) -> torch.nn.Module:
    torch.manual_seed(SEED)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, width), *last).eval()


def entry_of(made: torch.nn.Module, told: str, output: str, **metadata: Any) -> tuple[Entry, np.ndarray]:
    rows = numbers()
    with torch.no_grad():
        found = made(torch.from_numpy(rows)).numpy()
    content = exported(made, torch.from_numpy(rows[:2]), ["x"], output)
    return Entry(f"PyTorch: {told}", content, as_rows(rows, NAMES), matrix_metadata(NAMES, **metadata)), found


def classes_of(found: np.ndarray, names: list[str]) -> list[str]:
    return [names[index] for index in found.argmax(axis=1)[:40]]


@model
def torch_logits() -> Entry:
    names = ["cat", "dog", "owl"]
    entry, found = entry_of(network(width=3), "logits of three classes, no label", "logits", classes=names)
    entry.labels, entry.classes, entry.scores = classes_of(found, names), names, wide(found)
    return entry


@model
def torch_softmax() -> Entry:
    names = ["cat", "dog", "owl"]
    last = torch.nn.Softmax(dim=1)
    entry, found = entry_of(network(last, width=3), "softmax of three classes, no label", "out", classes=names)
    entry.labels, entry.classes, entry.probabilities = classes_of(found, names), names, wide(found)
    return entry


@model
def torch_sigmoid() -> Entry:
    names = ["no", "yes"]
    entry, found = entry_of(network(torch.nn.Sigmoid(), width=1), "one probability, no label", "p", classes=names)
    both = np.column_stack([1 - found, found])
    entry.labels, entry.classes, entry.probabilities = classes_of(both, names), names, wide(both)
    return entry


@model
def torch_sigmoid_unsaid() -> Entry:
    entry, _ = entry_of(network(torch.nn.Sigmoid(), width=1), "one number within 0 and 1, and nobody says which", "p")
    entry.refused = {"field": "outputs", "code": "between_0_and_1"}
    return entry


@model
def torch_one_logit() -> Entry:
    entry, _ = entry_of(network(width=1), "one logit of two classes, no label", "logit", classes=["no", "yes"])
    entry.refused = {"field": "outputs", "code": "score_without_label"}
    return entry


@model
def torch_regression() -> Entry:
    entry, found = entry_of(network(width=1), "one number [n, 1] under the name label", "label")
    entry.values = {"prediction": flat(found)}
    return entry


@model
def torch_regression_flat() -> Entry:
    entry, found = entry_of(
        network(torch.nn.Flatten(0), width=1), "one number [n] under the name probabilities", "probabilities"
    )
    entry.values = {"prediction": flat(found)}
    return entry


class Embedded(torch.nn.Module):
    """A whole number looked up in a table, beside a number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.table = torch.nn.Embedding(6, 3)
        self.last = torch.nn.Linear(4, 1)

    def forward(self, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(torch.cat([self.table(kind[:, 0]), size], dim=1))
        return found


@model
def torch_embedding() -> Entry:
    made = Embedded().eval()
    kinds = torch.arange(240).reshape(-1, 1) % 6
    sizes = torch.from_numpy(numbers(1))
    with torch.no_grad():
        found = made(kinds, sizes).numpy()
    columns = [{"name": "kind", "type": "int", "min": 0, "max": 5}, {"name": "size", "type": "float"}]
    rows = [{"kind": int(kind), "size": float(size)} for kind, size in zip(kinds[:40, 0], sizes[:40, 0], strict=True)]
    return Entry(
        made="PyTorch: an embedding of a whole number, beside a number",
        content=exported(made, (kinds[:2], sizes[:2]), ["kind", "size"], "y"),
        rows=rows,
        metadata={"columns": columns},
        values={"prediction": flat(found)},
    )
