"""Which output is what: decided by what came on the rows that were tried, never by a name.

What the owner states wins. Where two readings are left there is a `Question`: it is asked, never guessed. The order of
the rules is that of docs/model-meaning.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from contract.meaning import SINGLE_ROLES, Label, Note, Output, Role
from contract.model_spec import Task
from inference.meaning.checks import is_probability_rows
from inference.meaning.observed import LABEL_KINDS, Observed, labels_of
from inference.table import Array

MOST_CLASSES: Final = 2000
_MANY_LABELS: Final = 50
"""Whole numbers with more different values than this, and few repeats, are hardly classes: asked."""
_MARGIN: Final = 1e-4
_ANOMALY_LABELS: Final = frozenset({-1, 1})

GraphLabels = Mapping[str, tuple[Label, ...]]
"""Of each output behind which the graph has a list of class labels: that list."""


class RolesRefused(Exception):
    """The outputs can't be served, or what is stated contradicts them. `note` says why."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code)
        self.note = Note(code, params)


@dataclass(frozen=True)
class Question:
    """An output with two readings or more. Answered by stating a role for it, or a task."""

    code: str
    output: str
    choices: tuple[Role, ...] = ()
    tasks: tuple[Task, ...] = ()
    seen: tuple[Label, ...] = ()
    n_classes: int | None = None


@dataclass(frozen=True)
class Stated:
    """What the owner says. `roles`: by the output's name."""

    task: Task | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    n_classes: int | None = None


@dataclass(frozen=True)
class Decision:
    """A role for every output, in the graph's order. With questions it is a proposal that must not be served."""

    roles: tuple[Output, ...]
    notes: tuple[Note, ...]
    questions: tuple[Question, ...]
    is_anomaly: bool = False

    def output(self, role: Role) -> str | None:
        return next((output.name for output in self.roles if output.role == role), None)

    @property
    def is_classification(self) -> bool:
        return any(output.role in SINGLE_ROLES for output in self.roles)


def decide_roles(
    outputs: Sequence[Observed],
    inputs: Sequence[Array],
    stated: Stated,
    *,
    graph_labels: GraphLabels | None = None,
) -> Decision:
    """`inputs`: one `(n_rows,)` array a column, as the graph was given them. Raises `RolesRefused`."""
    _check_statement(outputs, stated)
    deciding = _Deciding(outputs, inputs, stated, graph_labels or {})
    deciding.drop_what_says_nothing()
    deciding.choose()
    deciding.check_result()
    return Decision(
        roles=tuple(Output(one.name, deciding.roles[one.name]) for one in outputs),
        notes=tuple(deciding.notes),
        questions=tuple(deciding.questions),
        is_anomaly=deciding.is_anomaly,
    )


def _check_statement(outputs: Sequence[Observed], stated: Stated) -> None:
    known = {one.name: one for one in outputs}
    for name, role in stated.roles.items():
        if name not in known:
            raise RolesRefused("no_such_output", output=name, outputs=[one.name for one in outputs])
        _check_fits(known[name], role)
    for role in sorted(SINGLE_ROLES):
        having = [name for name, given in stated.roles.items() if given == role]
        if len(having) > 1:
            raise RolesRefused("role_twice", role=role, outputs=having)


def _check_fits(one: Observed, role: Role) -> None:
    """Whether an output can have a role that is stated for it."""
    is_number = one.kind in {"float", "int"} and one.width > 0
    fits = {
        "value": is_number,
        "label": one.kind in LABEL_KINDS and one.is_one_a_row,
        "probabilities": one.kind in {"float", "maps"} and one.width > 0,
        "scores": (is_number or one.kind == "maps") and one.width > 0,
        "ignored": True,
    }
    if not fits[role]:
        raise RolesRefused("role_does_not_fit", output=one.name, role=role, kind=one.kind, width=one.width)


