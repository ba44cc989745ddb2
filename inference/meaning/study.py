"""Find out what a model means by trying it: the rows, alone and in batches; the roles, the classes, the checks.

The same whatever engine computes. Runs in the confined child, because it runs a stranger's model.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from contract.meaning import ClassLabel, Label, Meaning, Output, Role
from contract.model_spec import Cell, ModelSpec, Task
from inference.engines import ModelFailed
from inference.meaning.checks import (
    Check,
    check_agreement,
    check_batch_labels,
    check_batches,
    check_finite,
    check_probabilities,
)
from inference.meaning.classes import ClassesRefused, ClassesUnknown, Labels, Names, labels_in_order, pair_names
from inference.meaning.observed import LABEL_KINDS, Observed, labels_of, observe
from inference.meaning.probes import Probes, Row, make_probes
from inference.meaning.roles import Decision, GraphLabels, Question, RolesRefused, Stated, decide_roles
from inference.table import Array

BATCH_SIZES: Final = (2, 7, 32)
ALONE_S: Final = 3.0
"""Rows are computed alone for this long at most: a slow model is judged on fewer of them."""
FEWEST_ALONE: Final = 20

Run = Callable[[Sequence[Row]], Mapping[str, Any]]
"""Computes rows: what came of each output, by its name, in the graph's order. Raises `ModelFailed`."""


@dataclass(frozen=True)
class StatedMeaning:
    """What the owner says, in a metadata file, with the command or on the page. `targets`: names of the numbers."""

    task: Task | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    classes: Names | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Studied:
    """What was found. With `questions`, `meaning` is the proposal; without it, the classes are unknown too."""

    task: Task
    meaning: Meaning
    questions: tuple[Question, ...]
    checks: tuple[Check, ...]
    tried: Tried
    class_origin: str = ""


@dataclass(frozen=True)
class Tried:
    """Rows and what the model gave for each of them, computed alone. `outputs`: one line a row."""

    rows: tuple[Row, ...]
    n_owned: int
    outputs: tuple[Observed, ...]
    failures: tuple[tuple[int, str], ...]
    """Rows of `probes` that the model could not compute, and its words."""

    def output(self, name: str) -> Observed:
        return next(one for one in self.outputs if one.name == name)


def study(
    run: Run,
    spec: ModelSpec,
    stated: StatedMeaning,
    *,
    sample_rows: Sequence[Row] = (),
    graph_labels: GraphLabels | None = None,
) -> Studied:
    """`spec`: with columns, layout and sample; its task and classes are not looked at.

    Raises `RolesRefused`, `ClassesRefused`, and `ModelFailed` where a row of the owner's can't be computed.
    """
    tried = try_alone(run, make_probes(spec, sample_rows))
    stated_roles = Stated(stated.task, stated.roles, len(stated.classes) if stated.classes else None)
    decision = decide_roles(tried.outputs, _inputs(spec, tried.rows), stated_roles, graph_labels=graph_labels)
    _refuse_random(run, tried, decision.roles)
    classes = _study_classes(decision, tried, stated, graph_labels or {})
    checks = batch_checks(run, tried, decision.roles)
    return Studied(
        task=_task(decision, len(classes.pairs), stated.task),
        meaning=Meaning(
            outputs=_with_targets(decision.roles, tried, stated.targets or (spec.target,)),
            classes=classes.pairs,
            is_row_wise=any(check.outcome == "told" for check in checks),
            notes=decision.notes,
        ),
        questions=(*decision.questions, *classes.questions),
        checks=(*_finite_checks(tried, decision.roles), *classes.checks, *checks),
        tried=tried,
        class_origin=classes.origin,
    )


def _task(decision: Decision, n_classes: int, stated: Task | None) -> Task:
    if decision.is_anomaly:
        if n_classes not in {0, 2}:  # 0: they are asked for
            raise ClassesRefused("task_contradicts", stated="anomaly", count=n_classes)
        return "anomaly"
    if not decision.is_classification:
        return "regression"
    if not n_classes:
        return stated or "multiclass"
    task: Task = "binary" if n_classes == 2 else "multiclass"
    if stated is not None and stated != task:
        raise ClassesRefused("task_contradicts", stated=stated, count=n_classes)
    return task


# --- trying -----------------------------------------------------------------------------------------------------------


def try_alone(run: Run, probes: Probes) -> Tried:
    """Each row alone: what it means can't depend on its company. Raises `ModelFailed` for a row of the owner's."""
    answers: list[Mapping[str, Any]] = []
    rows: list[Row] = []
    failures: list[tuple[int, str]] = []
    n_owned, deadline = 0, time.monotonic() + ALONE_S
    for index, row in enumerate(probes.rows):
        if time.monotonic() > deadline and len(rows) >= FEWEST_ALONE:
            break
        try:
            answer = run([row])
        except ModelFailed as error:
            if index < probes.n_owned:
                raise
            failures.append((index, str(error)))
            continue
        answers.append(answer)
        rows.append(row)
        n_owned += index < probes.n_owned
    outputs = tuple(_stacked(name, [answer[name] for answer in answers]) for name in answers[0])
    return Tried(tuple(rows), n_owned, outputs, tuple(failures))


