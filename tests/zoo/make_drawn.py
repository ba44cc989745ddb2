"""Entries drawn by hand, for what no library's converter writes alone; numpy computes their predictions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType, quantize_dynamic

from tests.zoo.making import (
    N_SHOWN,
    Entry,
    as_rows,
    drawn,
    flat,
    matrix_metadata,
    model,
    numbers,
    seeded,
    wide,
)

NAMES = ["a", "b", "c", "d"]
MATRIX = [("x", TensorProto.FLOAT, ["n", 4])]
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def weights(width: int) -> np.ndarray:
    return seeded().normal(size=(4, width)).astype(np.float32)


def softmax(values: np.ndarray, axis: int = 1) -> np.ndarray:
    raised = np.exp(values - values.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


def of(told: str, content: bytes, **rest: Any) -> Entry:
    metadata = matrix_metadata(NAMES, **rest.pop("metadata", {}))
    return Entry(f"drawn by hand: {told}", content, as_rows(numbers(), NAMES), metadata, **rest)


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, outputs, **attributes)


@model
def names_lie() -> Entry:
    """The output called `probabilities` holds margins, the one called `label` the probabilities."""
    w = weights(3)
    margins = numbers() @ w
    nodes = [
        node("MatMul", ["x", "w"], ["probabilities"]),
        node("Softmax", ["probabilities"], ["label"], axis=1),
        node("ArgMax", ["probabilities"], ["scores"], axis=1, keepdims=0),
    ]
    outputs = [("label", FLOAT, ["n", 3]), ("scores", INT64, ["n"]), ("probabilities", FLOAT, ["n", 3])]
    return of(
        "outputs under each other's names",
        drawn(nodes, MATRIX, outputs, {"w": w}),
        labels=[str(one) for one in margins.argmax(axis=1)[:N_SHOWN]],
        classes=["0", "1", "2"],
        probabilities=wide(softmax(margins)),
    )


def binary(told: str, *, threshold: float = 0.5, is_bool: bool = False, **rest: Any) -> Entry:
    """A label, and the probability of the second class as [n, 1]."""
    w = weights(1)
    p = 1 / (1 + np.exp(-(numbers() @ w)))
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Sigmoid", ["m"], ["p"]),
        node("Greater", ["p", "t"], ["is_second"]),
        node("Squeeze", ["is_second", "axis"], ["flat"]),
        node("Cast", ["flat"], ["label"], to=TensorProto.BOOL if is_bool else INT64),
    ]
    tensors = {"w": w, "t": np.array(threshold, np.float32), "axis": np.array([1])}
    outputs = [("label", TensorProto.BOOL if is_bool else INT64, ["n"]), ("p", FLOAT, ["n", 1])]
    names = ["false", "true"] if is_bool else ["0", "1"]
    labels = (p > threshold).astype(int).reshape(-1)[:N_SHOWN]
    both = wide(np.column_stack([1 - p, p]))
    return of(
        told,
        drawn(nodes, MATRIX, outputs, tensors),
        labels=[names[one] for one in labels],
        classes=names,
        probabilities=both,
        **rest,
    )


@model
def second_probability() -> Entry:
    return binary("a label and a probability [n, 1]")


@model
def own_threshold() -> Entry:
    return binary("a threshold of 0.3 in the graph", threshold=0.3)


@model
def bool_label() -> Entry:
    return binary("a label of true and false beside the probability of true", is_bool=True)


@model
def label_alone() -> Entry:
    w = weights(3)
    words = np.array(["lo", "mid", "hi"], dtype=object)
    best = (numbers() @ w).argmax(axis=1)
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("ArgMax", ["m"], ["best"], axis=1, keepdims=0),
        node("Gather", ["words", "best"], ["y"]),
    ]
    return of(
        "a text label alone",
        drawn(nodes, MATRIX, [("y", STRING, ["n"])], {"w": w, "words": words}),
        metadata={"classes": {"lo": "low", "mid": "middle", "hi": "high"}},
        labels=[{"lo": "low", "mid": "middle", "hi": "high"}[str(words[one])] for one in best[:N_SHOWN]],
    )


def whole(told: str, **rest: Any) -> Entry:
    """A rounded sum."""
    nodes = [
        node("ReduceSum", ["x", "axis"], ["s"], keepdims=0),
        node("Round", ["s"], ["r"]),
        node("Cast", ["r"], ["count"], to=INT64),
    ]
    return of(told, drawn(nodes, MATRIX, [("count", INT64, ["n"])], {"axis": np.array([1])}), **rest)


@model
def whole_numbers() -> Entry:
    values = flat(np.round(numbers().sum(axis=1)))
    told = "a regression of whole numbers"
    return whole(told, metadata={"task": "regression"}, values={"prediction": values})


@model
def whole_numbers_unsaid() -> Entry:
    told = "whole numbers, and nobody says whether they are classes"
    return whole(told, refused={"field": "outputs", "code": "lone_whole_number"})


@model
def passed_through() -> Entry:
    """The caller's own label must not come back as the prediction."""
    inputs = [(name, FLOAT, ["n", 1]) for name in ("a", "b")] + [("kind", STRING, ["n", 1])]
    nodes = [
        node("Mul", ["a", "two"], ["aa"]),
        node("Add", ["aa", "b"], ["y"]),
        node("Identity", ["kind"], ["label"]),
        node("Identity", ["a"], ["a_again"]),
    ]
    outputs = [("label", STRING, ["n", 1]), ("a_again", FLOAT, ["n", 1]), ("y", FLOAT, ["n", 1])]
    rows = numbers(2)
    shown = [
        {"a": float(a), "b": float(b), "kind": ["new", "old"][index % 2]} for index, (a, b) in enumerate(rows[:N_SHOWN])
    ]
    return Entry(
        "drawn by hand: inputs passed through beside the prediction",
        drawn(nodes, inputs, outputs, {"two": np.array(2, np.float32)}),
        shown,
        {"columns": [{"name": "a"}, {"name": "b"}, {"name": "kind"}]},
        values={"prediction": flat(rows[:, 0] * 2 + rows[:, 1])},
    )


