"""What a contribution is: the prediction minus the prediction with that variable at its baseline."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from contract.model_spec import Column, ModelSpec
from inference import reasons
from inference.formats import table_from_rows
from inference.predictor import Predictor
from inference.reasons import Explainer, number_text, shown
from tests import model_files as made
from tests.conftest import Load


def explained(predictor: Predictor, rows: list[dict[str, Any]]) -> reasons.Reasons:
    table = table_from_rows(predictor, rows)
    [found] = predictor.prepared(Explainer).explain(table, predictor.predict(table), predictor.predict)
    return found


def weighing(load: Load, weights: dict[str, float], baselines: dict[str, float]) -> Predictor:
    """A matrix model: the sum of its weighted columns."""
    columns = tuple(Column(name=name, type="float", baseline=baselines.get(name)) for name in weights)
    spec = ModelSpec(task="regression", columns=columns, input="matrix", sample=dict.fromkeys(weights, 1.0))
    content = made.graph(
        [("X", "float", [None, len(weights)])],
        [("y", "float", [None, 1])],
        [made.node("MatMul", ["X", "w"], ["y"])],
        {"w": np.array(list(weights.values()), "float32").reshape(-1, 1)},
    )
    return load((spec, content))


def test_a_linear_model_gives_weight_times_distance_from_the_baseline(load: Load) -> None:
    predictor = weighing(load, {"a": 2, "b": -1, "c": 5}, {"a": 1, "b": 4})

    found = explained(predictor, [{"a": 3, "b": 4, "c": 0.5}, {"a": 1, "b": 5, "c": -1}])

    assert found.contributions == pytest.approx(np.array([[4, 0, 2.5], [0, -1, -5]]), abs=1e-5)
    assert found.raising()[0].tolist() == [0, 2, 1]
    assert found.class_indexes is None


def test_equal_contributions_stand_in_the_order_of_the_columns(load: Load) -> None:
    predictor = weighing(load, {"a": 1, "b": 2, "c": 2, "d": -2, "e": -2}, {})

    found = explained(predictor, [dict.fromkeys("abcde", 1.0)])

    assert found.raising()[0].tolist() == [1, 2, 0]
    assert found.lowering()[0].tolist() == [3, 4, 0]


def test_two_classes_are_about_the_second_whatever_is_predicted(load: Load) -> None:
    predictor = load(made.cancer())
    sample = predictor.spec.sample

    found = explained(predictor, [sample])
    moved = predictor.predict(table_from_rows(predictor, [sample | {predictor.spec.columns[0].name: 0.0}]))

    plain = predictor.predict(table_from_rows(predictor, [sample])).probabilities[0, 1]
    assert found.class_indexes == [1]
    assert found.contributions[0, 0] == pytest.approx(plain - moved.probabilities[0, 1], abs=1e-6)


def test_several_classes_are_about_the_predicted_one(load: Load) -> None:
    predictor = load(made.penguins())
    rows = [{"island": "Dream", "bill_length_mm": 50.0}, {"island": "Torgersen", "bill_length_mm": 36.0}]

    found = explained(predictor, rows)

    table = table_from_rows(predictor, rows)
    assert found.class_indexes == predictor.predict(table).class_indexes
    assert found.contributions.shape == (2, 6)


@pytest.mark.parametrize("layout", ["matrix", "columns"])
@pytest.mark.parametrize("cells", [10, 100, 5_000])
def test_pieces_change_nothing(load: Load, monkeypatch: pytest.MonkeyPatch, layout: str, cells: int) -> None:
    predictor = load(made.cancer(layout))
    rows = [
        {name: value * factor for name, value in predictor.spec.sample.items()} for factor in (1.0, 0.8, 1.2, 0.5, 1.1)
    ]
    whole = explained(predictor, rows)

    monkeypatch.setattr("inference.reasons._BATCH_CELLS", cells)
    pieces = explained(predictor, rows)

    assert pieces.contributions == pytest.approx(whole.contributions, abs=1e-6)


def test_one_row_is_one_batch_of_a_prediction_per_column_and_one(load: Load) -> None:
    predictor = load(made.penguins())
    table = table_from_rows(predictor, [predictor.spec.sample])
    prediction = predictor.predict(table)
    batches: list[int] = []

    def predict(batch: Any) -> Any:
        batches.append(batch.n_rows)
        return predictor.predict(batch)

    predictor.prepared(Explainer).explain(table, prediction, predict)

    assert batches == [7]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(768.056), "768.056"),
        (np.float32(-12345678), "-12345680"),
        (np.float64(768.0560001), "768.056"),
        (np.float64(123456.654321), "123456.654321"),
        (np.float16(30.61), "30.61"),
        (np.float64(0.046245), "0.046245"),
        (np.float32(0.046245), "0.046245"),
        (np.float64(-0.5), "-0.5"),
        (np.float64(1e-6), "0.000001"),
        (np.float64(-1e-9), "0"),
        (np.float64(0), "0"),
        (np.float64(100), "100"),
    ],
)
def test_numbers_have_no_decimals_that_mean_nothing(value: Any, text: str) -> None:
    (contribution,) = shown(np.array([[value]]))[0].tolist()

    assert number_text(contribution) == text
    assert float(text) == contribution


def test_reasons_of_a_model_that_answers_whole_numbers_without_a_sign(load: Load) -> None:
    """200 and 195 as bytes: their difference is not 251."""
    counting = made.graph(
        [("a", "float", [None, 1])], [("y", "uint8", [None, 1])], [made.node("Cast", ["a"], ["y"], to=2)]
    )
    spec = made.spec_of({"a": "float"}, {"a": 195.0})
    baseline = msgspec.structs.replace(spec.columns[0], baseline=200.0)
    predictor = load((msgspec.structs.replace(spec, columns=(baseline,)), counting))

    assert explained(predictor, [{"a": 195.0}]).contributions.tolist() == [[-5.0]]
