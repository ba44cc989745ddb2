"""Models as other people make them: fitted with scikit-learn, converted with or without ZipMap, or drawn by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

DEMO_MODELS = Path(__file__).resolve().parents[3] / "demo" / "models"
OPSETS = {"": 18, "ai.onnx.ml": 3}


def case_id(value: Any) -> str | None:
    """The name of a test case without the bytes of its file: they vary from run to run, and are long."""
    return "file" if isinstance(value, bytes) else None


def converted(model: Any, inputs: list[tuple[str, Any]], *, zipmap: bool | str = False) -> bytes:
    is_classifier = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": zipmap}} if is_classifier else None
    return skl2onnx.convert_sklearn(
        model, initial_types=inputs, options=options, target_opset=OPSETS
    ).SerializeToString()


@cache
def iris(labels: str = "text", *, zipmap: bool = False, width: int | None = 4, kind: str = "logistic") -> bytes:
    """Three classes from four numbers. `labels`: text, or the integers 0 1 2, or 10 20 30."""
    data = load_iris()
    names = {"text": list(data.target_names), "int": [0, 1, 2], "tens": [10, 20, 30]}[labels]
    target = np.array([names[index] for index in data.target])
    estimators = {
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "forest": lambda: RandomForestClassifier(n_estimators=10, max_depth=4, random_state=1),
    }
    model = estimators[kind]().fit(data.data.astype(np.float32), target)
    return converted(model, [("X", FloatTensorType([None, width]))], zipmap=zipmap)


@cache
def line(inputs: int = 1) -> bytes:
    """A linear regression of one matrix."""
    rows = np.arange(20 * inputs, dtype=np.float32).reshape(20, inputs)
    return converted(LinearRegression().fit(rows, rows.sum(axis=1)), [("X", FloatTensorType([None, inputs]))])


@cache
def colours() -> bytes:
    """Two classes from one text column; an unknown text stops it."""
    texts = np.array([["red"], ["green"], ["red"], ["blue"]], dtype=object)
    model = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(texts, ["warm", "cold", "warm", "cold"])
    return converted(model, [("colour", StringTensorType([None, 1]))])


@cache
def counted() -> bytes:
    """A regression of whole numbers."""
    rows = np.arange(20, dtype=np.int64).reshape(-1, 1)
    return converted(LinearRegression().fit(rows, rows[:, 0] * 2.0), [("count", Int64TensorType([None, 1]))])


def drawn(
    nodes: list[Any],
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[tuple[str, int, list[Any]]],
    *,
    tensors: dict[str, Any] | None = None,
    opset: int = 18,
    domains: tuple[str, ...] = (),
) -> bytes:
    """A graph by hand: (name, element type, shape) for each input and output."""
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()


def numbers_as_text() -> bytes:
    """A regression that takes one text and reads it as a number; empty text stops it."""
    nodes = [helper.make_node("Cast", ["code"], ["y"], to=TensorProto.FLOAT)]
    return drawn(nodes, [("code", TensorProto.STRING, [None, 1])], [("y", TensorProto.FLOAT, [None, 1])])


def image() -> bytes:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["score"]),
    ]
    return drawn(nodes, [("image", TensorProto.FLOAT, ["n", 3, 224, 224])], [("score", TensorProto.FLOAT, ["n", 3])])


def two_rows_only() -> bytes:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)]
    return drawn(nodes, [("x", TensorProto.FLOAT, [2, 4])], [("y", TensorProto.FLOAT, [1, 1])])


def two_matrices() -> bytes:
    nodes = [helper.make_node("Add", ["left", "right"], ["sum"])]
    ports = [("left", TensorProto.FLOAT, ["n", 3]), ("right", TensorProto.FLOAT, ["n", 3])]
    return drawn(nodes, ports, [("sum", TensorProto.FLOAT, ["n", 3])])


def sequence() -> bytes:
    node = helper.make_node("ConcatFromSequence", ["parts"], ["y"], axis=0)
    graph = helper.make_graph(
        [node],
        "sequence",
        [helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def softmax(classes: int = 3) -> bytes:
    """Probabilities without a label, as neural networks give them."""
    weights = np.eye(4, classes, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["probabilities"])]
    ports = [("x", TensorProto.FLOAT, ["n", 4])]
    return drawn(nodes, ports, [("probabilities", TensorProto.FLOAT, ["n", classes])], tensors={"w": weights})


def sigmoid() -> bytes:
    """One probability, of the second class."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["p"])]
    ports = [("x", TensorProto.FLOAT, ["n", 4])]
    return drawn(nodes, ports, [("p", TensorProto.FLOAT, ["n", 1])], tensors={"w": np.ones((4, 1), np.float32)})


def custom_operator() -> bytes:
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")]
    ports = [("x", TensorProto.FLOAT, ["n", 4])]
    return drawn(nodes, ports, [("y", TensorProto.FLOAT, ["n", 1])], domains=("com.example",))