@model
def two_outputs_of_numbers() -> Entry:
    w = weights(2)
    found = numbers() @ w
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Split", ["m"], ["left", "right"], axis=1, num_outputs=2),
    ]
    told = "two outputs of one number a row"
    content = drawn(nodes, MATRIX, [("left", FLOAT, ["n", 1]), ("right", FLOAT, ["n", 1])], {"w": w})
    return of(told, content, values={"left": flat(found[:, 0]), "right": flat(found[:, 1])})


@model
def double_values() -> Entry:
    w = weights(1).astype(np.float64)
    nodes = [node("Cast", ["x"], ["xx"], to=TensorProto.DOUBLE), node("MatMul", ["xx", "w"], ["y"])]
    content = drawn(nodes, MATRIX, [("y", TensorProto.DOUBLE, ["n", 1])], {"w": w})
    return of("64-bit floats come out", content, values={"prediction": flat(numbers().astype(float) @ w)})


@model
def half_values() -> Entry:
    w = weights(1).astype(np.float16)
    nodes = [
        node("Cast", ["x"], ["xx"], to=TensorProto.FLOAT16),
        node("MatMul", ["xx", "w"], ["y"]),
    ]
    content = drawn(nodes, MATRIX, [("y", TensorProto.FLOAT16, ["n", 1])], {"w": w})
    values = flat(numbers().astype(np.float16).astype(float) @ w.astype(float))
    return of("16-bit floats come out", content, values={"prediction": values}, tolerance=4e-3)


