"""The outputs of a model under review: the role of each, and the question where two readings are left."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apimgmt.registry.drafts import Found
from apimgmt.registry.meaning_sentences import note_sentence, question_text
from apimgmt.registry.metadata import StatedOutputs
from apimgmt.registry.review.fields import Field, field
from contract.meaning import ROLES, SINGLE_ROLES, Note, Output, Role
from contract.model_spec import Task
from inference.signature import Kind, Port

_FITTING: dict[Kind, frozenset[Role]] = {
    "float": frozenset({"value", "probabilities", "scores"}),
    "int": frozenset({"value", "label", "scores"}),
    "string": frozenset({"label"}),
    "bool": frozenset({"label"}),
    "map": frozenset({"probabilities", "scores"}),
    "other": frozenset(),
}


@dataclass
class OutputRow:
    """One output. `role`: None while a question is open that nobody has answered; `found`: before the form."""

    key: str
    name: str
    came: Port
    role: Role | None
    found: Role | None
    choices: tuple[Role, ...]
    question: str = ""
    notes: tuple[str, ...] = ()
    targets: list[Field] = dataclasses.field(default_factory=list)
    error: str = ""


@dataclass
class TaskChoice:
    """Which of two tasks it is, where the outputs don't show it."""

    question: str
    choices: tuple[Task, ...]
    chosen: Task | None = None
    error: str = ""


def output_rows(found: Found) -> list[OutputRow]:
    """A row for each output, in the graph's order."""
    ports = {port.name: port for port in found.signature.outputs}
    outputs = found.spec.meaning.outputs if found.spec.meaning else ()
    return [_row(found, index, output, ports[output.name]) for index, output in enumerate(outputs)]


def _row(found: Found, index: int, output: Output, port: Port) -> OutputRow:
    question = next((one for one in found.findings.questions if one.output == output.name and one.choices), None)
    role = None if question else output.role
    offered = {*fitting_roles(port), output.role, *(question.choices if question else ())}
    targets = output.targets if role == "value" and _n_targets(found) > 1 else ()
    return OutputRow(
        key=f"output-{index}",
        name=output.name,
        came=port,
        role=role,
        found=role,
        choices=tuple(role for role in ROLES if role in offered),
        question=question_text(question) if question else "",
        notes=tuple(note_sentence(note) for note in found.findings.notes if is_about(note, output.name)),
        targets=[field(f"output-{index}-target-{column}", name) for column, name in enumerate(targets)],
    )


def _n_targets(found: Found) -> int:
    return len(found.spec.meaning.targets) if found.spec.meaning else 0


def is_about(note: Note, output: str) -> bool:
    """Whether something that is told is about this output."""
    return note.params.get("output") == output


def fitting_roles(port: Port) -> frozenset[Role]:
    """Roles that an output of this type and shape could have; whether its numbers fit too, only a trial shows."""
    unfit: frozenset[Role] = frozenset({"label"}) if (port.width or 1) > 1 else frozenset()
    ignored: frozenset[Role] = frozenset({"ignored"})
    return (_FITTING[port.kind] | ignored) - unfit


def task_choice(found: Found) -> TaskChoice | None:
    """None where nobody has to be asked."""
    question = next((one for one in found.findings.questions if one.tasks), None)
    return TaskChoice(question_text(question), question.tasks) if question else None


def take_outputs(rows: Sequence[OutputRow], posted: Mapping[str, str]) -> None:
    """Put the roles and names that were chosen into the rows."""
    for row in rows:
        chosen = posted.get(f"{row.key}-role")
        row.role = next((role for role in row.choices if role == chosen), row.role)
        for cell in row.targets:
            cell.take(posted)


def take_task(choice: TaskChoice, posted: Mapping[str, str]) -> None:
    """Put the chosen task in."""
    choice.chosen = next((task for task in choice.choices if task == posted.get("task")), None)


def check_outputs(rows: Sequence[OutputRow]) -> str:
    """Write what is wrong beside each role; what is wrong with all of them together is returned."""
    roles = [row.role for row in rows]
    for row in rows:
        if row.role is None:
            row.error = _("Choose what this output is.")
        elif row.role in SINGLE_ROLES and roles.count(row.role) > 1:
            row.error = _("Only one output can have this role.")
        elif row.role == "value" and SINGLE_ROLES & set(roles):
            row.error = _("A model predicts either numbers or a class: choose another role here, or for the others.")
        _check_targets(rows, row)
    if rows and set(roles) == {"ignored"}:
        return _("At least one output has to be the prediction.")
    return ""


def _check_targets(rows: Sequence[OutputRow], row: OutputRow) -> None:
    names = [cell.text for other in rows for cell in other.targets if other.role == "value"]
    for cell in row.targets if row.role == "value" else ():
        cell.check_name(_("Name what is predicted."), is_twice=names.count(cell.text) > 1)


def stated_outputs(rows: Sequence[OutputRow]) -> StatedOutputs:
    """The role of every output, and the names of the predicted numbers where all are known."""
    named: dict[Role, list[str]] = {role: [row.name for row in rows if row.role == role] for role in ROLES}
    values = [row for row in rows if row.role == "value"]
    are_targets_known = all(row.targets for row in values)
    return StatedOutputs(
        values=tuple(named["value"]),
        label=next(iter(named["label"]), None),
        probabilities=next(iter(named["probabilities"]), None),
        scores=next(iter(named["scores"]), None),
        ignored=tuple(named["ignored"]),
        targets=tuple(cell.text for row in values for cell in row.targets) if are_targets_known else (),
    )
