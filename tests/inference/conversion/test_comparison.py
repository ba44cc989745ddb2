"""A converted model beside its own library: what is the same model, and what is refused with the row that differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from inference.conversion.comparison import Compared, compared
from inference.conversion.original import Answers, Column, Original, Rows
from inference.conversion.trees import refusing_missing, splits, tidied
from inference.signature import NotServable

TWICE = "y = Mul(columns, two)"


def model(body: str = TWICE) -> onnx.ModelProto:
    graph = parser.parse_graph(
        f"g (float[N, 1] columns) => (float[N, 1] y) <float two = {{2.0}}, float zero = {{0.0}}> {{ {body} }}"
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def original(answer: Any, **rest: Any) -> Original:
    return Original(
        library="Library 1.0",
        columns=(Column("size"),),
        task="regression",
        answer=lambda rows: Answers(answer(rows[0].astype(np.float64)).reshape(-1, 1)),
        to_onnx=model,
        **rest,
    )


def held(one: Original, graph: onnx.ModelProto, owned: Rows = (), *, with_missing: bool = False) -> Compared:
    content = tidied(graph, one.columns).SerializeToString()
    return compared(one, content, splits(graph, 1), owned or [np.empty(0, np.float32)], with_missing=with_missing)


def test_the_same_answers_are_counted_with_their_largest_difference() -> None:
    found = held(original(lambda size: 2 * size + 1e-5), model())

    assert found.n_rows >= 300
    assert 5e-6 < found.largest < 2e-5


def test_another_answer_is_refused_with_its_row() -> None:
    with pytest.raises(NotServable, match=r"For the row size = .*, Library 1\.0 says .*, and the converted model"):
        held(original(lambda size: 2 * size + 1e-3), model())


def test_a_row_of_the_owners_is_compared_too() -> None:
    odd = np.float32(1234.5)

    def answer(size: Any) -> Any:
        return np.where(size == odd, 0, 2 * size)

    with pytest.raises(NotServable, match=r"size = 1234\.5, Library 1\.0 says 0, and the converted model 2469"):
        held(original(answer), model(), [np.array([odd])])


def test_other_answers_to_missing_values_are_no_answers_in_a_model_that_refuses_them() -> None:
    one = original(lambda size: np.where(np.isnan(size), 7, 2 * size))
    with pytest.raises(NotServable, match="size = missing"):
        held(one, model(), with_missing=True)

    whole = refusing_missing(model("m = IsNaN(columns) t = Mul(columns, two) y = Where(m, zero, t)"))
    assert held(one, whole).n_rows >= 300
    (answer,) = ReferenceEvaluator(whole).run(None, {"columns": np.array([[1], [np.nan]], np.float32)})
    assert answer[0, 0] == 2
    assert np.isnan(answer[1, 0])


def test_another_number_of_numbers_is_refused() -> None:
    one = original(lambda size: size)
    wider = Original(one.library, one.columns, "regression", lambda rows: Answers(np.zeros((len(rows[0]), 3))), model)

    with pytest.raises(NotServable, match="gives 3 numbers a row, and the model converted to ONNX 1"):
        held(wider, model())


@pytest.mark.parametrize(("lead", "is_told"), [(0.5e-4, False), (1e-3, True)])
def test_a_class_may_differ_at_ties_only(lead: float, is_told: bool) -> None:
    graph = parser.parse_graph(
        "g (float[N, 1] columns) => (int64[N] label, float[N, 2] p) "
        f"<float[1, 2] both = {{{0.5 - lead / 2}, {0.5 + lead / 2}}}, float nothing = {{0.0}}, int64 zero = {{0}}> "
        "{ z = Mul(columns, nothing) p = Add(z, both) f = Cast<to = 7>(z) s = Squeeze(f) label = Mul(s, zero) }"
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    numbers = np.array([0.5 - lead / 2, 0.5 + lead / 2])
    one = Original(
        library="Library 1.0",
        columns=(Column("size"),),
        task="binary",
        answer=lambda rows: Answers(np.tile(numbers, (len(rows[0]), 1)), np.ones(len(rows[0]), np.int64)),
        to_onnx=lambda: made,
    )

    if is_told:
        with pytest.raises(NotServable, match=r"Library 1\.0 says 1, and the converted model 0"):
            held(one, made)
    else:
        assert held(one, made).n_rows >= 300
