"""Each check names the row that broke it."""

from __future__ import annotations

import numpy as np
import pytest

from inference.meaning import checks

P = np.linspace(0.01, 0.99, 50)
TWO = np.column_stack([1 - P, P])


@pytest.mark.parametrize(
    ("row", "is_good"),
    [
        ([0.25, 0.75], True),
        ([-0.00009, 1.00005], True),
        ([0.2495, 0.7500], True),
        ([0.24, 0.75], False),
        ([-0.001, 1.001], False),
        ([np.nan, 1.0], False),
        ([np.inf, 0.0], False),
    ],
)
def test_probabilities_lie_in_0_to_1_and_sum_to_1(row: list[float], is_good: bool) -> None:
    assert checks.is_probability_rows(np.array([[0.5, 0.5], row])) is is_good


def test_the_row_that_is_no_distribution_is_named() -> None:
    found = checks.check_probabilities(np.array([[0.5, 0.5], [2.0, -1.0]]))

    assert (found.outcome, found.row) == ("refused", 1)


def test_labels_that_follow_the_probabilities_pass() -> None:
    assert checks.check_agreement((P > 0.5).astype(int).tolist(), TWO).outcome == "passed"


def test_one_threshold_that_explains_all_is_told() -> None:
    found = checks.check_agreement((P > 0.3).astype(int).tolist(), TWO)

    assert (found.code, found.outcome) == ("threshold", "told")
    assert found.params["threshold"] == pytest.approx(0.3, abs=0.02)


def test_swapped_classes_are_refused_with_a_row() -> None:
    found = checks.check_agreement((P < 0.5).astype(int).tolist(), TWO)

    assert (found.code, found.outcome) == ("agreement", "refused")
    assert found.row is not None


def test_honest_disagreement_in_few_rows_is_told_with_count_and_example() -> None:
    three = np.tile(np.array([[0.5, 0.4, 0.1], [0.1, 0.5, 0.4], [0.1, 0.4, 0.5]]), (20, 1))
    labels = three.argmax(axis=1)
    labels[:5] = (labels[:5] + 1) % 3

    found = checks.check_agreement(labels.tolist(), three)

    assert (found.outcome, found.row, found.params["rows"], found.params["of"]) == ("told", 0, 5, 60)


def test_two_names_swapped_among_three_are_refused() -> None:
    three = np.tile(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]), (20, 1))
    swapped = np.array([0, 2, 1])[three.argmax(axis=1)]

    assert checks.check_agreement(swapped.tolist(), three).outcome == "refused"


def test_a_swap_of_rare_classes_is_refused_though_most_rows_agree() -> None:
    common = np.tile([[0.98, 0.01, 0.01]], (90, 1))
    rare = np.tile([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]], (5, 1))
    labels = [0] * 90 + [2, 1] * 5

    assert checks.check_agreement(labels, np.vstack([common, rare])).outcome == "refused"


def test_ties_may_go_either_way() -> None:
    assert checks.check_agreement([1, 0], np.array([[0.51, 0.49], [0.49, 0.51]])).outcome == "passed"


@pytest.mark.parametrize(("difference", "outcome"), [(0.5e-5, "passed"), (5e-5, "told")])
def test_alone_and_in_a_batch(difference: float, outcome: str) -> None:
    alone = np.array([[1.0], [100.0]])

    found = checks.check_batches(alone, alone + np.array([[difference], [0.0]]))

    assert found.outcome == outcome
    assert found.row == (0 if outcome == "told" else None)


def test_the_tolerance_grows_with_the_number_and_with_half_precision() -> None:
    assert checks.check_batches(np.array([[1000.0]]), np.array([[1000.005]])).outcome == "passed"
    assert checks.check_batches(np.array([[1.0]]), np.array([[1.001]]), is_half=True).outcome == "passed"


def test_labels_may_differ_at_ties_only() -> None:
    lead = np.array([1e-7, 0.5])

    assert checks.check_batch_labels(["a", "b"], ["b", "b"], lead).outcome == "passed"
    assert checks.check_batch_labels(["a", "b"], ["a", "a"], lead).row == 1


def test_numbers_that_are_not_finite() -> None:
    values = np.array([[1.0], [np.inf], [np.nan]])

    assert checks.check_finite(values, n_owned=2).outcome == "refused"
    assert checks.check_finite(values, n_owned=1).outcome == "told"


def test_the_confusion_table_counts_every_row() -> None:
    found = checks.confusion_of(["a", "b", "a", "b"], ["a", "b", "b", "other"], ["a", "b"])

    assert (found.agreeing, found.total) == (2, 4)
    assert found.names == ("a", "b", "other")
    assert found.counts == ((1, 0, 0), (1, 1, 0), (0, 1, 0))


def test_the_fit_of_a_regression() -> None:
    found = checks.fit_of(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))

    assert found.r2 == pytest.approx(1 - 1 / (14 / 3))
    assert found.mean_error == pytest.approx(1 / 3)
    assert checks.fit_of(np.array([1.0, 2.0]), np.array([5.0, 5.0])).r2 is None


def test_names_are_proposed_from_the_target_where_they_pair_up() -> None:
    assert checks.proposed_names([0, 1, 0, 1], ["no", "yes", "no", "yes"]) == {0: "no", 1: "yes"}
    assert checks.proposed_names([0, 1, 0, 1], ["no", "no", "no", "no"]) is None
