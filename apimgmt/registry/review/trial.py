"""The corrected form, tried again: what was stated on the page is held against the model before it is saved."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from apimgmt.registry import registration
from apimgmt.registry.confirmables import confirmables_of
from apimgmt.registry.drafts import Draft, Found
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.registry.registration import Prepared
from apimgmt.registry.review.columns import owned_rows
from apimgmt.registry.review.form import Correction, metadata_of
from apimgmt.registry.review.ticks import ticked_codes
from contract.meaning import Meaning, Note
from inference.sandbox.inspection_messages import CheckFound


def tried_again(draft: Draft, found: Found, correction: Correction) -> Prepared | None:
    """None after writing what is wrong beside the fields."""
    metadata = metadata_of(correction, found)
    if metadata is None:
        return None
    rows = owned_rows(correction.rows, found.owned)
    if correction.has_errors:
        return None
    try:
        prepared = registration.prepare(draft.staged, draft.filename, metadata=metadata, rows=rows)
    except DescriptionRefused as error:
        correction.note(error)
        return None
    return _with_notes(prepared, found)


def _with_notes(prepared: Prepared, found: Found) -> Prepared:
    """What was told of an output stays told while its role does: once it is stated, the trial has nothing to say."""
    before, spec = found.spec.meaning, prepared.description.spec
    if before is None or spec.meaning is None:
        return prepared
    kept = _kept(found.findings.notes, before, spec.meaning)
    notes = (*kept, *(note for note in spec.meaning.notes if note not in kept))
    meaning = msgspec.structs.replace(spec.meaning, notes=notes)
    description = replace(prepared.description, spec=msgspec.structs.replace(spec, meaning=meaning))
    shown = (*kept, *(note for note in prepared.findings.notes if note not in kept))
    return replace(prepared, description=description, findings=replace(prepared.findings, notes=shown))


def _kept(notes: tuple[Note, ...], before: Meaning, after: Meaning) -> tuple[Note, ...]:
    was = {output.name: output.role for output in before.outputs}
    unchanged = {output.name for output in after.outputs if was.get(output.name) == output.role}
    return tuple(note for note in notes if note.params.get("output") in unchanged)


def has_news(prepared: Prepared, found: Found, correction: Correction) -> bool:
    """Whether the trial tells something that the page has not shown: its owner has to see it before it is saved.

    What was ticked was said of the roles that the page showed, not of others.
    """
    told = _told(prepared.findings.checks) - _told(found.findings.checks)
    to_confirm = confirmables_of(prepared.findings, prepared.description.spec.meaning)
    ticked = set() if correction.has_other_roles else ticked_codes(correction.ticks)
    return bool(told) or any(one.code not in ticked for one in to_confirm)


def _told(checks: tuple[CheckFound, ...]) -> set[str]:
    return {check.code for check in checks if check.outcome == "told"}
