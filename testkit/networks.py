"""Networks as large as they are asked for: a call reads all weights once, so a row costs less beside others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from contract.meaning import ClassLabel, Meaning, Output
from contract.model_spec import Cell, Column, ModelSpec
from testkit.graphs import Made, graph, node

COLUMNS = 30


def network(*hidden: int, has_tile: bool = False) -> Made:
    """Fully connected layers of these widths with random weights, 30 numbers and two classes.

    `has_tile`: with an operator for which the model gets a process of its own, however quick it is.
    """
    random = np.random.default_rng(0)
    nodes, weights, came = [], {}, "X"
    if has_tile:
        nodes.append(node("Tile", ["X", "once"], ["tiled"]))
        weights["once"], came = np.array([1, 1]), "tiled"
    for layer, (width, following) in enumerate(pairwise((COLUMNS, *hidden, 2))):
        values = random.standard_normal((width, following)) / np.sqrt(width)
        weights[f"weights_{layer}"] = values.astype(np.float32)
        nodes.append(node("MatMul", [came, f"weights_{layer}"], [f"sum_{layer}"]))
        came = f"sum_{layer}"
        if layer < len(hidden):
            nodes.append(node("Relu", [came], [f"layer_{layer}"]))
            came = f"layer_{layer}"
    nodes.append(node("Softmax", [came], ["probabilities"], axis=1))
    nodes.append(node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
    content = graph(
        [("X", "float", [None, COLUMNS])],
        [("label", "int64", [None]), ("probabilities", "float", [None, 2])],
        nodes,
        weights,
    )
    sample: dict[str, Cell] = {
        f"measure_{index}": float(f"{value:.6g}") for index, value in enumerate(random.standard_normal(COLUMNS))
    }
    spec = ModelSpec(
        task="binary",
        target="kind",
        classes=("no", "yes"),
        columns=tuple(Column(name=name, type="float") for name in sample),
        input="matrix",
        sample=sample,
        meaning=Meaning(
            outputs=(Output("label", "label"), Output("probabilities", "probabilities")),
            classes=(ClassLabel(0, "no"), ClassLabel(1, "yes")),
        ),
    )
    return spec, content
