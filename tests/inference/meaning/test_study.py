"""A model is tried before anybody says what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from contract.model_spec import Column, ModelSpec
from inference.engines import ModelFailed
from inference.meaning.probes import LEAST_ROWS, Row, make_probes
from inference.meaning.study import StatedMeaning, Studied, study

COLUMNS = (
    Column(name="a", type="float", min=-2, max=2, baseline=0.0),
    Column(name="b", type="string", categories=("x", "y"), baseline="x", nullable=True),
)
SPEC = ModelSpec(task="regression", columns=COLUMNS, input="columns", sample={"a": 1.0, "b": "y"})


def numbers(rows: Sequence[Row]) -> Any:
    return np.array([row["a"] for row in rows], np.float32)


def classifier(rows: Sequence[Row]) -> dict[str, Any]:
    p = 1 / (1 + np.exp(-3 * numbers(rows)))
    return {"one": (p > 0.5).astype(np.int64), "two": np.column_stack([1 - p, p])}


def studied(run: Any, **stated: Any) -> Studied:
    return study(run, SPEC, StatedMeaning(**stated))


def outcomes(found: Studied) -> dict[str, str]:
    return {check.code: check.outcome for check in found.checks}


def test_a_classifier() -> None:
    found = studied(classifier, classes={"1": "yes", "0": "no"})

    assert found.task == "binary"
    assert [(one.name, one.role) for one in found.meaning.outputs] == [("one", "label"), ("two", "probabilities")]
    assert [(one.label, one.name) for one in found.meaning.classes] == [(0, "no"), (1, "yes")]
    assert set(outcomes(found).values()) == {"passed"}
    assert len(found.tried.rows) >= LEAST_ROWS


def test_a_regression_with_several_targets_names_them() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        return {"y": np.column_stack([numbers(rows) * 3, numbers(rows) + 9])}

    found = studied(run, task="regression", targets=("height", "weight"))

    assert found.meaning.targets == ("height", "weight")
    assert found.meaning.outputs[0].dtype == "float32"
    assert studied(run, task="regression").meaning.targets == ("y_0", "y_1")


def test_one_score_a_row_is_told_from_one_a_class() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        return {"one": (numbers(rows) > 0).astype(np.int64), "two": numbers(rows).astype(np.float64).reshape(-1, 1) * 3}

    def run_wide(rows: Sequence[Row]) -> dict[str, Any]:
        margins = run(rows)["two"]
        return run(rows) | {"two": np.column_stack([-margins, margins])}

    single, wide = studied(run).meaning.outputs[1], studied(run_wide).meaning.outputs[1]

    assert (single.role, single.is_single, single.dtype) == ("scores", True, "float64")
    assert (wide.role, wide.is_single) == ("scores", False)


def test_answers_that_depend_on_the_batch_are_computed_row_by_row() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        return {"y": numbers(rows) * 3 + len(rows)}

    found = studied(run)

    assert found.meaning.is_row_wise
    assert outcomes(found)["batches"] == "told"
    assert not studied(lambda rows: {"y": numbers(rows) * 3}).meaning.is_row_wise


def test_labels_that_depend_on_the_batch_are_told() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        answer = classifier(rows)
        return {**answer, "one": answer["one"] if len(rows) == 1 else 1 - answer["one"]}

    found = studied(run)

    assert found.meaning.is_row_wise
    assert outcomes(found)["batch_labels"] == "told"


def test_a_graph_that_takes_no_batch_is_row_wise() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        if len(rows) > 1:
            raise ModelFailed("one row at a time")
        return {"y": numbers(rows) * 3}

    assert studied(run).meaning.is_row_wise


def test_a_row_of_the_owners_that_fails_is_his_to_know() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        if any(row["b"] == "y" for row in rows):
            raise ModelFailed("unknown category y")
        return {"y": numbers(rows) * 3}

    with pytest.raises(ModelFailed, match="unknown category"):
        studied(run)


def test_a_made_up_row_that_fails_is_noted() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        if any(row["b"] is None for row in rows):
            raise ModelFailed("nothing there")
        return {"y": numbers(rows) * 3}

    found = studied(run)

    assert {words for _, words in found.tried.failures} == {"nothing there"}


def test_not_finite_on_made_up_rows_is_told() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        return {"y": np.where(numbers(rows) < -1.5, np.inf, numbers(rows) * 3)}

    assert outcomes(studied(run))["finite"] == "told"


def test_zipmap_keys_may_come_in_any_order() -> None:
    def run(rows: Sequence[Row]) -> dict[str, Any]:
        p = 1 / (1 + np.exp(-3 * numbers(rows)))
        return {
            "label": np.where(p > 0.5, 3, 7),
            "maps": [{3: float(one), 7: float(1 - one)} for one in p],
        }

    found = study(run, SPEC, StatedMeaning(classes={"7": "no", "3": "yes"}), graph_labels={"label": (7, 3)})

    assert [(one.label, one.name) for one in found.meaning.classes] == [(7, "no"), (3, "yes")]
    assert set(outcomes(found).values()) == {"passed"}


def test_labels_unknown_to_the_graphs_list_are_refused_with_the_row() -> None:
    found = study(classifier, SPEC, StatedMeaning(), graph_labels={"one": (5, 6)})

    assert outcomes(found)["unknown_label"] == "refused"


def test_probes_hold_every_category_limit_and_gap_and_come_again() -> None:
    probes = make_probes(SPEC)

    assert probes == make_probes(SPEC)
    assert {row["b"] for row in probes.rows} == {"x", "y", None}
    assert {-2.0, 2.0} <= {row["a"] for row in probes.rows}
    assert all(-2 <= float(row["a"] or 0) <= 2 for row in probes.rows)
    assert len(probes.rows) >= LEAST_ROWS


def test_the_owners_rows_come_first() -> None:
    rows: list[Row] = [{"a": float(i), "b": "x"} for i in range(1000)]

    probes = make_probes(SPEC, rows)

    assert probes.rows[0] == SPEC.sample
    assert probes.n_owned == 201
    assert probes.rows[1:201] == tuple(rows[::5])
