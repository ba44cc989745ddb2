"""What the ONNX engine copes with, and what it says when it can't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from contract.model_spec import Column, ModelSpec, is_plain_integer
from inference.engines.onnx.row_buffers import RowRuns
from inference.formats import table_from_rows, warm_up
from inference.predictor import ModelFailed, ModelLoadError, Predictor
from inference.table import Classification, Regression
from tests import model_files as made
from tests.conftest import Load
from tests.model_files import graph, node, spec_of

YES_NO: dict[str, Any] = {"task": "binary", "classes": ("no", "yes")}


def classified(predictor: Predictor, *rows: dict[str, Any]) -> tuple[list[str], list[list[float]]]:
    prediction = predictor.predict(table_from_rows(predictor, rows or [predictor.spec.sample]))
    assert isinstance(prediction, Classification)
    return prediction.labels(predictor.spec), prediction.probabilities.tolist()


def values(predictor: Predictor, *rows: dict[str, Any]) -> list[float]:
    prediction = predictor.predict(table_from_rows(predictor, rows or [predictor.spec.sample]))
    assert isinstance(prediction, Regression)
    result: list[float] = prediction.values.tolist()
    return result


@pytest.mark.parametrize("layout", ["matrix", "columns"])
@pytest.mark.parametrize("zipmap", [False, True])
def test_a_classifier_answers_the_same_in_every_layout_and_with_zipmap(load: Load, layout: str, zipmap: bool) -> None:
    labels, probabilities = classified(load(made.cancer(layout, zipmap=zipmap)))

    assert labels == ["malignant"]
    assert probabilities == classified(load(made.cancer()))[1]
    assert sum(probabilities[0]) == pytest.approx(1)


@pytest.mark.parametrize("zipmap", [False, True])
def test_text_and_number_columns_with_missing_values_are_predicted(load: Load, zipmap: bool) -> None:
    predictor = load(made.penguins(zipmap=zipmap))
    whole = predictor.spec.sample

    labels, probabilities = classified(predictor, whole, {}, {**whole, "sex": None, "island": "nowhere"})

    assert labels[0] == "Chinstrap"
    assert len({tuple(row) for row in probabilities}) == 3
    assert all(sum(row) == pytest.approx(1) for row in probabilities)


def test_columns_reach_the_input_of_their_name_whatever_their_order(load: Load) -> None:
    spec, content = made.penguins()
    turned = ModelSpec(
        task=spec.task, classes=spec.classes, columns=spec.columns[::-1], input=spec.input, sample=spec.sample
    )

    assert classified(load((turned, content))) == classified(load((spec, content)))


def test_a_regression_gives_one_value_a_row(load: Load) -> None:
    predictor = load(made.diabetes())

    first, second = values(predictor, predictor.spec.sample, predictor.spec.sample)

    assert first == second
    assert 100 < first < 300


@pytest.mark.parametrize("zipmap", [False, True])
@pytest.mark.parametrize("first_label", [0, 1, 7])
def test_integer_labels_get_the_classes_names_by_position(load: Load, zipmap: bool, first_label: int) -> None:
    predictor = load(made.wine(zipmap=zipmap, first_label=first_label, names=("barolo", "grignolino", "barbera")))

    labels, probabilities = classified(predictor)

    assert labels == ["grignolino"]
    assert int(np.argmax(probabilities[0])) == 1


@pytest.mark.parametrize("zipmap", [False, True])
def test_integer_labels_that_are_the_classes_text_are_matched_by_it(load: Load, zipmap: bool) -> None:
    assert classified(load(made.wine(zipmap=zipmap)))[0] == ["2"]


def test_xgboost_converted_by_onnxmltools_is_served(load: Load) -> None:
    labels, probabilities = classified(load(made.xgboost_cancer()))

    assert labels == ["malignant"]
    assert sum(probabilities[0]) == pytest.approx(1)


@pytest.mark.parametrize("shape", [[None], [None, 1]])
def test_one_probability_a_row_is_that_of_the_second_class(load: Load, shape: list[int | None]) -> None:
    content = graph(
        [("X", "float", [None, 1])],
        [("prob", "float", shape)],
        [node("Reshape", ["X", "to"], ["prob"])],
        {"to": np.array([-1, *shape[1:]], np.int64)},
    )

    labels, probabilities = classified(load((made.matrix_spec(1, **YES_NO), content)), {"a": 0.25}, {"a": 0.75})

    assert labels == ["no", "yes"]
    assert probabilities == [[0.75, 0.25], [0.25, 0.75]]


def test_probabilities_without_labels_give_the_most_likely_class(load: Load) -> None:
    spec = made.matrix_spec(3, task="multiclass", classes=("low", "middle", "high"))

    labels, _ = classified(load((spec, made.probabilities_only(3))), {"a": 0.1, "b": 0.2, "c": 0.7})

    assert labels == ["high"]


@pytest.mark.parametrize("element", ["float", "double", "float16"])
def test_matrices_of_every_float_type_are_fed(load: Load, element: str) -> None:
    assert values(load((made.matrix_spec(1), made.passing_on(element))), {"a": 0.5}, {"a": 3}) == [0.5, 3.0]


@pytest.mark.parametrize("rank", [1, 2])
def test_columns_of_mixed_types_and_either_rank_are_fed(load: Load, rank: int) -> None:
    kinds = {"a": "int64", "b": "float", "c": "bool", "d": "int32", "e": "double", "f": "uint8"}
    spec = spec_of({"a": "int", "b": "float", "c": "bool", "d": "int", "e": "float", "f": "bool"}, {})
    rows = [
        {"a": 2**53, "b": 0.5, "c": True, "d": -7, "e": 0.1, "f": False},
        {"a": 1, "b": 2, "c": False, "d": 3, "e": 4, "f": True},
    ]

    predictor = load((spec, made.summing(kinds, rank=rank)))

    assert values(predictor, *rows) == [2**53 + 0.5 + 1 - 7 + 0.1, 11]


def test_whole_numbers_and_truths_travel_in_a_matrix_of_floats(load: Load) -> None:
    spec = spec_of(
        {"a": "int", "b": "bool?", "c": "float"}, {}, input="matrix", task="multiclass", classes=("x", "y", "z")
    )

    _, probabilities = classified(load((spec, made.probabilities_only(3))), {"a": 1, "b": False, "c": 0})

    assert probabilities == [[1, 0, 0]]


def test_a_matrix_of_texts_is_fed(load: Load) -> None:
    content = graph(
        [("X", "string", [None, 2])],
        [("y", "float", [None, 1])],
        [
            node("Equal", ["X", "wanted"], ["is_equal"]),
            node("Cast", ["is_equal"], ["number"], to=1),
            node("ReduceSum", ["number", "axis"], ["y"]),
        ],
        {"axis": np.array([1], np.int64)},
    )
    content = _with_text_constant(content, "wanted", "blue")
    spec = spec_of({"a": "string", "b": "string?"}, {}, input="matrix")

    assert values(load((spec, content)), {"a": "blue", "b": "blue"}, {"a": "blue"}) == [2, 1]


def _with_text_constant(content: bytes, name: str, text: str) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    model.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.STRING, [1], [text.encode()]))
    model.opset_import[0].version = 19  # from here on Equal compares text
    return bytes(model.SerializeToString())


def test_the_model_prints_nothing(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    predictor = load((made.matrix_spec(2), _failing()))

    with pytest.raises(ModelFailed):
        predictor.predict(table_from_rows(predictor, [{"a": 1, "b": 2}]))

    assert capfd.readouterr() == ("", "")


def _failing() -> bytes:
    """Takes a third column out of two: every run fails inside ONNX Runtime."""
    return graph(
        [("X", "float", [None, 2])],
        [("y", "float", [None, 1])],
        [node("Gather", ["X", "which"], ["y"], axis=1)],
        {"which": np.array([9], np.int64)},
    )


def test_a_run_that_fails_is_told_in_one_line(load: Load) -> None:
    predictor = load((made.matrix_spec(2), _failing()))

    with pytest.raises(ModelFailed) as caught:
        predictor.predict(table_from_rows(predictor, [{"a": 1, "b": 2}]))

    assert str(caught.value).startswith("The model could not compute: ")
    assert "\n" not in str(caught.value)
    assert ".cc:" not in str(caught.value)


def test_a_value_that_is_not_finite_is_a_failure(load: Load) -> None:
    content = graph([("X", "float", [None, 1])], [("y", "float", [None, 1])], [node("Log", ["X"], ["y"])])
    predictor = load((made.matrix_spec(1), content))

    assert values(predictor, {"a": 1}) == [0]
    for row in ({"a": 0}, {"a": -1}):
        for n_rows in (1, 100):
            with pytest.raises(ModelFailed, match="not a finite number"):
                values(predictor, *[{"a": 1}] * (n_rows - 1), row)


def test_scores_that_are_no_probabilities_are_a_failure(load: Load) -> None:
    predictor = load((made.matrix_spec(2, **YES_NO), made.probabilities_only(2)))

    for bad in (-3, 1.5):
        for n_rows in (1, 100):
            with pytest.raises(ModelFailed, match="not between 0 and 1"):
                classified(predictor, *[{"a": 0.5, "b": 0.5}] * (n_rows - 1), {"a": bad, "b": 0.5})


def test_another_number_of_answers_than_rows_is_a_failure(load: Load) -> None:
    content = graph(
        [("X", "float", [None, 1])],
        [("y", "float", [None, 1])],
        [node("Slice", ["X", "start", "end"], ["y"])],
        {"start": np.array([0], np.int64), "end": np.array([1], np.int64)},
    )

    with pytest.raises(ModelFailed, match="1 values for 2 rows"):
        values(load((made.matrix_spec(1), content)), {"a": 1}, {"a": 2})


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95pickle", made.passing_on()[:-20]])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelLoadError) as caught:
        Predictor(path, made.matrix_spec(1))

    assert "\n" not in str(caught.value)
    assert str(path) not in str(caught.value)


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="not in the model store"):
        Predictor(tmp_path / "gone", made.matrix_spec(1))


def test_a_format_without_an_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="No engine reads the format pickle"):
        Predictor(tmp_path / "model", made.matrix_spec(1), "pickle")


THREE = {"task": "multiclass", "classes": ("a", "b", "c")}
IMAGE = graph([("X", "float", [None, 3, 8, 8])], [("y", "float", [None, 3, 8, 8])], [node("Identity", ["X"], ["y"])])
TWO_INPUTS = made.summing({"a": "float", "b": "float"})
LABEL_ONLY = graph([("X", "int64", [None, 1])], [("label", "int64", [None, 1])], [node("Identity", ["X"], ["label"])])
FIXED_ROWS = graph([("X", "float", [4, 1])], [("y", "float", [4, 1])], [node("Identity", ["X"], ["y"])])


@pytest.mark.parametrize(
    ("spec", "content", "words"),
    [
        (made.matrix_spec(3), made.passing_on(width=2), "3 columns, the model takes 2"),
        (made.matrix_spec(3), IMAGE, "4 dimensions"),
        (made.matrix_spec(2), TWO_INPUTS, "one matrix, the model takes 2 inputs"),
        (made.matrix_spec(2), made.passing_on(width=2), "gives 2 numbers a row"),
        (made.matrix_spec(2, **THREE), made.probabilities_only(2), "3 classes, the output prob gives 2"),
        (made.matrix_spec(2, task="binary", classes=("a",)), made.probabilities_only(2), "at least two classes"),
        (spec_of({"a": "int"}, {}, input="matrix", **YES_NO), LABEL_ONLY, "no probabilities, only labels"),
        (made.matrix_spec(1), FIXED_ROWS, "exactly 4 rows at a time"),
        (spec_of({"a": "float"}, {}), TWO_INPUTS, "takes b, which is not among its columns"),
        (spec_of({"a": "float", "z": "float"}, {}), TWO_INPUTS, "no input called z"),
        (spec_of({"X": "float"}, {}), made.passing_on(width=2), "not one column; this console serves tables"),
        (
            spec_of({"X": "string"}, {}),
            made.passing_on(),
            "Column X: the description says string, the model takes float",
        ),
        (
            spec_of({"X": "float"}, {}),
            made.passing_on("int64"),
            "Column X: the description says float, the model takes int",
        ),
        (spec_of({"X": "int?"}, {}), made.passing_on("int64"), "Column X: it can't be nullable"),
    ],
)
def test_a_description_that_contradicts_the_graph_is_refused(
    tmp_path: Path, spec: ModelSpec, content: bytes, words: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelLoadError, match=words):
        Predictor(path, spec)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.probabilities_only(2))
    column = Column(name="a", type="float")
    spec = ModelSpec(columns=(column, column), input="matrix", sample={}, **YES_NO)

    with pytest.raises(ModelLoadError, match="same name"):
        Predictor(path, spec)


@pytest.mark.parametrize("maker", [made.cancer, made.penguins, made.diabetes])
def test_warming_up_predicts_the_sample_row(load: Load, maker: Any) -> None:
    predictor = load(maker())

    prediction = warm_up(predictor)

    assert isinstance(prediction, Regression if predictor.spec.task == "regression" else Classification)


def test_a_sample_row_that_does_not_fit_is_told_with_its_column(load: Load) -> None:
    predictor = load((spec_of({"a": "float"}, {"a": "much"}, input="matrix"), made.passing_on()))

    with pytest.raises(ModelLoadError, match='a: expected a number, received text "much"'):
        warm_up(predictor)


def test_rows_whose_answers_differ_in_shape_go_the_usual_way_after_a_few() -> None:
    """A bound run that fails is computed again, and its buffers are lost."""
    model = graph([("X", "float", [None, 3])], [("y", "int64", [None, None])], [node("NonZero", ["X"], ["y"])])
    quiet = ort.SessionOptions()
    quiet.log_severity_level = 4
    session = ort.InferenceSession(model, quiet)
    rows = RowRuns(session, inputs=[("X", 2)], output_names=["y"], width=3, dtype=np.dtype(np.float32))

    def is_bound(row: tuple[float | None, ...]) -> bool:
        if rows.run(row) is not None:
            return True
        rows.learn(session.run(["y"], {"X": np.array([row], np.float32)}))
        return False

    assert [is_bound((1.0, 0.0, 0.0)) for _ in range(2)] == [False, True]
    assert [is_bound((1.0, None, 0.0)) for _ in range(5)] == [False] * 5
    assert is_bound((1.0, 0.0, 0.0))  # that was no failure of the graph's
    for row in ((1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        assert not is_bound(row)

    assert [is_bound((1.0, 0.0, 0.0)) for _ in range(3)] == [False] * 3  # not learnt any more


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("0", True), ("-1", True), ("12", True), ("-0", False), ("01", False), ("", False)],
)
def test_what_class_names_are_whole_numbers_as_json_writes_them(name: str, is_one: bool) -> None:
    assert is_plain_integer(name) is is_one
