"""Register model: upload, look at what was found, correct it, save it. Both steps are plain forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apimgmt.actors import Actor, actor_of
from apimgmt.errors import NotAllowed, Refused
from apimgmt.lifecycle.selectors import newest_version_number
from apimgmt.models import Model, Workspace
from apimgmt.registry import drafts, registration
from apimgmt.registry.drafts import Draft, Found
from apimgmt.registry.file_kinds import EXPORT_SCRIPT, PickleRefused, export_lines
from apimgmt.registry.metadata import DescriptionRefused, parse_metadata
from apimgmt.registry.registration import Prepared, Registered
from apimgmt.registry.review import MOST_EDITABLE_COLUMNS, Correction, correction_of, metadata_of
from apimgmt.roles import REGISTER
from apimgmt.views.labels import TASK_WORDS, TYPE_WORDS
from apimgmt.views.layout import Crumb, chosen_workspace, get_or_post, render_page, see_other, signed_in
from apimgmt.views.registration_forms import RegisterForm
from apimgmt.visibility import models_visible_to, workspaces_visible_to

MOST_SHOWN_PROBABILITIES = 20


def _draft(request: HttpRequest, token: str) -> Draft | None:
    """The person's own upload of this token, if it is still there."""
    user_id = request.user.pk
    return drafts.load_draft(token, user_id) if user_id is not None else None


def _permitted(request: HttpRequest) -> Actor:
    """The actor, if permitted to register models; else the 403 page that says who is."""
    actor = actor_of(request)
    try:
        actor.require(REGISTER)
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from None
    return actor


def _see_other(name: str, **arguments: Any) -> HttpResponse:
    return see_other(reverse(name, kwargs=arguments))


@signed_in
@get_or_post
def register(request: HttpRequest) -> HttpResponse:
    """The upload. What was found is the next page."""
    actor = _permitted(request)
    workspaces = workspaces_visible_to(request.user)
    if request.method != "POST":
        return _upload_page(request, RegisterForm(workspaces=workspaces, initial=_initial(request, list(workspaces))))
    kept = _draft(request, request.POST.get("kept", ""))
    form = RegisterForm(request.POST, request.FILES, workspaces=workspaces, kept=kept)
    if not form.is_valid():
        return _upload_page(request, form, kept=kept, status=422)
    try:
        draft = _inspected(form, kept, actor)
    except _NotInspected as failure:
        form.add_error(failure.error.field, failure.error.faults)
        pickle = failure.error if isinstance(failure.error, PickleRefused) else None
        return _upload_page(request, form, kept=failure.kept, pickle=pickle, status=422)
    return _see_other("model-register-review", token=draft.token)


