"""Labels and names are pairs; none is ever lost, swapped or made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.meaning import ClassLabel
from inference.meaning.classes import ClassesRefused, ClassesUnknown, Labels, labels_in_order, pair_names

NUMBERS = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])


def test_the_graphs_own_list_comes_first() -> None:
    assert labels_in_order((7, 3, 5), [7, 3, 5], NUMBERS, n_classes=3) == Labels((7, 3, 5), "graph")


def test_without_a_list_each_column_has_to_win_once() -> None:
    assert labels_in_order(None, ["c", "a", "b"], NUMBERS, n_classes=3) == Labels(("c", "a", "b"), "learnt")


def test_a_column_that_never_won_is_asked() -> None:
    with pytest.raises(ClassesUnknown) as unknown:
        labels_in_order(None, ["c", "a"], NUMBERS[:2], n_classes=3)

    assert unknown.value.seen == ("a", "c")


def test_whole_numbers_that_are_their_position_need_not_all_win() -> None:
    assert labels_in_order(None, [0, 1], NUMBERS[:2], n_classes=3) == Labels((0, 1, 2), "position")


def test_the_nearest_of_distances_wins() -> None:
    assert labels_in_order(None, [5, 6, 7], -NUMBERS, n_classes=3).values == (5, 6, 7)


def test_without_a_label_output_the_labels_are_positions() -> None:
    assert labels_in_order(None, None, NUMBERS, n_classes=3) == Labels((0, 1, 2), "position")


def test_a_label_alone_without_a_list_is_asked_unless_a_mapping_says_it() -> None:
    with pytest.raises(ClassesUnknown):
        labels_in_order(None, [4, 2], None, n_classes=None)

    stated = {"2": "two", "4": "four", "8": "eight"}
    assert labels_in_order(None, [4, 2], None, n_classes=None, stated=stated).values == (2, 4, 8)


def paired(labels: tuple[Any, ...], stated: Any) -> dict[Any, str]:
    return {one.label: one.name for one in pair_names(Labels(labels, "graph"), stated)}


def test_a_mapping_may_have_any_order() -> None:
    assert paired((1, 0), {"0": "benign", "1": "malignant"}) == {1: "malignant", 0: "benign"}


def test_true_and_false_are_keys_of_a_mapping() -> None:
    assert paired((False, True), {"true": "yes", "false": "no"}) == {False: "no", True: "yes"}


def test_a_list_names_by_position() -> None:
    assert paired((0, 1, 2, 3, 4), ["1", "2", "3", "4", "5"]) == {0: "1", 1: "2", 2: "3", 3: "4", 4: "5"}


@pytest.mark.parametrize(
    ("labels", "stated", "code"),
    [
        ((0, 1), ["1", "0"], "classes_order"),
        (("a", "b"), ["b", "a"], "classes_order"),
        (("a", "b"), ["x", "y"], "classes_text_by_list"),
        ((0, 1, 2), ["x", "y"], "classes_count"),
        ((0, 1), {"0": "no"}, "classes_label_missing"),
        ((0, 1), {"0": "no", "1": "yes", "2": "maybe"}, "classes_label_extra"),
        ((0, 1), {"0": "no", "1": "no"}, "classes_same_name"),
        ((0, 1), {"0": "no", "01": "yes"}, "classes_label_missing"),
        ((0,), ["x"], "classes_number"),
        (tuple(range(2001)), None, "classes_number"),
    ],
)
def test_what_contradicts_the_graph_is_refused(labels: Any, stated: Any, code: str) -> None:
    with pytest.raises(ClassesRefused) as refused:
        paired(labels, stated)

    assert refused.value.note.code == code


def test_the_refusal_of_another_order_has_the_mapping_to_write() -> None:
    with pytest.raises(ClassesRefused) as refused:
        paired((0, 1), ["1", "0"])

    assert refused.value.note.params["mapping"] == {"0": "0", "1": "1"}


label_lists = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=12, unique=True),
    st.lists(st.text(max_size=8), min_size=2, max_size=12, unique=True),
    st.permutations([False, True]),
)


@given(label_lists, st.randoms(use_true_random=False))
def test_a_mapping_pairs_every_label_by_itself_in_the_graphs_order(labels: list[Any], random: Any) -> None:
    texts = [str(label).lower() if isinstance(label, bool) else str(label) for label in labels]
    shuffled = random.sample(texts, len(texts))
    names = {text: f"name {texts.index(text)}" for text in shuffled}

    pairs = pair_names(Labels(tuple(labels), "graph"), names)

    assert pairs == tuple(ClassLabel(label, f"name {number}") for number, label in enumerate(labels))


@given(label_lists, st.integers(0, 2**32 - 1))
def test_what_is_learnt_from_winners_is_the_models_own_order(labels: list[Any], seed: int) -> None:
    k = len(labels)
    random = np.random.default_rng(seed)
    winners = [*range(k), *random.integers(k, size=20).tolist()]
    numbers = np.full((len(winners), k), 0.1 / k)
    numbers[np.arange(len(winners)), winners] = 0.9

    found = labels_in_order(None, [labels[i] for i in winners], numbers, n_classes=k)

    assert found.values == tuple(labels)
    assert list(map(type, found.values)) == list(map(type, labels))
