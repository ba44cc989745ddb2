"""The ONNX engine obeys the stored meaning: labels by label, clipped probabilities, rows alone, answers ruled out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contract.meaning import ClassLabel, Meaning, Output
from contract.model_spec import ModelSpec
from inference.engines import ModelFailed, ModelLoadError
from inference.formats import table_from_rows
from inference.predictor import Predictor
from inference.table import Classification, Prediction, Regression
from tests.conftest import Load
from tests.inference.client import answer
from tests.meant_models import case, choosing, classes_of, passing, spec_meaning, zipmap
from tests.model_files import Made, graph, node


def predicted(predictor: Predictor, *rows: list[float]) -> Prediction:
    names = [column.name for column in predictor.spec.columns]
    return predictor.predict(table_from_rows(predictor, [dict(zip(names, row, strict=True)) for row in rows]))


def classified(predictor: Predictor, *rows: list[float]) -> Classification:
    prediction = predicted(predictor, *rows)
    assert isinstance(prediction, Classification)
    return prediction


def labels(predictor: Predictor, *rows: list[float]) -> list[str]:
    """Computed together; each row alone is the same."""
    together = classified(predictor, *rows).labels(predictor.spec)
    assert [classified(predictor, row).labels(predictor.spec)[0] for row in rows] == together
    return together


def with_meaning(made: Made, **changes: Any) -> Made:
    spec, content = made
    assert spec.meaning is not None
    return msgspec.structs.replace(spec, meaning=msgspec.structs.replace(spec.meaning, **changes)), content


def ruled_out(predictor: Predictor, *rows: list[float]) -> str | None:
    """How the answer to each row is one that the description rules out."""
    found = set()
    for several in (rows, rows * 80):
        with pytest.raises(ModelFailed) as caught:
            predicted(predictor, *several)
        found.add(caught.value.ruled_out)
    [reason] = found
    return reason


# --- labels -----------------------------------------------------------------------------------------------------------


def test_whole_number_labels_are_not_found_by_the_text_of_a_name(load: Load) -> None:
    """Labels 0, 1, 2 that are called "1", "2", "0"."""
    predictor = load(choosing([0, 1, 2], names=["1", "2", "0"], width=3))

    assert labels(predictor, [0, 0.2, 0.2, 0.6], [2, 0.2, 0.6, 0.2], [1, 1, 0, 0]) == ["1", "0", "2"]


def test_the_models_own_label_wins_over_the_highest_probability(load: Load) -> None:
    predictor = load(choosing([0, 1], names=["no", "yes"], width=2))

    assert labels(predictor, [1, 0.627, 0.373], [0, 0.1, 0.9]) == ["yes", "no"]


def test_numbers_may_stand_in_another_order_than_the_labels(load: Load) -> None:
    """The classes are in the order of the probabilities, whatever order the labels have."""
    predictor = load(choosing([3, 5, 7], order=[7, 3, 5], width=3))

    answered = classified(predictor, [0, 0.1, 0.7, 0.2])

    assert answered.labels(predictor.spec) == ["3"]
    assert answered.class_indexes == [1]


def test_keys_of_maps_are_read_by_label_whatever_their_order(load: Load) -> None:
    """The runtime gives the keys sorted, 3 5 7; the graph lists 7, 3, 5."""
    predictor = load(zipmap([7, 3, 5], names=["seven", "three", "five"]))

    answered = classified(predictor, [0, 0.7, 0.1, 0.2], [1, 0.1, 0.7, 0.2])

    assert answered.labels(predictor.spec) == ["seven", "three"]
    assert answered.probabilities is not None
    assert answered.probabilities.tolist() == np.array([[0.7, 0.1, 0.2], [0.1, 0.7, 0.2]], np.float32).tolist()


def test_without_a_label_the_class_has_the_highest_number(load: Load) -> None:
    predictor = load(choosing([0, 1, 2], width=3, with_label=False))

    assert labels(predictor, [0, 0.2, 0.2, 0.6], [0, 0.6, 0.2, 0.2], [1, 0.4, 0.4, 0.2]) == ["2", "0", "0"]


@pytest.mark.parametrize(
    "made",
    [
        with_meaning(choosing([0, 1, 2], width=2), classes=classes_of([0, 1])),
        with_meaning(choosing([0, 1, 2]), classes=classes_of([0, 1])),
        with_meaning(choosing(["a", "b", "c"]), classes=classes_of(["a", "b"])),
        with_meaning(choosing([False, True, True]), classes=classes_of([0, 1])),  # true is not 1
        with_meaning(choosing([0, 1, 1]), classes=classes_of([False, True])),
        with_meaning(choosing([0, 1, 1]), classes=classes_of(["0", "1"])),
    ],
)
def test_a_label_that_is_not_in_the_list_fails_that_request(load: Load, made: Made) -> None:
    predictor = load(made)

    assert ruled_out(predictor, [2, *[0.5] * (len(made[0].columns) - 1)]) == "unknown_class"


def test_maps_with_other_keys_fail_the_request(load: Load) -> None:
    assert ruled_out(load(with_meaning(zipmap([0, 1]), classes=classes_of([0, 2]))), [0, 0.5, 0.5]) == "unknown_class"
    text = with_meaning(zipmap([0, 1]), classes=classes_of(["0", "1"]))
    assert ruled_out(load(text), [0, 0.5, 0.5]) == "unknown_class"
    fewer = with_meaning(zipmap([0, 1, 2]), classes=classes_of([0, 1]))
    assert ruled_out(load(fewer), [0, 0.5, 0.5, 0]) == "unknown_class"


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("element", ["float", "double", "float16"])
@pytest.mark.parametrize("n_rows", [1, 2, 100])
def test_probabilities_a_little_outside_are_clipped(load: Load, element: str, n_rows: int) -> None:
    predictor = load(choosing([0, 1], width=2, element=element))

    found = classified(predictor, *[[0, 1.00002, -0.00002]] * n_rows).probabilities

    assert found is not None
    assert found.tolist() == [[1, 0]] * n_rows
    assert not np.signbit(found).any()
    assert found.dtype == np.dtype({"float": "f4", "double": "f8", "float16": "f2"}[element])


@pytest.mark.parametrize("bad", [1.001, -0.001, 3e38])
def test_probabilities_further_outside_fail_the_request(load: Load, bad: float) -> None:
    assert ruled_out(load(choosing([0, 1], width=2)), [0, bad, 0.5]) == "not_probabilities"


@pytest.mark.parametrize("made", [choosing([0, 1], width=2), choosing([0, 1], width=2, role="scores")])
@pytest.mark.parametrize("n_rows", [1, 100])
def test_minus_zero_is_zero(load: Load, made: Made, n_rows: int) -> None:
    numbers = classified(load(made), *[[0, 1, -0.0]] * n_rows).numbers

    assert numbers is not None
    assert not np.signbit(numbers).any()


def test_minus_zero_is_zero_in_a_regression(load: Load) -> None:
    predictor = load(passing(("y", "float", ["a"])))

    assert answer(predictor, "predict", {"rows": [{"x0": -0.0}]})["predictions"] == [{"value": 0.0}]
    assert "-" not in json.dumps(answer(predictor, "predict", {"rows": [{"x0": -0.0}, {"x0": 1.0}]}))


@pytest.mark.parametrize("element", ["float", "double", "float16"])
def test_outputs_of_every_float_type_are_answered(load: Load, element: str) -> None:
    predictor = load(choosing(["a", "b"], width=2, element=element))

    assert labels(predictor, [1, 0.25, 0.75], [0, 0.5, 0.5]) == ["b", "a"]


@pytest.mark.parametrize("element", ["int64", "int32", "uint8"])
def test_whole_numbers_are_answered_as_they_are(load: Load, element: str) -> None:
    prediction = predicted(load(passing(("y", element, ["rings"]))), [7], [200])

    assert isinstance(prediction, Regression)
    assert prediction.values.tolist() == [7, 200]
    assert prediction.values.dtype == np.dtype(element)


def test_each_target_keeps_its_own_type(load: Load) -> None:
    prediction = predicted(load(passing(("a", "float", ["one"]), ("b", "int64", ["two", "three"]))), [0.1, 2, 3])

    assert isinstance(prediction, Regression)
    assert [(column.dtype.name, column.tolist()) for column in prediction.columns] == [
        ("float32", [float(np.float32(0.1))]),
        ("int64", [2]),
        ("int64", [3]),
    ]


@pytest.mark.parametrize("n_rows", [1, 100])
def test_numbers_that_are_not_finite_are_failures_but_no_incidents(load: Load, n_rows: int) -> None:
    log = graph([("X", "float", [None, 1])], [("y", "float", [None, 1])], [node("Log", ["X"], ["y"])])
    spec = spec_meaning(Meaning(outputs=(Output("y", "value", ("t",)),)), ["a"])

    with pytest.raises(ModelFailed, match="not a finite number") as caught:
        predicted(load((spec, log)), *[[1.0]] * (n_rows - 1), [-1.0])

    assert caught.value.ruled_out is None


def test_another_number_of_answers_than_rows_or_targets_fails_the_request(load: Load) -> None:
    two = with_meaning(passing(("y", "float", ["a", "b"])), outputs=(Output("y", "value", ("a", "b", "c")),))
    assert ruled_out(load(two), [1, 2]) == "wrong_shape"
    narrow = with_meaning(choosing([0, 1, 2], width=2), classes=classes_of([0, 1, 2]))
    assert ruled_out(load(narrow), [0, 0.5, 0.5]) == "wrong_shape"


# --- rows alone -------------------------------------------------------------------------------------------------------


def batch_dependent() -> Made:
    """Each number minus the batch's mean: 0 where a row is alone."""
    content = graph(
        [("X", "float", [None, 1])],
        [("y", "float", [None, 1])],
        [node("ReduceMean", ["X"], ["mean"], axes=[0], keepdims=1), node("Sub", ["X", "mean"], ["y"])],
    )
    return spec_meaning(Meaning(outputs=(Output("y", "value", ("t",)),)), ["a"]), content