class _NotInspected(Exception):
    """What was refused, and the upload that need not be repeated, if that was not the reason."""

    def __init__(self, error: DescriptionRefused, kept: Draft | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.kept = kept


def _inspected(form: RegisterForm, kept: Draft | None, actor: Actor) -> Draft:
    """Take the upload in, inspect it, and keep what was found. Raises `_NotInspected`."""
    values = form.cleaned_data
    draft = _taken_in(values, kept, actor)
    try:
        registration.checked_name(values["name"])
        metadata = parse_metadata(values["metadata"]) if values["metadata"] is not None else None
        prepared = registration.prepare(
            draft.staged,
            draft.filename,
            metadata=metadata,
            sample_csv=values["sample"],
            target=values["target"] or None,
        )
    except DescriptionRefused as error:
        if error.field == "file":
            drafts.forget_draft(draft)
            raise _NotInspected(error, None) from None
        drafts.save_draft(draft)
        raise _NotInspected(error, draft) from None
    return _with_found(draft, prepared)


def _taken_in(values: dict[str, Any], kept: Draft | None, actor: Actor) -> Draft:
    """A draft of what was just uploaded, or of what an earlier try has brought. Raises `_NotInspected`."""
    upload = values["file"]
    staged, filename = (kept.staged, kept.filename) if kept is not None else (None, "")
    if upload:
        if kept is not None:
            drafts.forget_draft(kept)
        try:
            staged, filename = registration.stage(upload.chunks()), upload.name
        except Refused as error:
            raise _NotInspected(DescriptionRefused("file", [str(error)]), None) from None
    if staged is None or actor.user is None:
        raise TypeError("the form lets nobody through without a file")
    return Draft(
        token=staged.token,
        sha256=staged.sha256,
        size_bytes=staged.size_bytes,
        filename=filename,
        user_id=actor.user.pk,
        workspace_id=values["workspace"].pk,
        name=values["name"],
    )


def _with_found(draft: Draft, prepared: Prepared) -> Draft:
    found = Found(
        prepared.description.spec,
        prepared.signature,
        prepared.description.sources,
        prepared.self_test.prediction,
        prepared.self_test.row_us,
    )
    fields = {name: getattr(draft, name) for name in draft.__struct_fields__}
    draft = Draft(**(fields | {"found": found}))
    drafts.save_draft(draft)
    return draft


def _initial(request: HttpRequest, workspaces: list[Workspace]) -> dict[str, Any]:
    """`?model=ID` asks for that model's next version."""
    wanted = request.GET.get("model", "")
    model = (
        models_visible_to(request.user).filter(pk=int(wanted)).first()
        if wanted.isascii() and wanted.isdigit()
        else None
    )
    if model is not None:
        return {"name": model.name, "workspace": model.workspace}
    return {"workspace": chosen_workspace(request, workspaces) or next(iter(workspaces), None)}


def _upload_page(
    request: HttpRequest,
    form: RegisterForm,
    *,
    kept: Draft | None = None,
    pickle: PickleRefused | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "section": "models",
        "crumbs": [Crumb(_("Models"), reverse("model-list")), Crumb(_("Register model"))],
        "form": form,
        "kept": kept,
        "pickle": pickle,
        "export_lines": export_lines(pickle.filename, script="export_sklearn.py") if pickle else (),
        "known_names": models_visible_to(request.user).values_list("name", flat=True).distinct().order_by("name"),
        "has_one_workspace": workspaces_visible_to(request.user).count() == 1,
    }
    return render_page(request, "apimgmt/register.html", context, status=status)


@dataclass(frozen=True)
class Review:
    """An upload that was inspected, and the workspace that it is for."""

    draft: Draft
    found: Found
    workspace: Workspace


def _review(request: HttpRequest, token: str) -> Review | None:
    """None if the upload is gone, or was for a workspace that the person is no longer in."""
    draft = _draft(request, token)
    if draft is None or draft.found is None:
        return None
    workspace = workspaces_visible_to(request.user).filter(pk=draft.workspace_id).first()
    return Review(draft, draft.found, workspace) if workspace else None


@signed_in
@get_or_post
def review(request: HttpRequest, token: str) -> HttpResponse:
    """What was found, for correction; POST saves or discards it."""
    actor = _permitted(request)
    reviewed = _review(request, token)
    if reviewed is None:
        messages.warning(request, _("The upload is no longer there. Choose the file again."))
        return _see_other("model-register")
    if request.method != "POST":
        return _review_page(request, reviewed, correction_of(reviewed.found), reviewed.draft.name)
    if "discard" in request.POST:
        drafts.forget_draft(reviewed.draft)
        return _see_other("model-list")
    return _save(request, reviewed, actor)


def _save(request: HttpRequest, reviewed: Review, actor: Actor) -> HttpResponse:
    correction = correction_of(reviewed.found, request.POST)
    name = request.POST.get("name", reviewed.draft.name)
    registered = _registered(reviewed, correction, name, actor)
    if registered is None:
        return _review_page(request, reviewed, correction, name, status=422)
    words = {"name": registered.model.name, "number": registered.version.number}
    messages.success(request, _("%(name)s v%(number)d is registered.") % words)
    return _see_other("model-api", model_id=registered.model.pk)


def _registered(reviewed: Review, correction: Correction, name: str, actor: Actor) -> Registered | None:
    """None if something is wrong; `correction.errors`, or a row's errors, say what."""
    metadata = metadata_of(correction, reviewed.found)
    try:
        name = registration.checked_name(name)
        if metadata is None:
            return None
        prepared = registration.prepare(reviewed.draft.staged, reviewed.draft.filename, metadata=metadata)
        registered = registration.save(reviewed.workspace, name, prepared, actor=actor)
    except Refused as error:
        is_about_name = isinstance(error, DescriptionRefused) and error.field == "name"
        correction.errors["name" if is_about_name else "form"] = str(error)
        return None
    drafts.forget_draft(reviewed.draft)
    return registered


def _review_page(
    request: HttpRequest, reviewed: Review, correction: Correction, name: str, *, status: int = 200
) -> HttpResponse:
    draft, found = reviewed.draft, reviewed.found
    known = Model.objects.filter(workspace=reviewed.workspace, name=name).first()
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
        "name": name,
        "known": known,
        "next_number": (newest_version_number(known) if known else 0) + 1,
        "task": TASK_WORDS[found.spec.task],
        "rows": [
            (row, [(kind, TYPE_WORDS[kind]) for kind in row.types], TYPE_WORDS[row.type]) for row in correction.rows
        ],
        "is_editable": len(correction.rows) <= MOST_EDITABLE_COLUMNS,
        "probabilities": list(found.prediction.get("probabilities", {}).items())[:MOST_SHOWN_PROBABILITIES],
        "has_errors": bool(correction.errors) or any(row.errors for row in correction.rows),
    }
    return render_page(request, "apimgmt/register_review.html", context, status=status)


@signed_in
@require_safe
def export_script(request: HttpRequest) -> HttpResponse:
    """The script that a model's owner runs, for those who have no checkout of this project."""
    path = settings.BASE_DIR / EXPORT_SCRIPT
    disposition = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return HttpResponse(path.read_bytes(), content_type="text/x-python", headers=disposition)
