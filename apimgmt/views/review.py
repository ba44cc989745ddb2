"""Register model, the second step: what the model means as it was found, for correction; then it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from apimgmt.actors import Actor
from apimgmt.errors import Refused
from apimgmt.lifecycle.selectors import newest_version_number
from apimgmt.models import Model, Workspace
from apimgmt.registry import drafts, registration
from apimgmt.registry.drafts import Draft, Found
from apimgmt.registry.meaning_sentences import note_sentence, question_text
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.registry.registration import Prepared
from apimgmt.registry.review.asked_classes import classes_question
from apimgmt.registry.review.classes import MOST_EDITABLE_CLASSES
from apimgmt.registry.review.columns import MOST_EDITABLE_COLUMNS
from apimgmt.registry.review.form import Correction, correction_of
from apimgmt.registry.review.outputs import OutputRow
from apimgmt.registry.review.ticks import check_ticks, ticked_codes
from apimgmt.registry.review.trial import has_news, tried_again
from apimgmt.registry.storable import is_storable
from apimgmt.views.labels import ROLE_WORDS, TASK_WORDS, TYPE_WORDS
from apimgmt.views.layout import Crumb, get_or_post, render_page, see_other, signed_in
from apimgmt.views.registration import own_draft, permitted
from apimgmt.views.tried import agreement_view, check_lines, tried_table
from apimgmt.visibility import workspaces_visible_to
from inference.meaning.classes import label_text


@dataclass(frozen=True)
class Review:
    """An upload that was inspected, and the workspace that it is for."""

    draft: Draft
    found: Found
    workspace: Workspace


def _review(request: HttpRequest, token: str) -> Review | None:
    """None if the upload is gone, or was for a workspace that the person is no longer in."""
    draft = own_draft(request, token)
    if draft is None or draft.found is None:
        return None
    workspace = workspaces_visible_to(request.user).filter(pk=draft.workspace_id).first()
    return Review(draft, draft.found, workspace) if workspace else None


@signed_in
@get_or_post
def review(request: HttpRequest, token: str) -> HttpResponse:
    """What was found, for correction; POST tries it again, saves or discards it."""
    actor = permitted(request)
    reviewed = _review(request, token)
    if reviewed is None:
        messages.warning(request, _("The upload is no longer there. Choose the file again."))
        return see_other(reverse("model-register"))
    if request.method != "POST":
        return _page(request, reviewed, correction_of(reviewed.found))
    if "discard" in request.POST:
        drafts.forget_draft(reviewed.draft)
        return see_other(reverse("model-list"))
    return _tried_again(request, _named(reviewed, request.POST.get("name")), actor)


def _named(reviewed: Review, name: str | None) -> Review:
    """With the name that was typed; what is wrong with it is told later."""
    draft = reviewed.draft if name is None else msgspec.structs.replace(reviewed.draft, name=name)
    return Review(draft, reviewed.found, reviewed.workspace)


def _tried_again(request: HttpRequest, reviewed: Review, actor: Actor) -> HttpResponse:
    """Try what the form says; save it if nobody has to look once more."""
    correction = correction_of(reviewed.found, request.POST)
    _check_name(correction, reviewed.draft.name)
    if "try" not in request.POST and not correction.has_other_roles:
        check_ticks(correction.ticks)
    prepared = tried_again(reviewed.draft, reviewed.found, correction)
    if prepared is None or correction.has_errors:
        return _page(request, reviewed, correction, status=422)
    if "try" in request.POST:
        _with_findings(reviewed, prepared)
        return see_other(request.path)
    if prepared.findings.questions or has_news(prepared, reviewed.found, correction):
        return _ask(request, _with_findings(reviewed, prepared))
    return _save(request, reviewed, correction, prepared, actor)


def _check_name(correction: Correction, name: str) -> None:
    try:
        registration.checked_name(name)
    except DescriptionRefused as error:
        correction.note(error)


def _with_findings(reviewed: Review, prepared: Prepared) -> Review:
    """The draft with what the form said and what came of it, so that the next try starts from there."""
    found = drafts.found_of(prepared)
    renamed = zip(reviewed.found.spec.columns, found.spec.columns, strict=True)
    columns = {f"column {new.name}": reviewed.found.sources.get(f"column {old.name}", "") for old, new in renamed}
    if reviewed.found.findings.are_classes_unknown:
        columns["classes"] = _("this page")
    found = msgspec.structs.replace(
        found,
        sources={**found.sources, **reviewed.found.sources, **columns},
        proposed=reviewed.found.proposed or found.proposed,
    )
    draft = msgspec.structs.replace(reviewed.draft, found=found)
    drafts.save_draft(draft)
    return Review(draft, found, reviewed.workspace)


def _ask(request: HttpRequest, reviewed: Review) -> HttpResponse:
    """The page once more, with what the trial asks or tells."""
    correction = correction_of(reviewed.found)
    correction.errors["form"] = (
        _("Nothing is saved yet: the model was tried with what you chose, and a question is left.")
        if reviewed.found.findings.questions
        else _(
            "Nothing is saved yet: the model was tried with what you chose, and that showed something new. "
            "Save once more if it is right."
        )
    )
    return _page(request, reviewed, correction, status=422)


def _save(
    request: HttpRequest, reviewed: Review, correction: Correction, prepared: Prepared, actor: Actor
) -> HttpResponse:
    try:
        registered = registration.save(
            reviewed.workspace,
            reviewed.draft.name,
            prepared,
            confirmed=ticked_codes(correction.ticks),
            actor=actor,
        )
    except Refused as error:
        correction.errors["form"] = str(error)
        return _page(request, reviewed, correction, status=422)
    drafts.forget_draft(reviewed.draft)
    words = {"name": registered.model.name, "number": registered.version.number}
    messages.success(request, _("%(name)s v%(number)d is registered.") % words)
    return see_other(reverse("model-api", args=[registered.model.pk]))


def _page(request: HttpRequest, reviewed: Review, correction: Correction, *, status: int = 200) -> HttpResponse:
    draft, found = reviewed.draft, reviewed.found
    models = Model.objects.filter(workspace=reviewed.workspace, name=draft.name)
    known = models.first() if is_storable(draft.name) else None
    context = {
        "section": "models",
        "crumbs": [
            Crumb(_("Models"), reverse("model-list")),
            Crumb(_("Register model"), reverse("model-register")),
            Crumb(draft.filename),
        ],
        "draft": draft,
        "found": found,
        "workspace": reviewed.workspace,
        "correction": correction,
        "name": draft.name,
        "known": known,
        "next_number": (newest_version_number(known) if known else 0) + 1,
        "rows": [
            (row, [(kind, TYPE_WORDS[kind]) for kind in row.types], TYPE_WORDS[row.type]) for row in correction.rows
        ],
        "is_editable": len(correction.rows) <= MOST_EDITABLE_COLUMNS,
    }
    return render_page(
        request,
        "apimgmt/register_review.html",
        context | _meaning_context(found, correction) | _tried_context(found, correction),
        status=status,
    )


def _meaning_context(found: Found, correction: Correction) -> dict[str, Any]:
    asked = classes_question(found)
    task = correction.task
    return {
        "task": TASK_WORDS[found.spec.task],
        "tasks": [(kind, TASK_WORDS[kind]) for kind in task.choices] if task else [],
        "outputs": [(output, _choices(output)) for output in correction.outputs],
        "classes_question": question_text(asked) if asked else "",
        "labels_seen": [label_text(label) for label in asked.seen] if asked else [],
        "are_classes_editable": len(correction.classes) <= MOST_EDITABLE_CLASSES,
    }


def _choices(output: OutputRow) -> list[tuple[str, str]]:
    return [(role, str(ROLE_WORDS[role])) for role in output.choices]


def _tried_context(found: Found, correction: Correction) -> dict[str, Any]:
    outputs = {output.name for output in found.signature.outputs}
    return {
        "tried": tried_table(found, correction.classes),
        "checks": check_lines(found.findings.checks),
        "ticks": {tick.code: tick for tick in correction.ticks},
        "notes": [note_sentence(note) for note in found.findings.notes if note.params.get("output") not in outputs],
        "agreement": agreement_view(found),
    }
