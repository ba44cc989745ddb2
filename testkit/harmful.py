"""Models that do harm when a caller asks for it: they compute for ever, take all memory, end their process."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from contract.model_spec import ModelSpec
from testkit.graphs import Made, graph, node, port, spec_of


def looping() -> Made:
    """As many rounds as the data says: a sample of one, and for ever if it is asked to."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["go_on"]), node("Add", ["v", "one"], ["v_next"])],
        "round",
        [port(("round", "int64", [])), port(("go", "bool", [])), port(("v", "double", []))],
        [port(("go_on", "bool", [])), port(("v_next", "double", []))],
        [helper.make_tensor("one", TensorProto.DOUBLE, [], [1.0])],
    )
    nodes = [
        node("ReduceMax", ["n"], ["rounds"], keepdims=0),
        node("Loop", ["rounds", "true", "zero"], ["total"], body=body),
        *_with_rows("total"),
    ]
    constants = {"true": np.array(True), "zero": np.array(0.0), "nothing": np.array(0.0)}
    return _counting_spec(), graph([("n", "int64", [None, 1])], [("y", "double", [None, 1])], nodes, constants)


def allocating() -> Made:
    """As much memory as the data says."""
    nodes = [
        node("ReduceMax", ["n"], ["size"], keepdims=0),
        node("Reshape", ["size", "flat"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["block"]),
        node("ReduceSum", ["block"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["total"], to=TensorProto.DOUBLE),
        *_with_rows("total"),
    ]
    constants = {"flat": np.array([1], np.int64), "nothing": np.array(0.0)}
    return _counting_spec(), graph([("n", "int64", [None, 1])], [("y", "double", [None, 1])], nodes, constants)


def dividing() -> Made:
    """Whole numbers, divided. The lowest one by -1 is an exception of the processor: the end of the process."""
    nodes = [node("Div", ["a", "b"], ["q"]), node("Cast", ["q"], ["y"], to=TensorProto.DOUBLE)]
    spec = spec_of({"a": "int", "b": "int"}, {"a": 6, "b": 3})
    return spec, graph([("a", "int64", [None, 1]), ("b", "int64", [None, 1])], [("y", "double", [None, 1])], nodes)


POISON = b'{"rows": [{"a": -9223372036854775808, "b": -1}]}'


def _with_rows(total: str) -> list[Any]:
    """One number for all rows, in each of them."""
    return [
        node("Cast", ["n"], ["n_double"], to=TensorProto.DOUBLE),
        node("Mul", ["n_double", "nothing"], ["zeros"]),
        node("Add", ["zeros", total], ["y"]),
    ]


def _counting_spec() -> ModelSpec:
    return spec_of({"n": "int"}, {"n": 1})
