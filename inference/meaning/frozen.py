"""The meaning of a version that was stored before meanings were: what the old rules by name pick, written down.

Its answers and its description stay what they are, except that a class which depended on the rows beside it goes by its
label from now on. Whether today's rules would have accepted the same without a question is found out beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contract.meaning import ClassLabel, Label, Meaning, Note, Output, Role
from contract.model_spec import ModelSpec, is_plain_integer
from inference.engines import ModelFailed
from inference.meaning.checks import Check
from inference.meaning.classes import ClassesRefused, ClassesUnknown, labels_in_order, names_as_stated
from inference.meaning.observed import labels_of
from inference.meaning.probes import make_probes
from inference.meaning.roles import GraphLabels, RolesRefused
from inference.meaning.study import Run, StatedMeaning, Studied, Tried, batch_checks, study, try_alone
from inference.outputs import OutputRoles, roles_for
from inference.signature import NotServable, Port
from inference.table import Array


@dataclass(frozen=True)
class _Classes:
    pairs: tuple[ClassLabel, ...] = ()
    has_label: bool = False
    notes: tuple[Note, ...] = ()


def frozen_meaning(run: Run, spec: ModelSpec, ports: Sequence[Port], graph_labels: GraphLabels) -> Meaning:
    """`spec`: whole, without a meaning; `ports`: all of the graph's outputs. Raises `NotServable`, `ModelFailed`."""
    picked = roles_for(ports, spec)
    tried = try_alone(run, make_probes(spec, ()))
    classes = _classes(picked, spec, tried, graph_labels)
    outputs = tuple(_output(port, picked, spec, has_label=classes.has_label) for port in ports)
    checks = batch_checks(run, tried, outputs)
    labels_depend = any(check.code == "batch_labels" and check.outcome == "told" for check in checks)
    frozen = Meaning(outputs=outputs, classes=classes.pairs, is_row_wise=labels_depend)
    notes = (Note("frozen"), *classes.notes, *_open(run, spec, frozen, graph_labels))
    return Meaning(outputs=outputs, classes=classes.pairs, is_row_wise=labels_depend, notes=notes)


def _output(port: Port, picked: OutputRoles, spec: ModelSpec, *, has_label: bool) -> Output:
    """No type of the numbers is noted: the description has always said 32 bits, and it stays."""
    if picked.value is not None and port.name == picked.value.name:
        return Output(port.name, "value", (spec.target,))
    if picked.probabilities is not None and port.name == picked.probabilities.name:
        return Output(port.name, "probabilities")
    is_label = has_label and picked.label is not None and port.name == picked.label.name
    return Output(port.name, "label" if is_label else "ignored")


# --- which label is which class ---------------------------------------------------------------------------------------


def _classes(picked: OutputRoles, spec: ModelSpec, tried: Tried, graph_labels: GraphLabels) -> _Classes:
    if picked.probabilities is None:
        return _Classes()
    if picked.probabilities.kind == "map":
        keys = tried.output(picked.probabilities.name).keys
        return _Classes(_paired(_keys_in_order(keys, spec.classes), spec.classes), picked.label is not None)
    if picked.label is None:
        return _by_position(spec)
    if picked.label.kind == "string":
        return _Classes(_paired(spec.classes, spec.classes), has_label=True)
    return _by_number(picked.label.name, picked.probabilities.name, spec, tried, graph_labels)


def _paired(labels: Sequence[Label], names: Sequence[str]) -> tuple[ClassLabel, ...]:
    return tuple(ClassLabel(label, name) for label, name in zip(labels, names, strict=True))


def _by_position(spec: ModelSpec, *notes: Note) -> _Classes:
    return _Classes(_paired(range(len(spec.classes)), spec.classes), notes=notes)


def _keys_in_order(keys: Sequence[Label], names: Sequence[str]) -> Sequence[Label]:
    """ZipMap's keys: by their text, else whole numbers in ascending order. Raises `NotServable`."""
    by_text = {str(key): key for key in keys}
    if by_text.keys() == set(names):
        return [by_text[name] for name in names]
    numbers = [key for key in keys if isinstance(key, int)]
    if len(numbers) == len(keys) == len(names):
        return sorted(numbers)
    raise NotServable("The model's classes are not those of its description.")