def _stacked(name: str, raw: list[Any]) -> Observed:
    """One observation of many answers to one row each."""
    if isinstance(raw[0], list):
        return observe(name, [one for answer in raw for one in answer], len(raw))
    arrays = [np.asarray(one) for one in raw]
    if any(array.ndim == 0 or array.shape[0] != 1 or array.shape != arrays[0].shape for array in arrays):
        return Observed(name, "other", np.empty((len(raw), 0)))
    return observe(name, np.concatenate(arrays), len(raw))


def _inputs(spec: ModelSpec, rows: Sequence[Row]) -> list[Array]:
    return [_column([row.get(column.name) for row in rows], column.type == "string") for column in spec.columns]


def _column(cells: list[Cell], is_text: bool) -> Array:
    if is_text:
        return np.array([cell if cell is not None else "" for cell in cells], object)
    return np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64)


# --- checking ---------------------------------------------------------------------------------------------------------


def _finite_checks(tried: Tried, roles: Sequence[Output]) -> list[Check]:
    served = [tried.output(one.name) for one in roles if one.role in {"value", "probabilities", "scores"}]
    return [check_finite(one.values, n_owned=tried.n_owned) for one in served if one.kind in {"float", "maps", "int"}]


def _key(label: Label) -> tuple[type, Label]:
    """True is no 1 here."""
    return type(label), label


def in_class_order(numbers: Observed, labels: Sequence[Label]) -> Array:
    """`(n_rows, n_classes)`: a single number is the second class's, maps are looked up by their keys."""
    if numbers.kind == "maps":
        column = {_key(key): index for index, key in enumerate(numbers.keys)}
        if missing := [label for label in labels if _key(label) not in column]:
            raise RolesRefused("zipmap_keys", labels=missing[:10], keys=list(numbers.keys)[:10])
        return numbers.values[:, [column[_key(label)] for label in labels]]
    if numbers.is_one_a_row:
        return np.column_stack([1 - numbers.column, numbers.column])
    return numbers.values


def _refuse_random(run: Run, tried: Tried, roles: Sequence[Output]) -> None:
    """The first row once more, alone as before. Raises `RolesRefused` where another answer comes."""
    again = run([tried.rows[0]])
    served = [tried.output(one.name) for one in roles if one.role != "ignored"]
    if other := [one.name for one in served if not _is_same_answer(one, observe(one.name, again[one.name], 1))]:
        raise RolesRefused("random", outputs=other)


def _is_same_answer(tried: Observed, again: Observed) -> bool:
    first = tried.values[:1]
    if again.kind != tried.kind or again.values.shape != first.shape:
        return False
    if tried.kind in LABEL_KINDS:
        return bool((first == again.values).all())
    return check_batches(first, again.values, is_half=first.dtype == np.float16).outcome == "passed"


# --- classes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Classes:
    """None for what is no classification."""

    pairs: tuple[ClassLabel, ...] = ()
    origin: str = ""
    questions: tuple[Question, ...] = ()
    checks: tuple[Check, ...] = ()


def _study_classes(decision: Decision, tried: Tried, stated: StatedMeaning, graph_labels: GraphLabels) -> _Classes:
    """Raises `ClassesRefused`."""
    if not decision.is_classification:
        return _Classes()
    label_name, probabilities_name = decision.output("label"), decision.output("probabilities")
    numbers_name = probabilities_name or decision.output("scores")
    label = tried.output(label_name) if label_name else None
    numbers = tried.output(numbers_name) if numbers_name else None
    named = [name for name in (label_name, numbers_name) if name is not None]
    listed = next((graph_labels[name] for name in named if name in graph_labels), None)
    if listed is not None and label is not None:
        listed = _as_they_come(listed, label)
    try:
        labels = _labels(label, numbers, listed, stated)
    except ClassesUnknown as unknown:
        output = numbers_name or label_name or ""
        return _Classes(questions=(Question("classes", output, seen=unknown.seen, n_classes=unknown.n_classes),))
    pairs = pair_names(labels, stated.classes)
    checks = _class_checks(labels, label, numbers if probabilities_name else None)
    return _Classes(pairs, labels.origin, checks=tuple(checks))


def _as_they_come(listed: tuple[Label, ...], label: Observed) -> tuple[Label, ...] | None:
    """The graph's list in the type of what comes out; None where it is a list of something else."""
    if label.kind == "bool" and set(listed) == {0, 1}:
        return tuple(bool(one) for one in listed)
    kind = str if label.kind == "string" else int
    return listed if all(type(one) is kind for one in listed) else None