class _Deciding:
    """The rules, in their order, over the outputs that are still open."""

    def __init__(
        self,
        outputs: Sequence[Observed],
        inputs: Sequence[Array],
        stated: Stated,
        graph_labels: GraphLabels,
    ) -> None:
        self._outputs = outputs
        self._inputs = inputs
        self._stated = stated
        self._graph_labels = graph_labels
        self.roles: dict[str, Role] = dict(stated.roles)
        self.notes: list[Note] = []
        self.questions: list[Question] = []
        self.is_anomaly = stated.task == "anomaly"

    @property
    def _open(self) -> list[Observed]:
        return [one for one in self._outputs if one.name not in self.roles]

    def _with_role(self, role: Role) -> Observed | None:
        return next((one for one in self._outputs if self.roles.get(one.name) == role), None)

    def _ignore(self, one: Observed, code: str) -> None:
        self.roles[one.name] = "ignored"
        self.notes.append(Note(code, {"output": one.name}))

    def _ask(self, code: str, one: Observed, *choices: Role) -> None:
        """The first choice is the proposal."""
        self.roles[one.name] = choices[0]
        self.questions.append(Question(code, one.name, choices))

    def drop_what_says_nothing(self) -> None:
        """Echoes of an input, unless nothing else comes, and what is not one line a row."""
        for one in self._open:
            if one.kind == "other" or one.width == 0:
                self._ignore(one, "ignored_shape")
        echoes = [one for one in self._open if is_echo(one, self._inputs)]
        if len(echoes) < len(self._open):
            for one in echoes:
                self._ignore(one, "ignored_echo")

    def choose(self) -> None:
        if self._stated.task == "regression":
            self._refuse_listed_classes()
            self._choose_values(is_stated=True)
            self._ignore_rest()
            return
        self._choose_label()
        if self._with_role("label") is not None:
            self._choose_scores()
        elif any(self.roles.get(one.name) in {"probabilities", "scores"} for one in self._outputs):
            self._ignore_rest()
        elif self._is_classification_stated:
            self._choose_scores()
        else:
            self._choose_values(is_stated=False)
        self._ignore_rest()

    def _refuse_listed_classes(self) -> None:
        """A graph with classes of its own is no regression, unless its owner says which numbers are predicted."""
        listed = next((labels for name, labels in self._graph_labels.items() if name not in self._stated.roles), None)
        if listed is not None and "value" not in self._stated.roles.values():
            raise RolesRefused("task_contradicts", stated="regression", count=len(listed))

    @property
    def _is_classification_stated(self) -> bool:
        return self._stated.task in {"binary", "multiclass", "anomaly"} or (
            self._stated.task is None and self._stated.n_classes is not None
        )

    # --- the label ---

    def _choose_label(self) -> None:
        if self._with_role("label") is not None or any(self.roles.get(one.name) == "value" for one in self._outputs):
            return
        wide = [one for one in self._open if one.kind in LABEL_KINDS and not one.is_one_a_row]
        found = [one for one in self._open if one.kind in LABEL_KINDS and one.is_one_a_row]
        is_beside = any(
            one.kind in {"float", "maps"} and self.roles.get(one.name) in {None, "probabilities", "scores"}
            for one in self._outputs
        )
        if not found and wide and self._are_flags(wide):
            raise RolesRefused("multilabel", outputs=[one.name for one in wide])
        if not found:
            return
        if len(found) > 1:
            self._choose_among(found)
        elif not is_beside:
            self._choose_lone(found[0])
        elif self._has_many_values(found[0]):
            self._ask("many_values", found[0], "ignored", "label", "value")
        else:
            self.roles[found[0].name] = "label"

    def _are_flags(self, wide: list[Observed]) -> bool:
        return all(one.kind == "bool" or set(np.unique(one.values)) <= {0, 1} for one in wide)

    def _choose_among(self, found: list[Observed]) -> None:
        """Several columns of labels: the same class said twice is one label; whole numbers that the graph has no
        list for, beside a label that it has one for, are leaves of a tree; independent labels are refused."""
        listed = [one for one in found if one.name in self._graph_labels]
        text = [one for one in found if one.kind == "string"]
        first = (listed or text or found)[0]
        self.roles[first.name] = "label"
        for other in found:
            if other is first:
                continue
            if _say_the_same(first, other):
                self._ignore(other, "ignored_second_label")
            elif listed and other not in listed and other.kind == "int":
                self._ignore(other, "ignored_leaf")
            else:
                raise RolesRefused("multilabel", outputs=[one.name for one in found])

    def _choose_lone(self, one: Observed) -> None:
        if one.kind != "int" or one.name in self._graph_labels or self._is_classification_stated:
            self.roles[one.name] = "label"
        else:
            self._ask("lone_whole_number", one, "value", "label")

    def _has_many_values(self, one: Observed) -> bool:
        if one.kind != "int" or one.name in self._graph_labels:
            return False
        n_values = len(np.unique(one.column))
        return n_values > _MANY_LABELS and n_values > len(one.column) // 10

    # --- what stands beside a label ---

    def _choose_scores(self) -> None:
        if any(self.roles.get(one.name) in {"probabilities", "scores"} for one in self._outputs):
            self._ignore_rest()
            return
        maps = [one for one in self._open if one.kind == "maps"]
        wide = [one for one in self._open if one.kind == "float" and not one.is_one_a_row]
        single = [one for one in self._open if one.kind == "float" and one.is_one_a_row]
        for candidates in (maps, wide):
            if candidates:
                self._choose_wide(candidates)
                return
        if len(single) > 1:
            for one in single:
                self._ask("several_scores", one, "scores", "probabilities", "ignored")
        elif single:
            self._choose_single(single[0])

    def _choose_wide(self, candidates: list[Observed]) -> None:
        likely = [one for one in candidates if is_probability_rows(one.values)]
        if len(likely) == 1:
            self.roles[likely[0].name] = "probabilities"
        elif len(candidates) == 1:
            self.roles[candidates[0].name] = "scores"
            self.notes.append(Note("scores_not_probabilities", {"output": candidates[0].name}))
        else:
            for one in candidates:
                self._ask("several_scores", one, "probabilities" if one in likely else "scores", "ignored")

    def _choose_single(self, one: Observed) -> None:
        label = self._with_role("label")
        if label is None:  # one float, and the owner says that it is a classification
            role: Role = "probabilities" if _is_within_unit(one.column) else "scores"
            self.roles[one.name] = role
            return
        labels = labels_of(label)
        if self.is_anomaly:
            self.roles[one.name] = "scores"
        elif _is_within_unit(one.column) and len(set(labels)) == 1:
            self._ask("one_number_beside_one_class", one, "probabilities", "scores")
        elif _is_within_unit(one.column) and _rises_with(labels, one.column):
            self.roles[one.name] = "probabilities"
        else:
            self.roles[one.name] = "scores"
            if set(labels) == _ANOMALY_LABELS and self._stated.task is None:
                self.questions.append(Question("anomaly", label.name, (), ("anomaly", "binary")))
                self.is_anomaly = True
            else:
                self.notes.append(Note("score_not_probability", {"output": one.name}))

    # --- numbers ---

    def _choose_values(self, *, is_stated: bool) -> None:
        if any(self.roles.get(one.name) == "value" for one in self._outputs):
            self._ignore_rest()
            return
        floats = [one for one in self._open if one.kind == "float"]
        if not floats and is_stated:
            floats = [one for one in self._open if one.kind == "int"]
        for one in floats:
            if is_stated:
                self.roles[one.name] = "value"
            elif not one.is_one_a_row:
                self._ask("several_numbers", one, *_wide_choices(one))
            elif _is_within_unit(one.column):
                self._ask("between_0_and_1", one, "value", "probabilities")
            else:
                self.roles[one.name] = "value"

    def _ignore_rest(self) -> None:
        for one in self._open:
            is_leaf = one.kind == "int" and not one.is_one_a_row
            self._ignore(one, "ignored_leaf" if is_leaf else "ignored_extra")

    def check_result(self) -> None:
        served = {role for role in self.roles.values() if role != "ignored"}
        if not served and not self.questions:
            shapes = [note.params["output"] for note in self.notes if note.code == "ignored_shape"]
            raise RolesRefused("no_served_output", outputs=[one.name for one in self._outputs], not_by_row=shapes)
        if "value" in served and served & SINGLE_ROLES:
            raise RolesRefused("value_beside_class", outputs=[n for n, role in self.roles.items() if role == "value"])
        scores = self._with_role("scores")
        if scores is None or self.questions:
            return
        if (probabilities := self._with_role("probabilities")) is not None:
            raise RolesRefused("scores_beside_probabilities", output=scores.name, probabilities=probabilities.name)
        if scores.is_one_a_row and "label" not in served:
            raise RolesRefused("score_without_label", output=scores.name)


