"""Which output is what, from what came on the rows that were tried."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import numpy as np
import pytest

from contract.meaning import ROLES
from inference.meaning.observed import Observed, observe
from inference.meaning.roles import Decision, RolesRefused, Stated, decide_roles

N = 40
X = np.linspace(-2, 2, N)
P = 1 / (1 + np.exp(-3 * X))
LABEL = (X > 0).astype(np.int64)
PROBABILITIES = np.column_stack([1 - P, P])


def decided(stated: Stated | None = None, graph_labels: Any = None, **outputs: Any) -> Decision:
    observed = [observe(name, raw, N) for name, raw in outputs.items()]
    return decide_roles(observed, [X], stated or Stated(), graph_labels=graph_labels)


def roles(decision: Decision) -> dict[str, str]:
    return {one.name: one.role for one in decision.roles}


def questions(decision: Decision) -> list[str]:
    return [one.code for one in decision.questions]


@pytest.mark.parametrize("label", [LABEL, LABEL.astype(bool), np.where(LABEL, "yes", "no").astype(object)])
def test_one_label_a_row_beside_a_distribution(label: Any) -> None:
    found = decided(a=PROBABILITIES, b=label)

    assert roles(found) == {"a": "probabilities", "b": "label"}
    assert not found.questions


def test_margins_beside_a_label_are_scores_and_told() -> None:
    found = decided(probabilities=np.column_stack([-X, X]), label=LABEL)

    assert roles(found) == {"probabilities": "scores", "label": "label"}
    assert [note.code for note in found.notes] == ["scores_not_probabilities"]


def test_one_number_that_rises_with_the_label_is_the_second_classs_probability() -> None:
    assert roles(decided(label=LABEL, p=P)) == {"label": "label", "p": "probabilities"}


def test_one_number_that_falls_with_the_label_is_a_score() -> None:
    assert roles(decided(label=LABEL, p=1 - P)) == {"label": "label", "p": "scores"}


def test_one_number_outside_0_and_1_is_a_score() -> None:
    assert roles(decided(label=LABEL, p=3 * X)) == {"label": "label", "p": "scores"}


def test_one_number_beside_a_single_label_is_asked() -> None:
    assert questions(decided(label=np.zeros(N, np.int64), p=P)) == ["one_number_beside_one_class"]


def test_labels_minus_1_and_1_with_one_number_are_proposed_as_anomaly() -> None:
    found = decided(label=np.where(X > 0, 1, -1), score=3 * X)

    assert found.is_anomaly
    assert questions(found) == ["anomaly"]
    assert found.questions[0].tasks == ("anomaly", "binary")


def test_a_stated_anomaly_is_not_asked() -> None:
    found = decided(Stated(task="anomaly"), label=np.where(X > 0, 1, -1), score=3 * X)

    assert found.is_anomaly
    assert not found.questions
    assert roles(found) == {"label": "label", "score": "scores"}


def test_an_echo_of_an_input_is_dropped_whatever_its_name() -> None:
    found = decided(label=X.astype(np.float32), score=X * 3)

    assert roles(found) == {"label": "ignored", "score": "value"}
    assert [note.code for note in found.notes] == ["ignored_echo"]


def test_leaf_indices_beside_a_value_are_ignored_and_told() -> None:
    leaves = np.arange(2 * N).reshape(N, 2)

    found = decided(variable=X * 3, decision_leaf=leaves)

    assert roles(found) == {"variable": "value", "decision_leaf": "ignored"}
    assert [note.code for note in found.notes] == ["ignored_leaf"]


def test_the_leaves_of_one_tree_beside_a_listed_label() -> None:
    found = decided(graph_labels={"label": (0, 1)}, label=LABEL, p=PROBABILITIES, leaf=np.arange(N))

    assert roles(found) == {"label": "label", "p": "probabilities", "leaf": "ignored"}


def test_several_numbers_are_one_target_each() -> None:
    found = decided(height=X * 3, weight=X + 7)

    assert roles(found) == {"height": "value", "weight": "value"}
    assert not found.questions


@pytest.mark.parametrize(
    ("raw", "code", "proposal"),
    [
        (P, "between_0_and_1", "value"),
        (PROBABILITIES, "several_numbers", "probabilities"),
        (np.column_stack([X, X * 2]) + 5, "several_numbers", "value"),
        (LABEL, "lone_whole_number", "value"),
    ],
)
def test_two_readings_are_asked(raw: Any, code: str, proposal: str) -> None:
    found = decided(y=raw)

    assert questions(found) == [code]
    assert roles(found) == {"y": proposal}
    assert found.questions[0].choices[0] == proposal


@pytest.mark.parametrize(
    ("stated", "raw", "role"),
    [
        (Stated(task="regression"), LABEL, "value"),
        (Stated(task="regression"), P, "value"),
        (Stated(task="regression"), PROBABILITIES, "value"),
        (Stated(task="binary"), P, "probabilities"),
        (Stated(task="multiclass"), LABEL, "label"),
        (Stated(n_classes=2), PROBABILITIES, "probabilities"),
        (Stated(roles={"y": "scores"}), PROBABILITIES, "scores"),
        (Stated(roles={"y": "value"}), PROBABILITIES, "value"),
    ],
)
def test_what_the_owner_states_settles_it(stated: Stated, raw: Any, role: str) -> None:
    found = decided(stated, y=raw)

    assert roles(found) == {"y": role}
    assert not found.questions


def test_one_score_without_a_label_is_refused() -> None:
    with pytest.raises(RolesRefused) as refusal:
        decided(Stated(task="binary"), y=3 * X)

    assert refusal.value.note.code == "score_without_label"


def test_probabilities_and_scores_are_not_both_served() -> None:
    stated = Stated(roles={"p": "probabilities", "m": "scores"})

    with pytest.raises(RolesRefused) as refusal:
        decided(stated, label=LABEL, p=PROBABILITIES, m=np.column_stack([-X, X]))

    assert refusal.value.note.code == "scores_beside_probabilities"


def test_whole_numbers_beside_stated_probabilities_are_the_label() -> None:
    found = decided(Stated(roles={"p": "probabilities"}), label=LABEL, p=PROBABILITIES)

    assert roles(found) == {"label": "label", "p": "probabilities"}
    assert not found.questions


def test_a_lone_whole_number_is_a_label_where_the_graph_lists_classes() -> None:
    assert roles(decided(graph_labels={"y": (0, 1)}, y=LABEL)) == {"y": "label"}


def test_whole_numbers_with_many_values_beside_numbers_are_asked() -> None:
    values = observe("ids", np.arange(200), 200)
    numbers = observe("y", np.linspace(-5, 5, 200), 200)

    found = decide_roles([values, numbers], [np.linspace(0, 1, 200)], Stated())

    assert questions(found) == ["many_values"]


def test_zipmap_is_read_by_its_keys() -> None:
    maps = [{7: 1 - p, 3: p} for p in P.tolist()]

    found = decided(maps=maps, label=np.where(X > 0, 3, 7))

    assert roles(found) == {"maps": "probabilities", "label": "label"}


@pytest.mark.parametrize(
    "outputs",
    [
        {"label": np.column_stack([LABEL, 1 - LABEL]), "p": PROBABILITIES},
        {"a": LABEL, "b": (X > 1).astype(np.int64), "p": PROBABILITIES},
        {"a": np.where(LABEL, "x", "y").astype(object), "b": np.where(X > 1, "v", "w").astype(object)},
    ],
)
def test_several_independent_labels_are_refused_by_their_name(outputs: Any) -> None:
    with pytest.raises(RolesRefused) as refused:
        decided(**outputs)

    assert refused.value.note.code == "multilabel"


def test_the_same_class_twice_is_one_label() -> None:
    found = decided(number=LABEL, text=np.where(LABEL, "yes", "no").astype(object), p=PROBABILITIES)

    assert roles(found) == {"number": "ignored", "text": "label", "p": "probabilities"}


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        (Stated(roles={"nothing": "value"}), "no_such_output"),
        (Stated(roles={"a": "probabilities", "b": "probabilities"}), "role_twice"),
        (Stated(roles={"label": "probabilities"}), "role_does_not_fit"),
        (Stated(roles={"a": "label"}), "role_does_not_fit"),
        (Stated(roles={"a": "ignored", "b": "ignored", "label": "ignored"}), "no_served_output"),
        (Stated(roles={"a": "value", "label": "label"}), "value_beside_class"),
    ],
)
def test_a_statement_that_contradicts_the_graph_is_refused(stated: Stated, code: str) -> None:
    with pytest.raises(RolesRefused) as refused:
        decided(stated, a=PROBABILITIES, b=PROBABILITIES, label=LABEL)

    assert refused.value.note.code == code


def test_what_is_not_one_line_a_row_is_ignored() -> None:
    found = decided(
        y=X * 3, whole=np.zeros((3, 3)), cube=np.zeros((N, 2, 2)), empty=Observed("e", "other", X[:0]).values
    )

    assert roles(found) == {"y": "value", "whole": "ignored", "cube": "ignored", "empty": "ignored"}


def test_an_echo_is_served_where_nothing_else_comes() -> None:
    assert roles(decided(y=X.astype(np.float32))) == {"y": "value"}


# --- every kind of output beside every other --------------------------------------------------------------------------

CAME = {
    "label": LABEL,
    "leaf": np.column_stack([LABEL, 3 * LABEL]),
    "count": np.arange(N),
    "flag": LABEL.astype(bool),
    "flags": np.column_stack([LABEL, 1 - LABEL]).astype(bool),
    "text": np.where(LABEL, "yes", "no").astype(object),
    "chance": P,
    "number": 3 * X + 1,
    "shares": PROBABILITIES,
    "numbers": np.column_stack([-X, 2 * X, X + 1]),
    "maps": [{0: 1 - p, 1: p} for p in P.tolist()],
    "echo": X,
    "half": X[::2],
}
TOGETHER = [*itertools.combinations(CAME, 1), *itertools.combinations(CAME, 2), *itertools.permutations(CAME, 3)]


@pytest.mark.parametrize("task", [None, "binary", "multiclass", "regression", "anomaly"])
def test_every_output_has_a_role_or_the_model_is_refused(task: Any) -> None:
    for names in TOGETHER:
        given = [{}, *({name: role} for name in names for role in ROLES)] if len(names) < 3 else [{}]
        for stated, labels in itertools.product(given, (None, {names[0]: (0, 1)})):
            with contextlib.suppress(RolesRefused):
                found = decided(Stated(task, stated), labels, **{name: CAME[name] for name in names})
                served = [one for one in found.roles if one.role != "ignored"]
                assert [one.name for one in found.roles] == list(names)
                assert served or found.questions, (names, stated, labels)
                assert all(roles(found)[name] == role for name, role in stated.items())


def test_a_graph_with_classes_is_no_regression_unless_its_values_are_named() -> None:
    with pytest.raises(RolesRefused) as refused:
        decided(Stated("regression"), {"label": (0, 1)}, label=LABEL, p=PROBABILITIES)
    named = decided(Stated("regression", {"p": "value"}), {"label": (0, 1)}, label=LABEL, p=PROBABILITIES)

    assert (refused.value.note.code, refused.value.note.params) == (
        "task_contradicts",
        {"stated": "regression", "count": 2},
    )
    assert roles(named) == {"label": "ignored", "p": "value"}