def _labels(
    label: Observed | None, numbers: Observed | None, listed: tuple[Label, ...] | None, stated: StatedMeaning
) -> Labels:
    seen = labels_of(label) if label is not None else None
    if numbers is not None and numbers.kind == "maps" and listed is None:
        listed = numbers.keys  # their order is nobody's: each number is looked up by its key
    width = None if numbers is None else 2 if numbers.is_one_a_row else numbers.width
    values = numbers.values if numbers is not None else None
    return labels_in_order(listed, seen, values, n_classes=width, stated=stated.classes)


def _class_checks(labels: Labels, label: Observed | None, probabilities: Observed | None) -> list[Check]:
    checks = [check_probabilities(probabilities.values)] if probabilities is not None else []
    if label is None:
        return checks
    position = {_key(one): index for index, one in enumerate(labels.values)}
    seen = labels_of(label)
    for row, one in enumerate(seen):
        if _key(one) not in position:
            return [*checks, Check("unknown_label", "refused", row, {"label": one})]
    if probabilities is not None:
        values = in_class_order(probabilities, labels.values)
        checks.append(check_agreement([position[_key(one)] for one in seen], values))
    return checks


# --- batches ----------------------------------------------------------------------------------------------------------


def batch_checks(run: Run, tried: Tried, roles: Sequence[Output]) -> list[Check]:
    """The rows again, in batches of each size, held against the same rows alone; the worst finding of each kind."""
    worst: dict[str, Check] = {}
    served = [one for one in roles if one.role != "ignored"]
    numbers = next((tried.output(one.name) for one in served if one.role in {"probabilities", "scores"}), None)
    for size in BATCH_SIZES:
        together = _together(run, tried, size)
        if together is None:
            return [Check("one_by_one", "told")]
        for one in served:
            alone = tried.output(one.name)
            check = _batch_check(alone, together.get(one.name), one.role, numbers)
            if check.code not in worst or worst[check.code].outcome == "passed":
                worst[check.code] = check
    return list(worst.values())


def _together(run: Run, tried: Tried, size: int) -> dict[str, Observed] | None:
    """Every row once, in batches of this size; an output whose shape then differs is left out.

    None where the model can't compute them: its graph has room for one row.
    """
    batches = [tried.rows[start : start + size] for start in range(0, len(tried.rows), size)]
    try:
        answers = [(run(batch), len(batch)) for batch in batches]
    except ModelFailed:
        return None
    found: dict[str, Observed] = {}
    for alone in tried.outputs:
        parts = [observe(alone.name, answer[alone.name], n_rows) for answer, n_rows in answers]
        if all(part.width == alone.width and part.kind == alone.kind for part in parts):
            found[alone.name] = Observed(
                alone.name, alone.kind, np.concatenate([_with_keys(part, alone.keys) for part in parts]), alone.keys
            )
    return found


def _with_keys(part: Observed, keys: tuple[bool | int | str, ...]) -> Array:
    return part.values if part.keys == keys else part.values[:, [part.keys.index(key) for key in keys]]


def _batch_check(alone: Observed, together: Observed | None, role: Role, numbers: Observed | None) -> Check:
    n_rows = len(alone.values)
    code = "batch_labels" if role == "label" else "batches"
    if together is None or len(together.values) != n_rows:
        return Check(code, "told", 0, {"rows": n_rows, "of": n_rows})
    if role == "label":
        return check_batch_labels(labels_of(alone), labels_of(together), _lead(numbers, n_rows))
    return check_batches(alone.values, together.values, is_half=alone.values.dtype == np.float16)


def _lead(numbers: Observed | None, n_rows: int) -> Array:
    """Of each row's best number over its next; without numbers there are no ties."""
    if numbers is None:
        return np.full(n_rows, np.inf)
    if numbers.is_one_a_row:
        return np.full(n_rows, np.inf)
    ordered = np.sort(numbers.values, axis=1)
    lead: Array = ordered[:, -1] - ordered[:, -2]
    return lead


def _with_targets(roles: Sequence[Output], tried: Tried, stated: tuple[str, ...]) -> tuple[Output, ...]:
    """A name for each predicted number: the owner's where all of them have one, else the output's own.

    Raises `RolesRefused` where several are named, but not as many as there are.
    """
    widths = {one.name: tried.output(one.name).width for one in roles if one.role == "value"}
    count = sum(widths.values())
    if len(stated) != count and len(stated) > 1:
        raise RolesRefused("targets_count", stated=len(stated), count=count)
    names = iter(stated if len(stated) == count else _own_names(widths))
    return tuple(_as_it_came(one, tried.output(one.name), names) for one in roles)


def _as_it_came(one: Output, came: Observed, names: Iterator[str]) -> Output:
    """With what serving has to know of its numbers before it has computed any."""
    if one.role not in {"value", "probabilities", "scores"}:
        return one
    targets = tuple(itertools.islice(names, came.width)) if one.role == "value" else ()
    return Output(one.name, one.role, targets, one.role == "scores" and came.is_one_a_row, came.values.dtype.name)


def _own_names(widths: Mapping[str, int]) -> list[str]:
    return [name if width == 1 else f"{name}_{position}" for name, width in widths.items() for position in range(width)]
