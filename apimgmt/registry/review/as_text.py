"""What the review page shows of a model's meaning, as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.utils.translation import gettext as _

from apimgmt.registry.agreement import in_words_of_sample, words_of_sample
from apimgmt.registry.meaning import Findings
from apimgmt.registry.meaning_sentences import check_sentence, check_title, note_sentence
from contract.meaning import Meaning, Output
from contract.model_spec import ModelSpec
from inference.meaning.classes import label_text
from inference.sandbox.inspection_messages import Agreement, CheckFound

MOST_CLASSES = 20


def review_lines(spec: ModelSpec, findings: Findings) -> list[str]:
    """Task, outputs, classes, checks and agreement. Roles and tasks are named as options and metadata name them."""
    meaning = spec.meaning or Meaning(outputs=())
    return [
        f"{_('Task')}: {spec.task}",
        *_output_lines(meaning, findings),
        *_class_lines(meaning),
        *_check_lines(findings),
        *_agreement_lines(meaning, findings.agreement),
    ]


def told_lines(spec: ModelSpec, findings: Findings) -> list[str]:
    """Only what the owner has to hear of: notes, checks that something broke, words that the sample has otherwise."""
    told = [f"! {note_sentence(note)}" for note in findings.notes]
    told += [f"! {check_sentence(check)}" for check in findings.checks if check.outcome == "told"]
    return told + _proposal_lines(spec.meaning or Meaning(outputs=()), findings.agreement)


def _output_lines(meaning: Meaning, findings: Findings) -> Iterator[str]:
    yield f"{_('Outputs')}:"
    for output in meaning.outputs:
        yield f"  {output.name}: {_role(output)}"
        for note in findings.notes:
            if note.params.get("output") == output.name:
                yield f"    ! {note_sentence(note)}"


def _role(output: Output) -> str:
    return f"{output.role} ({', '.join(output.targets)})" if output.targets else output.role


def _class_lines(meaning: Meaning) -> Iterator[str]:
    if meaning.classes:
        yield f"{_('Classes')} ({_('the model says')} → {_('callers see')}):"
    for one in meaning.classes[:MOST_CLASSES]:
        yield f"  {_in_one_line(label_text(one.label))} → {_in_one_line(one.name)}"
    if len(meaning.classes) > MOST_CLASSES:
        yield "  " + _("… and %d more") % (len(meaning.classes) - MOST_CLASSES)


def _in_one_line(text: str) -> str:
    """A line break in a name would look like another class."""
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)


def _check_lines(findings: Findings) -> Iterator[str]:
    yield _("Checks on %d rows:") % findings.n_rows
    yield from dict.fromkeys(f"  {_check(check)}" for check in findings.checks)


def _check(check: CheckFound) -> str:
    return f"! {check_sentence(check)}" if check.outcome == "told" else f"✓ {check_title(check)}"


def _agreement_lines(meaning: Meaning, found: Agreement | None) -> Iterator[str]:
    if found is None:
        return
    if found.agreeing is None:
        r2 = _("none: the target never changes") if found.r2 is None else f"{found.r2:.4f}"
        words = {"r2": r2, "error": f"{found.mean_error:.4g}", "rows": found.rows}
        yield _("R² %(r2)s, mean error %(error)s on %(rows)d rows of the sample.") % words
        return
    agreement = in_words_of_sample(found, meaning)
    words = {"agreeing": agreement.agreeing, "rows": agreement.rows}
    yield _("%(agreeing)d of %(rows)d agree with the sample.") % words
    yield from _confusion_lines(agreement)
    yield from _proposal_lines(meaning, found)


def _confusion_lines(agreement: Agreement) -> Iterator[str]:
    """Lines: what the sample says; columns: what the model answers."""
    names = agreement.names[:MOST_CLASSES]
    first = max(map(len, names), default=0)
    widths = [max(len(name), 5) for name in names]
    yield "  " + " " * first + "".join(f"  {name:>{width}}" for name, width in zip(names, widths, strict=True))
    for name, counts in zip(names, agreement.counts, strict=False):
        cells = "".join(f"  {count:>{width}}" for count, width in zip(counts, widths, strict=False))
        yield f"  {name:<{first}}{cells}"


def _proposal_lines(meaning: Meaning, agreement: Agreement | None) -> list[str]:
    words = words_of_sample(agreement, meaning) if agreement is not None else {}
    if all(name == word for name, word in words.items()):
        return []
    pairs = ", ".join(f"{name} → {word}" for name, word in words.items())
    return ["! " + _('The sample has other words for the classes: %s. State them in "classes" to show them.') % pairs]