def test_rows_are_computed_one_by_one_where_the_meaning_says_so(load: Load) -> None:
    together = predicted(load(batch_dependent()), [1], [3])
    alone = predicted(load(with_meaning(batch_dependent(), is_row_wise=True)), [1], [3])

    assert isinstance(together, Regression)
    assert isinstance(alone, Regression)
    assert together.values.tolist() == [-1, 1]
    assert alone.values.tolist() == [0, 0]


@pytest.mark.parametrize(
    "made",
    [
        choosing(["a", "b"], width=2),
        choosing(["a", "b"], width=1, role="scores"),
        choosing(["a", "b"]),
        zipmap([4, 2]),
        passing(("y", "float", ["a", "b"])),
    ],
)
def test_every_shape_can_be_computed_row_by_row(load: Load, made: Made) -> None:
    rows = [[value, *[0.5] * (len(made[0].columns) - 1)] for value in (0.0, 1.0, 0.0)]
    whole, alone = predicted(load(made), *rows), predicted(load(with_meaning(made, is_row_wise=True)), *rows)

    if isinstance(whole, Regression):
        assert isinstance(alone, Regression)
        assert [column.tolist() for column in alone.columns] == [column.tolist() for column in whole.columns]
        return
    assert isinstance(alone, Classification)
    assert alone.class_indexes == whole.class_indexes == [0, 1, 0]
    assert (alone.numbers is None) == (whole.numbers is None)
    if whole.numbers is not None:
        assert np.array_equal(whole.numbers, alone.numbers)