def external_weights() -> bytes:
    """Weights in a file beside the model, outside its folder at that."""
    weights = numpy_helper.from_array(np.ones((4, 1), np.float32), "w")
    weights.data_location = TensorProto.EXTERNAL
    weights.ClearField("raw_data")
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "external",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def memory_hog() -> bytes:
    """Asks for 400 GB when it runs."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["many"]),
        helper.make_node("ReduceSum", ["many"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    shape = {"shape": np.array([100_000, 1_000_000], np.int64)}
    return drawn(nodes, [("x", TensorProto.FLOAT, ["n", 1])], [("y", TensorProto.FLOAT, ["n", 1])], tensors=shape)


def endless() -> bytes:
    """Counts to nine quintillions before it answers."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["going_on"]),
            helper.make_node("Add", ["before", "before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, None),
        ],
    )
    nodes = [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)]
    tensors = {"turns": np.array(2**62, np.int64), "yes": np.array(True)}
    return drawn(nodes, [("x", TensorProto.FLOAT, ["n", 1])], [("y", TensorProto.FLOAT, ["n", 1])], tensors=tensors)


def not_finite() -> bytes:
    """The logarithm of a negative number, for small inputs."""
    nodes = [helper.make_node("Log", ["z"], ["y"]), helper.make_node("Sub", ["x", "one"], ["z"])][::-1]
    ports = [("x", TensorProto.FLOAT, ["n", 1])]
    return drawn(nodes, ports, [("y", TensorProto.FLOAT, ["n", 1])], tensors={"one": np.array(1, np.float32)})


def mostly() -> bytes:
    """Three classes whose label is another than the most probable one in few rows, as Platt's scaling has it.

    Of four numbers three become the probabilities; where the fourth is beyond 9, the label is the next class.
    """
    nodes = [
        helper.make_node("Slice", ["x", "zero", "three", "axis"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["best"], axis=1, keepdims=0),
        helper.make_node("Slice", ["x", "three", "four", "axis"], ["fourth"]),
        helper.make_node("Reshape", ["fourth", "flat"], ["fourth_flat"]),
        helper.make_node("Greater", ["fourth_flat", "nine"], ["is_odd"]),
        helper.make_node("Cast", ["is_odd"], ["shift"], to=TensorProto.INT64),
        helper.make_node("Add", ["best", "shift"], ["shifted"]),
        helper.make_node("Mod", ["shifted", "three"], ["label"]),
    ]
    whole = {"zero": 0, "three": 3, "four": 4, "axis": 1, "flat": -1}
    return drawn(
        nodes,
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("label", TensorProto.INT64, ["n"]), ("p", TensorProto.FLOAT, ["n", 3])],
        tensors={name: np.array([value], np.int64) for name, value in whole.items()}
        | {"nine": np.array([9], np.float32)},
    )


def mostly_sample(*, n_odd: int = 4) -> bytes:
    """Rows for it: so many of sixty in which the label is the next class."""
    rng = np.random.default_rng(3)
    rows = rng.normal(scale=4, size=(60, 3)).round(2).tolist()
    lines = [",".join(map(str, [*row, 10 if index < n_odd else index % 9])) for index, row in enumerate(rows)]
    return "\n".join(["a,b,c,d", *lines]).encode()


def unrelated(start: int, step: int, n_labels: int, *, width: int = 0) -> bytes:
    """The first column counts the label up from `start`, and the graph has no list of them.

    The other columns, doubled, stand beside it and tell nothing of it; without any the label is a text.
    """
    whole = {"zero": [0], "one": [1], "end": [width + 1], "axis": [1], "flat": [-1], "count": [n_labels]}
    nodes = [
        helper.make_node("Slice", ["X", "zero", "one", "axis"], ["pick"]),
        helper.make_node("Reshape", ["pick", "flat"], ["pick_flat"]),
        helper.make_node("Cast", ["pick_flat"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Mod", ["whole", "count"], ["index"]),
        helper.make_node("Mul", ["index", "step"], ["steps"]),
        helper.make_node("Add", ["steps", "start"], ["added"]),
        helper.make_node("Cast", ["added"], ["label"], to=TensorProto.INT64 if width else TensorProto.STRING),
    ]
    outputs: list[tuple[str, int, list[Any]]] = [("label", TensorProto.INT64 if width else TensorProto.STRING, ["n"])]
    if width:
        nodes.append(helper.make_node("Slice", ["X", "one", "end", "axis"], ["rest"]))
        nodes.append(helper.make_node("Add", ["rest", "rest"], ["numbers"]))
        outputs.append(("numbers", TensorProto.FLOAT, ["n", width]))
    tensors = whole | {"step": [step], "start": [start]}
    return drawn(
        nodes,
        [("X", TensorProto.FLOAT, ["n", width + 1])],
        outputs,
        tensors={name: np.array(value, np.int64) for name, value in tensors.items()},
    )
