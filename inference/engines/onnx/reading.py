"""Reads an ONNX file's signature: what it takes and gives from the session, the rest from the graph itself."""

from __future__ import annotations

from pathlib import Path

from inference.engines.onnx import graph
from inference.engines.onnx.categories import graph_categories
from inference.engines.onnx.ports import read_ports
from inference.engines.onnx.runtime import open_session
from inference.inputs import table_layout
from inference.signature import InputCategories, Signature


def read_signature(path: Path) -> Signature:
    """Everything the file tells, for a description that is still to be made. Raises `NotServable`, `ModelLoadError`."""
    model = graph.read_graph(path)
    session = open_session(path)
    inputs, outputs = read_ports(session.get_inputs()), read_ports(session.get_outputs())
    layout = table_layout(Signature(inputs=inputs, outputs=outputs))
    return Signature(
        inputs=inputs,
        outputs=outputs,
        labels={port.name: found for port in outputs if (found := graph.class_labels(model, port.name)) is not None},
        likely_width=graph.matrix_width(model, inputs[0].name) if layout == "matrix" else None,
        treats_missing=graph.treats_missing(model),
        metadata=graph.own_metadata(model),
        categories=tuple(
            InputCategories(name, position, found.values, found.takes_others)
            for (name, position), found in graph_categories(model).items()
        ),
    )