# --- refused at loading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            with_meaning(passing(("y", "float", ["a"])), outputs=(Output("z", "value", ("a",)),)),
            "no output called z",
        ),
        (with_meaning(passing(("y", "float", ["a"])), outputs=(Output("y", "value"),)), "does not name what"),
        (with_meaning(passing(("y", "float", ["a"])), outputs=(Output("y", "ignored"),)), "at least two classes"),
        (with_meaning(choosing([0, 1]), outputs=(Output("out_a", "ignored"),)), "nothing to answer"),
        (choosing([0, 1], width=1, role="scores", with_label=False), "tells no class without a label"),
        (
            with_meaning(
                choosing([0, 1], width=2), outputs=(Output("out_a", "scores"), Output("out_b", "probabilities"))
            ),
            "one of them can be served",
        ),
    ],
)
def test_a_meaning_that_can_not_be_served_is_refused(tmp_path: Path, made: Made, words: str) -> None:
    spec, content = made
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelLoadError, match=words):
        Predictor(path, spec)


# --- files that others failed on --------------------------------------------------------------------------------------


def classifier(columns: list[str], classes: tuple[ClassLabel, ...], *, role: str, is_single: bool = False) -> ModelSpec:
    numbers = Output("probabilities", role, is_single=is_single)  # type: ignore[arg-type]
    return spec_meaning(Meaning(outputs=(Output("label", "label"), numbers), classes=classes), columns)


def test_stars_whose_names_are_numbers_of_their_own(load: Load) -> None:
    spec = classifier(["a", "b"], classes_of(range(5), ["1", "2", "3", "4", "5"]), role="probabilities")

    assert labels(load((spec, case("stars"))), [1, 5], [3, 5], [9, 5]) == ["1", "2", "5"]


def test_a_threshold_inside_the_graph(load: Load) -> None:
    spec = classifier(["a", "b", "c", "d"], classes_of([0, 1], ["no", "yes"]), role="probabilities")
    row = [0.9034701585769653, 0.0940122976899147, -0.7434992790222168, -0.9217253923416138]

    predictor = load((spec, case("thr")))

    assert labels(predictor, row) == ["yes"]
    found = classified(predictor, row).probabilities
    assert found is not None
    assert found[0, 1] == pytest.approx(0.373, abs=1e-3)


def test_margins_are_scores(load: Load) -> None:
    columns = [f"f{index}" for index in range(30)]
    spec = classifier(columns, classes_of([0, 1], ["malignant", "benign"]), role="scores", is_single=True)
    predictor = load((spec, case("linear_svc_binary")))

    low, high = classified(predictor, [3.0] * 30), classified(predictor, [-3.0] * 30)

    assert (low.labels(spec), high.labels(spec)) == (["malignant"], ["benign"])
    assert low.probabilities is None
    assert low.scores is not None
    assert high.scores is not None
    assert low.scores[0, 0] < 0 < high.scores[0, 0]


def test_echoes_are_not_the_prediction(load: Load) -> None:
    outputs = (
        Output("Size.output", "ignored"),
        Output("Label.output", "ignored"),
        Output("Score.output", "value", ("price",)),
    )
    spec = spec_meaning(Meaning(outputs=outputs), ["Size", "Label"], input="columns")

    predictor = load((spec, case("passthrough_reg")))

    assert answer(predictor, "predict", {"rows": [{"Size": 2, "Label": 0}]})["predictions"] == [{"value": 600.0}]
