"""For which models requests are joined, and that joining and parting tables loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from contract.meaning import Meaning, Note, Output
from inference import row_cost
from inference.formats import sample_table, table_from_rows
from inference.predictor import Predictor
from inference.row_cost import ROWS_TOGETHER, RowCost
from inference.table import Classification, Regression, Table, joined, parted
from testkit.graphs import Made
from tests.meant_models import choosing, passing
from tests.model_files import cancer, penguins


def loaded(folder: Path, made: Made) -> Predictor:
    path = folder / "model.onnx"
    path.write_bytes(made[1])
    return Predictor(path, made[0])


def meant(made: Made, **changes: Any) -> Made:
    spec, content = made
    assert spec.meaning is not None
    return structs.replace(spec, meaning=structs.replace(spec.meaning, **changes)), content


def cost_of(predictor: Predictor, alone_s: float = 0.003) -> RowCost:
    return row_cost.of_joined_rows(predictor, sample_table(predictor), RowCost(alone_s))


# --- for which models ---


def test_a_call_has_as_many_rows_as_pay() -> None:
    assert RowCost(0.003, 0.0004, 32).rows_a_call == ROWS_TOGETHER
    assert RowCost(0.1, 0.02, 32).rows_a_call == 12  # a call of a quarter of a second
    assert RowCost(0.2, 0.1, 8).rows_a_call == 2
    assert RowCost(0.003, 0.0004, 8).rows_a_call == 8  # more were not tried


@pytest.mark.parametrize(
    "cost",
    [
        RowCost(0.003),  # not tried
        RowCost(0.003, 0.0029, 32),  # hardly less beside others
        RowCost(10e-6, 1e-6, 32),  # a row that costs little
        RowCost(0.003, 0.2, 32),
    ],
)
def test_what_does_not_pay_is_computed_alone(cost: RowCost) -> None:
    assert cost.rows_a_call == 1


def test_rows_are_tried_beside_each_other(tmp_path: Path) -> None:
    assert cost_of(loaded(tmp_path, choosing([0, 1], width=2))).joined_rows == ROWS_TOGETHER


@pytest.mark.parametrize(
    "changes",
    [
        {"is_row_wise": True},
        {"notes": (Note("frozen"), Note("check_batches"))},
        {"notes": (Note("frozen"), Note("open_check"))},
        {"notes": (Note("frozen"), Note("open_refusal"))},
    ],
)
def test_rows_whose_answers_may_depend_on_others_are_never_tried(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert cost_of(loaded(tmp_path, meant(choosing([0, 1], width=2), **changes))).rows_a_call == 1


def test_what_an_owner_confirmed_of_outputs_keeps_no_row_alone(tmp_path: Path) -> None:
    noted = meant(choosing([0, 1], width=2), notes=(Note("frozen"), Note("single_column")))

    assert cost_of(loaded(tmp_path, noted)).joined_rows == ROWS_TOGETHER


def test_of_a_version_without_a_meaning_nothing_is_known(tmp_path: Path) -> None:
    assert cancer()[0].meaning is None
    assert cost_of(loaded(tmp_path, cancer())).rows_a_call == 1


def test_more_rows_are_not_tried_where_few_cost_more_than_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose work grows with a power of the rows would hold up whatever tries it."""
    tried: list[int] = []

    def seconds(_: Predictor, table: Table) -> float:
        tried.append(table.n_rows)
        return 0.003 * table.n_rows**2

    monkeypatch.setattr(row_cost, "_seconds", seconds)

    assert cost_of(loaded(tmp_path, choosing([0, 1], width=2))).rows_a_call == 1
    assert tried == [8]


def test_a_model_that_fails_for_several_rows_is_asked_for_one(tmp_path: Path) -> None:
    outputs = (Output("y", "value", ("y",)),)
    spec, content = passing(("y", "double", ["y"]))
    spec = structs.replace(spec, meaning=Meaning(outputs=outputs))
    predictor = loaded(tmp_path, (spec, content))
    one, predict = sample_table(predictor), predictor.predict

    def only_one(table: Table) -> Any:
        if table.n_rows > 1:
            raise row_cost.ModelFailed("no batch")
        return predict(table)

    predictor.predict = only_one

    assert row_cost.of_joined_rows(predictor, one, RowCost(0.003)).rows_a_call == 1


# --- joining and parting ---


@pytest.mark.parametrize("made", [cancer(), cancer("columns"), penguins(), choosing(["a", "b", "c"], width=3)])
def test_joined_rows_are_answered_as_they_are_alone(tmp_path: Path, made: Made) -> None:
    predictor = loaded(tmp_path, made)
    sample = predictor.spec.sample
    name = next(column.name for column in predictor.spec.columns if column.type == "float")
    requests = [
        table_from_rows(predictor, [sample | {name: value}] * n_rows)
        for n_rows, value in ((1, 1.0), (3, 0.0), (1, 2.0), (2, 1.0))
    ]
    alone = [predictor.predict(table) for table in requests]

    parts = parted(predictor.predict(joined(requests)), [table.n_rows for table in requests])

    for one, part in zip(alone, parts, strict=True):
        assert isinstance(one, Classification)
        assert isinstance(part, Classification)
        assert part.class_indexes == one.class_indexes
        np.testing.assert_allclose(part.numbers, one.numbers, rtol=1e-6)


def test_tables_of_a_matrix_and_of_columns_are_joined() -> None:
    """Formats that bring columns and formats that bring rows come together."""
    matrix = Table(2, [], np.array([[1.0, 2.0], [3.0, 4.0]], np.float32))
    columns = Table(1, [np.array([[5.0]], np.float32), np.array([[6.0]], np.float32)])
    row = Table(1, [], None, (7.0, None), np.dtype(np.float32))

    both = joined([matrix, columns, row])

    assert both.n_rows == 4
    assert [column[:, 0].tolist()[:3] for column in both.columns] == [[1, 3, 5], [2, 4, 6]]
    assert np.isnan(both.columns[1][3, 0])


def test_several_targets_are_parted_by_rows() -> None:
    prediction = Regression([np.arange(5.0), np.arange(5)])

    parts = parted(prediction, [2, 0, 3])

    assert [[column.tolist() for column in part.columns] for part in parts if isinstance(part, Regression)] == [
        [[0.0, 1.0], [0, 1]],
        [[], []],
        [[2.0, 3.0, 4.0], [2, 3, 4]],
    ]


def test_scores_are_parted_by_rows() -> None:
    prediction = Classification([0, 1, 0], scores=np.array([[1.0], [2.0], [3.0]]))

    first, second = parted(prediction, [1, 2])

    assert isinstance(first, Classification)
    assert isinstance(second, Classification)
    assert (first.class_indexes, second.class_indexes) == ([0], [1, 0])
    assert second.scores is not None
    assert second.scores.tolist() == [[2.0], [3.0]]
    assert second.probabilities is None