@model
def quantised() -> Entry:
    """Eight-bit weights: held against ONNX Runtime's own session, the library that made them."""
    w = weights(8)
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["m"]),
        node("Softmax", ["m"], ["p"], axis=1),
    ]
    v = seeded().normal(size=(8, 3)).astype(np.float32)
    plain = drawn(nodes, MATRIX, [("p", FLOAT, ["n", 3])], {"w": w, "v": v})
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(onnx.load_from_string(plain), Path(folder) / "plain.onnx")
        quantize_dynamic(Path(folder) / "plain.onnx", Path(folder) / "q.onnx", weight_type=QuantType.QInt8)
        content = (Path(folder) / "q.onnx").read_bytes()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    found = np.concatenate([session.run(None, {"x": row[None]})[0] for row in numbers()[:N_SHOWN]])
    names = ["u", "v", "w"]
    return of(
        "ONNX Runtime's dynamic quantisation: a row's scale depends on its batch",
        content,
        metadata={"classes": names},
        labels=[names[one] for one in found.argmax(axis=1)],
        classes=names,
        probabilities=wide(found),
        is_row_wise=True,
    )


@model
def centred_on_batch() -> Entry:
    """Less the batch's mean: a row alone answers zero everywhere, so each row is computed alone."""
    w = weights(1)
    nodes = [
        node("ReduceMean", ["x", "axis"], ["mean"], keepdims=1),
        node("Sub", ["x", "mean"], ["centred"]),
        node("Add", ["x", "centred"], ["both"]),
        node("MatMul", ["both", "w"], ["y"]),
    ]
    content = drawn(nodes, MATRIX, [("y", FLOAT, ["n", 1])], {"w": w, "axis": np.array([0])})
    told = "a row's answer depends on the mean of its batch"
    return of(told, content, values={"prediction": flat(numbers() @ w)}, is_row_wise=True)


@model
def softmax_over_batch() -> Entry:
    """Alone, each number is 1: no probabilities of classes, so scores without any meaning."""
    w = weights(3)
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Softmax", ["m"], ["p"], axis=0)]
    content = drawn(nodes, MATRIX, [("p", FLOAT, ["n", 3])], {"w": w})
    told = "softmax over the rows instead of the classes"
    refused = {"field": "outputs", "code": "probabilities"}
    metadata = {"classes": ["u", "v", "w"], "outputs": {"probabilities": "p"}}
    return of(told, content, metadata=metadata, refused=refused)


@model
def swapped_columns() -> Entry:
    w = weights(3)
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Softmax", ["m"], ["p"], axis=1),
        node("ArgMax", ["m"], ["best"], axis=1, keepdims=0),
        node("Gather", ["labels", "best"], ["label"]),
    ]
    outputs = [("label", INT64, ["n"]), ("p", FLOAT, ["n", 3])]
    margins = numbers() @ w
    labels = np.array([30, 10, 20])
    return of(
        "labels that the graph lists nowhere, learnt in another order than their size",
        drawn(nodes, MATRIX, outputs, {"w": w, "labels": labels}),
        labels=[str(one) for one in labels[margins.argmax(axis=1)][:N_SHOWN]],
        classes=["30", "10", "20"],
        probabilities=wide(softmax(margins)),
    )


@model
def class_never_seen() -> Entry:
    """The third column never wins: nobody knows its label."""
    w = weights(2)
    nodes = [
        node("MatMul", ["x", "w"], ["two"]),
        node("Pad", ["two", "pads", "low"], ["m"]),
        node("Softmax", ["m"], ["p"], axis=1),
        node("ArgMax", ["two"], ["best"], axis=1, keepdims=0),
        node("Gather", ["labels", "best"], ["label"]),
    ]
    tensors = {"w": w, "labels": np.array([5, 8]), "pads": np.array([0, 0, 0, 1]), "low": np.array(-9000, np.float32)}
    content = drawn(nodes, MATRIX, [("label", INT64, ["n"]), ("p", FLOAT, ["n", 3])], tensors)
    return of("a class that no row gets", content, refused={"field": "outputs", "code": "classes"})


