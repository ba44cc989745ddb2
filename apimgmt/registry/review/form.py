"""The whole form of the review, and the form as metadata again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from apimgmt.registry.drafts import Found
from apimgmt.registry.metadata import DescriptionRefused, Metadata, metadata_from
from apimgmt.registry.review.asked_classes import (
    AskedClass,
    asked_classes,
    check_asked,
    stated_classes,
    take_asked,
)
from apimgmt.registry.review.classes import ClassRow, check_classes, class_rows, take_classes
from apimgmt.registry.review.columns import Row, column_rows, columns_document, take_columns, with_learnt_ranges
from apimgmt.registry.review.fields import Field, field
from apimgmt.registry.review.outputs import (
    OutputRow,
    TaskChoice,
    check_outputs,
    output_rows,
    stated_outputs,
    take_outputs,
    take_task,
    task_choice,
)
from apimgmt.registry.review.ticks import Tick, take_ticks, ticks_of
from contract.meaning import SINGLE_ROLES
from contract.model_spec import Task


@dataclass
class Correction:
    """`errors`: by part of the form; those of one row stand in the row."""

    rows: list[Row]
    outputs: list[OutputRow]
    classes: list[ClassRow]
    asked: list[AskedClass]
    task: TaskChoice | None
    target: Field
    can_rename_columns: bool
    ticks: list[Tick]
    errors: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def has_errors(self) -> bool:
        return bool(self.errors) or any(self._row_errors())

    def _row_errors(self) -> Iterator[str]:
        yield from (error for row in self.rows for error in row.errors)
        yield from (output.error for output in self.outputs)
        yield from (cell.error for output in self.outputs for cell in output.targets)
        yield from (one.error for one in self.classes)
        yield from (error for one in self.asked for error in (one.label.error, one.name.error))
        yield self.target.error
        yield from (tick.error for tick in self.ticks)
        yield self.task.error if self.task else ""

    @property
    def has_several_targets(self) -> bool:
        """Each has its own name beside its output."""
        return any(output.targets for output in self.outputs if output.role == "value")

    @property
    def has_other_roles(self) -> bool:
        """Whether the person chose other roles than were found."""
        return any(output.role != output.found for output in self.outputs)

    def note(self, error: DescriptionRefused) -> None:
        """Put a refusal beside the field it is about."""
        about = next((output for output in self.outputs if error.about and output.name == error.about), None)
        if about is not None:
            about.error = str(error)
        elif error.field in {"name", "outputs", "classes"}:
            self.errors[error.field] = str(error)
        else:
            self.errors["form"] = str(error)


def correction_of(found: Found, posted: Mapping[str, str] | None = None) -> Correction:
    """The form, filled with what was found or with what was posted."""
    correction = Correction(
        rows=column_rows(found),
        outputs=output_rows(found),
        classes=class_rows(found),
        asked=asked_classes(found),
        task=task_choice(found),
        target=field("target", found.spec.target),
        can_rename_columns=found.spec.input == "matrix",
        ticks=ticks_of(found),
    )
    if posted is not None:
        _take(correction, posted, found)
    return correction


def _take(correction: Correction, posted: Mapping[str, str], found: Found) -> None:
    correction.target.take(posted)
    take_columns(correction.rows, posted, can_rename=correction.can_rename_columns)
    take_outputs(correction.outputs, posted)
    take_classes(correction.classes, posted)
    take_asked(correction.asked, posted, found)
    take_ticks(correction.ticks, posted)
    if correction.task is not None:
        take_task(correction.task, posted)


def metadata_of(correction: Correction, found: Found) -> Metadata | None:
    """The corrected form as metadata; None after writing what is wrong beside its fields."""
    columns, sample = columns_document(correction.rows)
    check_classes(correction.classes)
    if _states_classes(correction) and (fault := check_asked(correction.asked, found)):
        correction.errors["classes"] = fault
    if fault := check_outputs(correction.outputs):
        correction.errors["outputs"] = fault
    if correction.task is not None and correction.task.chosen is None and not _predicts_numbers(correction):
        correction.task.error = _("Choose which of them it is.")
    correction.target.check_name(_("Name what is predicted."), is_twice=False)
    if correction.has_errors:
        return None
    spec = found.spec
    document: dict[str, Any] = {
        "target": correction.target.text,
        "columns": columns,
        "input": spec.input,
        "sample": sample,
        "description": spec.description,
    }
    if task := _task(correction, found):
        document["task"] = task
    if _keeps_classes(correction):
        document["classes"] = {one.label: one.name for one in correction.classes}
    elif _states_classes(correction):
        document["classes"] = stated_classes(correction.asked)
    if spec.score is not None:
        document["score"] = {"name": spec.score.name, "value": spec.score.value}
        if spec.score.rows is not None:
            document["score"]["rows"] = spec.score.rows
    try:
        metadata = with_learnt_ranges(metadata_from(document), correction.rows)
        return replace(metadata, outputs=stated_outputs(correction.outputs))
    except DescriptionRefused as error:
        for fault in error.faults:
            correction.errors["classes" if fault.startswith("classes") else "columns"] = fault
        return None


def _predicts_numbers(correction: Correction) -> bool:
    return any(output.role == "value" for output in correction.outputs)


def _task(correction: Correction, found: Found) -> Task | None:
    """None where other roles than before have to show it."""
    if _predicts_numbers(correction):
        return "regression"
    if correction.task is not None:
        return correction.task.chosen
    is_known = not correction.has_other_roles and not found.findings.are_classes_unknown
    return found.spec.task if is_known else None


def _states_classes(correction: Correction) -> bool:
    """Whether the question of the classes has to be answered: other roles may have made it void."""
    return bool(correction.asked) and (not correction.has_other_roles or bool(stated_classes(correction.asked)))


def _keeps_classes(correction: Correction) -> bool:
    """Whether the classes of the form are those of the roles that were chosen: one of their outputs is as before."""
    return bool(correction.classes) and any(
        output.role in SINGLE_ROLES and (output.found is None or output.found in SINGLE_ROLES)
        for output in correction.outputs
    )
