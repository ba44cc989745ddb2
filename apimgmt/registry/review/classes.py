"""The classes of a model under review: what the graph says, and what callers see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apimgmt.registry.agreement import proposed_names
from apimgmt.registry.drafts import Found
from apimgmt.registry.review.fields import fits_in_field, has_unseen
from inference.meaning.classes import label_text, names_alike

MOST_EDITABLE_CLASSES = 200
MAX_CLASS_NAME_LENGTH = 200


@dataclass
class ClassRow:
    """One class. `name` is what callers see; `found`: before the form."""

    key: str
    label: str
    name: str
    found: str
    is_editable: bool
    error: str = ""


def class_rows(found: Found) -> list[ClassRow]:
    """A row for each class, in the order of the probabilities; none for a regression, and while nobody knows them."""
    if found.spec.meaning is None or found.findings.are_classes_unknown:
        return []
    classes = found.spec.meaning.classes
    are_few = len(classes) <= MOST_EDITABLE_CLASSES
    proposed = proposed_names(found.findings, found.spec.meaning)
    return [
        ClassRow(
            key=f"class-{index}",
            label=label_text(one.label),
            name=proposed.get(label_text(one.label), one.name),
            found=one.name,
            is_editable=are_few and fits_in_field(one.name),
        )
        for index, one in enumerate(classes)
    ]


def take_classes(rows: Sequence[ClassRow], posted: Mapping[str, str]) -> None:
    """Put the names that were typed into the rows. A name that was not touched stays as it is, blanks and all."""
    for row in rows:
        typed = posted.get(f"{row.key}-name", row.found)
        if row.is_editable and typed != row.found:
            row.name = typed.strip()
        elif row.is_editable:
            row.name = row.found


def check_classes(rows: Sequence[ClassRow]) -> None:
    """Write what is wrong beside each name."""
    twice = names_alike([(row.label, row.name) for row in rows])
    for row in rows:
        if not row.name:
            row.error = _("The class needs a name.")
        elif row.name in twice:
            row.error = _("This name is there twice.")
        elif row.name != row.found and len(row.name) > MAX_CLASS_NAME_LENGTH:
            row.error = _("The name is longer than %d characters.") % MAX_CLASS_NAME_LENGTH
        elif row.name != row.found and has_unseen(row.name):
            row.error = _("The name has characters that can't be printed.")
