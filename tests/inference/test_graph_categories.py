"""What a graph's own encoders say of a column's categories."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from inference.engines.onnx.categories import GraphCategories, graph_categories

TEXT, INTEGER = TensorProto.STRING, TensorProto.INT64


def model(
    nodes: list[object], inputs: dict[str, list[object]], constants: dict[str, list[int]] | None = None
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TEXT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(values, np.int64), name) for name, values in (constants or {}).items()],
    )
    return helper.make_model(graph)


def encoder(source: str, *, zeros: int, categories: tuple[str, ...] = ("a", "b"), name: str = "y") -> object:
    return helper.make_node(
        "OneHotEncoder", [source], [name], domain="ai.onnx.ml", cats_strings=list(categories), zeros=zeros
    )


@pytest.mark.parametrize("zeros", [0, 1])
def test_an_encoder_behind_its_input(zeros: int) -> None:
    found = graph_categories(model([encoder("x", zeros=zeros)], {"x": [None, 1]}))

    assert found == {("x", 0): GraphCategories(("a", "b"), takes_others=bool(zeros))}


def test_columns_that_were_put_side_by_side_and_taken_out_again() -> None:
    nodes = [
        helper.make_node("Concat", ["p", "q"], ["both"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["both", "second"], ["one"], domain="ai.onnx.ml"),
        helper.make_node("Identity", ["one"], ["same"]),
        encoder("same", zeros=0),
    ]

    found = graph_categories(model(nodes, {"p": [None, 1], "q": [None, 1]}, {"second": [1]}))

    assert found == {("q", 0): GraphCategories(("a", "b"), takes_others=False)}


def test_a_column_of_a_matrix() -> None:
    nodes = [helper.make_node("Gather", ["x", "third"], ["one"], axis=1), encoder("one", zeros=1)]

    assert list(graph_categories(model(nodes, {"x": [None, 4]}, {"third": [2]}))) == [("x", 2)]


def test_the_stricter_of_two_encoders_counts() -> None:
    nodes = [encoder("x", zeros=1, categories=("a", "b", "c"), name="z"), encoder("x", zeros=0)]

    found = graph_categories(model(nodes, {"x": [None, 1]}))

    assert found == {("x", 0): GraphCategories(("a", "b"), takes_others=False)}


def test_what_was_computed_has_no_categories_of_a_column() -> None:
    nodes = [helper.make_node("StringConcat", ["x", "x"], ["twice"]), encoder("twice", zeros=0)]

    assert graph_categories(model(nodes, {"x": [None, 1]})) == {}