def _wide_choices(one: Observed) -> tuple[Role, ...]:
    if is_probability_rows(one.values):
        return ("probabilities", "value", "scores")
    return ("value", "scores")


def is_echo(one: Observed, inputs: Sequence[Array]) -> bool:
    """Whether each of an output's columns repeats an input on every row."""
    return all(any(_repeats(came, column) for column in inputs) for came in one.values.T)


def _repeats(came: Array, column: Array) -> bool:
    """A column that never changes tells nothing."""
    if len(column) != len(came):
        return False
    if came.dtype.kind == "O" or column.dtype.kind == "O":
        if came.dtype.kind != column.dtype.kind:
            return False
        return len(set(came.tolist())) > 1 and bool((came == column).all())
    given = column.astype(np.float64)
    if came.dtype.kind in "biu" and not np.isfinite(given).all():
        return False  # a type that has no such value
    if len(np.unique(given[~np.isnan(given)])) < 2:
        return False
    return bool(np.array_equal(given.astype(came.dtype), came, equal_nan=came.dtype.kind == "f"))


def _is_within_unit(values: Array) -> bool:
    return bool(np.isfinite(values).all() and values.min() >= -_MARGIN and values.max() <= 1 + _MARGIN)


def _rises_with(labels: Sequence[Label], values: Array) -> bool:
    """Two labels, and one threshold between their numbers: those of the greater label lie above it."""
    distinct = sorted(set(labels), key=lambda label: (isinstance(label, str), label))
    if len(distinct) != 2:
        return False
    is_high = np.array([label == distinct[1] for label in labels])
    return bool(values[~is_high].max() <= values[is_high].min())


def _say_the_same(first: Observed, second: Observed) -> bool:
    pairs = set(zip(labels_of(first), labels_of(second), strict=True))
    return len({a for a, _ in pairs}) == len(pairs) == len({b for _, b in pairs})