def _by_number(label: str, numbers: str, spec: ModelSpec, tried: Tried, graph_labels: GraphLabels) -> _Classes:
    """The old rule read a whole number as the name of a class, and where one batch had a number that is none, took the
    most probable class for all of its rows. By label now: by its place in the order of the probabilities, which is what
    whole batches went by; where nothing tells that order, by the number, as a row alone did.
    """
    observed = tried.output(label)
    labels = labels_of(observed)
    listed = graph_labels.get(label) or graph_labels.get(numbers) or ()
    seen = set(labels) | set(listed)
    known = {int(name) for name in spec.classes if is_plain_integer(name)}
    are_numbers = len(known) == len(spec.classes)
    if not are_numbers or not seen & known:  # no row was ever read by its label
        return _by_position(spec)
    by_number = [bool(int(name)) if observed.kind == "bool" else int(name) for name in spec.classes]
    if seen <= known:
        return _Classes(_paired(by_number, spec.classes), has_label=True)
    order = _order(listed, labels, tried.output(numbers).values, len(spec.classes))
    return _Classes(_paired(order or by_number, spec.classes), True, (Note("frozen_by_label", {"output": label}),))


def _order(listed: Sequence[Label], labels: Sequence[Label], numbers: Array, n_classes: int) -> Sequence[Label] | None:
    """The labels in the order of the probabilities: the graph's own list, or as the rows tried show it."""
    if len(listed) == n_classes:
        return listed
    try:
        learnt = labels_in_order(None, labels, numbers, n_classes=n_classes).values
    except ClassesUnknown:
        return None
    return learnt if len(learnt) == n_classes else None


# --- what today's rules would say -------------------------------------------------------------------------------------


def _open(run: Run, spec: ModelSpec, frozen: Meaning, graph_labels: GraphLabels) -> tuple[Note, ...]:
    """What is not certain, then what is merely told."""
    stated = _stated(spec, frozen)
    try:
        found = study(run, spec, stated, graph_labels=graph_labels)
    except (RolesRefused, ClassesRefused) as refusal:
        return (Note("open_refusal", {"code": refusal.note.code, "params": _plain(refusal.note.params)}),)
    except ModelFailed as failure:
        return (Note("open_check", {"code": "failed", "words": str(failure)}),)
    notes = [
        Note("open_question", {"code": one.code, "output": one.output, "seen": list(one.seen)})
        for one in found.questions
    ]
    notes += [
        Note("open_check", {"code": one.code, "params": _with_row(found.tried, one)})
        for one in found.checks
        if one.outcome == "refused"
    ]
    if not notes and not _is_same(found, frozen):
        now = [f"{one.name}: {one.role}" for one in found.meaning.outputs if one.role != "ignored"]
        notes.append(Note("open_other", {"outputs": now}))
    return (*notes, *(_told(found.tried, one) for one in found.checks if one.outcome == "told"))


def _stated(spec: ModelSpec, frozen: Meaning) -> StatedMeaning:
    """What an owner must have said. That it is a regression, an earlier release may have guessed: it is asked again."""
    if not frozen.classes:
        return StatedMeaning(targets=(spec.target,))
    return StatedMeaning(task=spec.task, classes=names_as_stated(frozen))


def _is_same(found: Studied, frozen: Meaning) -> bool:
    """Whether today's rules answer alike. A label that says the most probable class, as here, adds nothing."""
    disagrees = any(check.code in {"agreement", "threshold"} and check.outcome != "passed" for check in found.checks)
    left_out: set[Role] = {"ignored"} if disagrees or frozen.output("label") else {"ignored", "label"}
    now, then = (
        [(one.name, one.role) for one in meaning.outputs if one.role not in left_out]
        for meaning in (found.meaning, frozen)
    )
    if now != then or len(found.meaning.targets) != len(frozen.targets):
        return False
    return found.meaning.classes == frozen.classes or (
        frozen.output("label") is None and _names(found.meaning) == _names(frozen)
    )


def _names(meaning: Meaning) -> list[str]:
    return [one.name for one in meaning.classes]


def _told(tried: Tried, check: Check) -> Note:
    return Note(f"check_{check.code}", _with_row(tried, check))


def _with_row(tried: Tried, check: Check) -> dict[str, Any]:
    row = None if check.row is None else dict(tried.rows[check.row])
    return {**_plain(check.params), "row": row}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Fit for the database: a check may carry numpy's own numbers."""
    return {name: value.item() if hasattr(value, "item") else value for name, value in params.items()}