@model
def three_dimensions() -> Entry:
    nodes = [node("Unsqueeze", ["x", "axis"], ["y"])]
    content = drawn(nodes, MATRIX, [("y", FLOAT, ["n", 4, 1])], {"axis": np.array([2])})
    return of("three dimensions come out", content, refused={"field": "outputs", "code": "no_served_output"})


@model
def custom_operator() -> Entry:
    nodes = [helper.make_node("Wish", ["x"], ["y"], domain="com.example")]
    content = drawn(nodes, MATRIX, [("y", FLOAT, ["n", 1])], domains=[("com.example", 1)])
    return of(
        "an operator of somebody's own",
        content,
        refused={"field": "file", "words": "custom operator Wish of com.example"},
    )


@model
def sequence_out() -> Entry:
    nodes = [node("SplitToSequence", ["x"], ["parts"], axis=0)]
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    content = drawn(nodes, MATRIX, [helper.make_value_info("parts", kind)])
    return of("a sequence of tensors comes out", content, refused={"field": "outputs", "code": "no_served_output"})


@model
def image_in() -> Entry:
    nodes = [node("GlobalAveragePool", ["image"], ["mean"]), node("Flatten", ["mean"], ["y"])]
    content = drawn(nodes, [("image", FLOAT, ["n", 3, 8, 8])], [("y", FLOAT, ["n", 3])])
    entry = of("an image goes in", content, refused={"field": "file", "words": "the input image has 4 dimensions"})
    entry.metadata = None
    return entry


@model
def one_row_only() -> Entry:
    nodes = [node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)]
    content = drawn(nodes, [("x", FLOAT, [1, 4])], [("y", FLOAT, [1, 1])], {"axis": np.array([1])})
    rows = numbers()
    entry = of("a batch fixed to one row", content, values={"prediction": flat(rows.sum(axis=1))})
    entry.is_row_wise = True
    return entry


@model
def two_rows_only() -> Entry:
    nodes = [node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)]
    content = drawn(nodes, [("x", FLOAT, [2, 4])], [("y", FLOAT, [2, 1])], {"axis": np.array([1])})
    return of(
        "a batch fixed to two rows", content, refused={"field": "file", "words": "takes exactly 2 rows at a time"}
    )


@model
def one_row_reshaped() -> Entry:
    """The number of rows is open, but a reshape within has room for one."""
    nodes = [node("Reshape", ["x", "one"], ["flat"]), node("ReduceSum", ["flat", "axis"], ["y"], keepdims=1)]
    content = drawn(nodes, MATRIX, [("y", FLOAT, ["n", 1])], {"one": np.array([1, 4]), "axis": np.array([1])})
    entry = of("a reshape to one row", content, values={"prediction": flat(numbers().sum(axis=1))})
    entry.is_row_wise = True
    return entry


@model
def probabilities_beside_scores() -> Entry:
    """Both are there: the probabilities are served, the margins told as ignored."""
    w = weights(3)
    margins = numbers() @ w
    nodes = [
        node("MatMul", ["x", "w"], ["margins"]),
        node("Softmax", ["margins"], ["p"], axis=1),
        node("ArgMax", ["margins"], ["label"], axis=1, keepdims=0),
    ]
    outputs = [("label", INT64, ["n"]), ("margins", FLOAT, ["n", 3]), ("p", FLOAT, ["n", 3])]
    return of(
        "margins beside probabilities",
        drawn(nodes, MATRIX, outputs, {"w": w}),
        labels=[str(one) for one in margins.argmax(axis=1)[:N_SHOWN]],
        classes=["0", "1", "2"],
        probabilities=wide(softmax(margins)),
    )


@model
def both_stated() -> Entry:
    entry = probabilities_beside_scores()
    entry.made = "drawn by hand: margins and probabilities, both stated to be served"
    entry.metadata = {**(entry.metadata or {}), "outputs": {"probabilities": "p", "scores": "margins"}}
    entry.labels = entry.probabilities = entry.classes = None
    entry.refused = {"field": "outputs", "code": "scores_beside_probabilities"}
    return entry
