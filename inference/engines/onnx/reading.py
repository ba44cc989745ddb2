"""Reads an ONNX file's signature: what it takes and gives from the session, the rest from the graph itself."""

from __future__ import annotations

from pathlib import Path

from inference.engines.onnx import graph
from inference.engines.onnx.categories import graph_categories
from inference.engines.onnx.ports import read_ports
from inference.engines.onnx.runtime import open_session
from inference.inputs import table_layout
from inference.outputs import label_output, score_output
from inference.signature import InputCategories, Signature


def read_signature(path: Path) -> Signature:
    """Everything the file tells, for a description that is still to be made. Raises `NotServable`, `ModelLoadError`."""
    model = graph.read_graph(path)
    session = open_session(path)
    inputs, outputs = read_ports(session.get_inputs()), read_ports(session.get_outputs())
    layout = table_layout(Signature(inputs=inputs, outputs=outputs))
    label, score = label_output(outputs), score_output(outputs)
    labels = graph.class_labels(model, label.name) if label else None
    if labels is None and score is not None and score.kind == "map":
        labels = graph.class_labels(model, score.name)
    return Signature(
        inputs=inputs,
        outputs=outputs,
        labels=labels[0] if labels else None,
        has_integer_labels=labels[1] if labels else label is not None and label.kind != "string",
        likely_width=graph.matrix_width(model, inputs[0].name) if layout == "matrix" else None,
        treats_missing=graph.treats_missing(model),
        categories=tuple(
            InputCategories(name, position, found.values, found.takes_others)
            for (name, position), found in graph_categories(model).items()
        ),
    )
