"""The question which classes a model has, as fields: its labels in the order of its numbers, and what callers see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apimgmt.registry.drafts import Found
from apimgmt.registry.meaning_sentences import refusal_sentence
from apimgmt.registry.metadata import unstorable_sentence
from apimgmt.registry.review.classes import MAX_CLASS_NAME_LENGTH, MOST_EDITABLE_CLASSES
from apimgmt.registry.review.fields import Field, field
from apimgmt.registry.storable import is_storable
from inference.meaning.classes import ClassesRefused, label_text, names_alike, typed_label
from inference.sandbox.inspection_messages import QuestionFound

N_SPARE = 5
"""Empty lines below the labels that came, where the number of classes is unknown."""


@dataclass
class AskedClass:
    """One class. `position`: which number of the output is its own, from 1; None where there are no numbers."""

    position: int | None
    label: Field
    name: Field

    @property
    def is_empty(self) -> bool:
        return not self.label.text and not self.name.text


def _asked(index: int, position: int | None, label: str = "") -> AskedClass:
    return AskedClass(position, field(f"asked-{index}-label", label), field(f"asked-{index}-name", label))


def classes_question(found: Found) -> QuestionFound | None:
    """The open question; None where the classes are known."""
    return next((one for one in found.findings.questions if one.code == "classes"), None)


def asked_classes(found: Found) -> list[AskedClass]:
    """A line for each number; without numbers one for each label that came, and some to spare. None for too many."""
    asked = classes_question(found)
    if asked is None or max(asked.n_classes or 0, len(asked.seen)) > MOST_EDITABLE_CLASSES:
        return []
    if asked.n_classes is not None:  # which number belongs to which label is the question: nothing is filled in
        return [_asked(index, index + 1) for index in range(asked.n_classes)]
    labels = [*map(label_text, asked.seen), *([""] * N_SPARE)]
    return [_asked(index, None, label) for index, label in enumerate(labels)]


def take_asked(rows: Sequence[AskedClass], posted: Mapping[str, str], found: Found) -> None:
    """Put in what was typed. A label that came is known without the line breaks and blanks that a field takes away."""
    asked = classes_question(found)
    seen = {_as_typed(label_text(label)): label_text(label) for label in (asked.seen if asked else ())}
    for row in rows:
        row.label.take(posted)
        row.name.take(posted)
        row.label.text = seen.get(row.label.text, row.label.text)


def _as_typed(label: str) -> str:
    return label.replace("\r", "").replace("\n", "").strip()


def check_asked(rows: Sequence[AskedClass], found: Found) -> str:
    """Write what is wrong beside each field; what is wrong with all of them together is returned."""
    asked = classes_question(found)
    if asked is None or not rows:
        return ""
    filled = [row for row in rows if row.position is not None or not row.is_empty]
    labels = Counter(row.label.text for row in filled)
    twice = names_alike([(row.label.text, shown_name(row)) for row in filled])
    for row in filled:
        row.label.error = _label_error(row.label.text, asked, labels)
        if row.name.text:
            row.name.check_name("", is_twice=row.name.text in twice)
        if not row.name.is_as_found and len(row.name.text) > MAX_CLASS_NAME_LENGTH:
            row.name.error = _("The name is longer than %d characters.") % MAX_CLASS_NAME_LENGTH
    if any(row.label.error or row.name.error for row in filled):
        return ""
    if missing := [text for text in map(label_text, asked.seen) if text not in labels]:
        return _("The model answered with these labels, which are missing here: %s.") % ", ".join(missing[:10])
    return "" if len(filled) > 1 else _("A classification has at least two classes.")


def _label_error(label: str, asked: QuestionFound, counts: Counter[str]) -> str:
    if not label:
        return _("Which label is it?")
    if counts[label] > 1:
        return _("This label is there twice.")
    if not is_storable(label):
        return unstorable_sentence(label)
    try:
        typed_label(label, type(asked.seen[0]) if asked.seen else str)
    except ClassesRefused as refused:
        return refusal_sentence(refused.note)
    return ""


def shown_name(row: AskedClass) -> str:
    """What callers see: the label itself where no name was typed."""
    return row.name.text or row.label.text


def stated_classes(rows: Sequence[AskedClass]) -> dict[str, str]:
    """Name by label, in the order of the numbers; {} where nothing was said."""
    return {row.label.text: shown_name(row) for row in rows if not row.is_empty}
