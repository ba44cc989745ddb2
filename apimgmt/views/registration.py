"""Register model, the first step: upload a file. What was found in it is the next page (`views.review`)."""

from __future__ import annotations

from typing import Any

import msgspec
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apimgmt.actors import Actor, actor_of
from apimgmt.errors import NotAllowed, Refused
from apimgmt.models import Workspace
from apimgmt.registry import drafts, registration
from apimgmt.registry.convertible import FORMATS
from apimgmt.registry.drafts import Draft
from apimgmt.registry.file_kinds import EXPORT_SCRIPT, FileRefused, PickleRefused, export_lines
from apimgmt.registry.metadata import DescriptionRefused, parse_metadata
from apimgmt.registry.registration import Prepared
from apimgmt.roles import REGISTER
from apimgmt.views.layout import Crumb, chosen_workspace, get_or_post, render_page, see_other, signed_in
from apimgmt.views.registration_forms import RegisterForm
from apimgmt.visibility import models_visible_to, workspaces_visible_to


def own_draft(request: HttpRequest, token: str) -> Draft | None:
    """The person's own upload of this token, if it is still there."""
    user_id = request.user.pk
    return drafts.load_draft(token, user_id) if user_id is not None else None


def permitted(request: HttpRequest) -> Actor:
    """The actor, if permitted to register models; else the 403 page that says who is."""
    actor = actor_of(request)
    try:
        actor.require(REGISTER)
    except NotAllowed as error:
        raise PermissionDenied(str(error)) from None
    return actor


@signed_in
@get_or_post
def register(request: HttpRequest) -> HttpResponse:
    """The upload. What was found is the next page."""
    actor = permitted(request)
    workspaces = workspaces_visible_to(request.user)
    if request.method != "POST":
        return _upload_page(request, RegisterForm(workspaces=workspaces, initial=_initial(request, list(workspaces))))
    kept = own_draft(request, request.POST.get("kept", ""))
    form = RegisterForm(request.POST, request.FILES, workspaces=workspaces, kept=kept)
    if not form.is_valid():
        return _upload_page(request, form, kept=kept, status=422)
    try:
        draft = _inspected(form, kept, actor)
    except _NotInspected as failure:
        form.add_error(_field_of(failure.error, form), failure.error.faults)
        refused = failure.error if isinstance(failure.error, FileRefused) else None
        return _upload_page(request, form, kept=failure.kept, refused=refused, status=422)
    return see_other(reverse("model-register-review", args=[draft.token]))


class _NotInspected(Exception):
    """What was refused, and the upload that need not be repeated, if that was not the reason."""

    def __init__(self, error: DescriptionRefused, kept: Draft | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.kept = kept


def _field_of(error: DescriptionRefused, form: RegisterForm) -> str:
    """Outputs and classes have no field in this step: they are stated in the metadata file, or the model's own."""
    if error.field in form.fields:
        return error.field
    return "metadata" if form.cleaned_data["metadata"] is not None else "file"


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
            staged = registration.stage(upload.chunks(), sample_csv=values["sample"], target=values["target"] or None)
            filename = upload.name
        except DescriptionRefused as error:
            raise _NotInspected(error, None) from None
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
    draft = msgspec.structs.replace(draft, found=drafts.found_of(prepared))
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
    refused: FileRefused | None = None,
    status: int = 200,
) -> HttpResponse:
    context = {
        "section": "models",
        "crumbs": [Crumb(_("Models"), reverse("model-list")), Crumb(_("Register model"))],
        "form": form,
        "kept": kept,
        "refused": refused,
        "lines": _lines_to_copy(refused),
        "has_script": isinstance(refused, PickleRefused),
        "formats": FORMATS,
        "known_names": models_visible_to(request.user).values_list("name", flat=True).distinct().order_by("name"),
        "has_one_workspace": workspaces_visible_to(request.user).count() == 1,
    }
    return render_page(request, "apimgmt/register.html", context, status=status)


def _lines_to_copy(refused: FileRefused | None) -> tuple[str, ...]:
    """The script of a pickle's two lines is downloaded from the page, so it has no folder before it."""
    if isinstance(refused, PickleRefused):
        return export_lines(refused.filename, script="export_sklearn.py")
    return refused.lines if refused else ()


@signed_in
@require_safe
def export_script(request: HttpRequest) -> HttpResponse:
    """The script that a model's owner runs, for those who have no checkout of this project."""
    path = settings.BASE_DIR / EXPORT_SCRIPT
    disposition = {"Content-Disposition": f'attachment; filename="{path.name}"'}
    return HttpResponse(path.read_bytes(), content_type="text/x-python", headers=disposition)
