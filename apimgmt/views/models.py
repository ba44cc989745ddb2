"""Model list and model page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apimgmt.calling import examples
from apimgmt.lifecycle.selectors import current_api
from apimgmt.models import Model, ModelVersion, PredictionAPI
from apimgmt.registry import freezing
from apimgmt.roles import REGISTER
from apimgmt.views.columns import column_rows
from apimgmt.views.labels import STATUS_TONES, TASK_WORDS
from apimgmt.views.layout import (
    WORKSPACE_KEY,
    Crumb,
    chosen_workspace,
    found_model,
    model_crumbs,
    render_page,
    signed_in,
)
from apimgmt.views.meaning import MeaningView, meaning_view
from apimgmt.visibility import models_visible_to, workspaces_visible_to
from contract.model_spec import ModelSpec


@dataclass(frozen=True)
class ModelRow:
    """One line of the model list."""

    model: Model
    api: PredictionAPI | None
    tone: str


@dataclass(frozen=True)
class VersionRow:
    """One version with its description in words."""

    version: ModelVersion
    spec: ModelSpec
    task: str
    is_served: bool
    meaning: MeaningView | None


@signed_in
@require_safe
def model_list(request: HttpRequest) -> HttpResponse:
    """The models of the person's workspaces, narrowed to the one that was chosen above."""
    wanted = request.GET.get("workspace")
    if wanted is not None:
        request.session[WORKSPACE_KEY] = int(wanted) if wanted.isascii() and wanted.isdigit() else None
    workspaces = list(workspaces_visible_to(request.user))
    chosen = chosen_workspace(request, workspaces)
    models = models_visible_to(request.user)
    if chosen is not None:
        models = models.filter(workspace=chosen)
    rows = [_model_row(model) for model in models.order_by("workspace__name", "name")]
    return render_page(
        request,
        "apimgmt/model_list.html",
        {
            "section": "models",
            "rows": rows,
            "chosen": chosen,
            "shows_workspace": chosen is None and len(workspaces) > 1,
            "has_workspace": bool(workspaces),
            "may_register": request.user.has_perm(REGISTER),
            "has_open_meanings": freezing.has_open(ModelVersion.objects.filter(model__in=models)),
        },
    )


def _model_row(model: Model) -> ModelRow:
    api = model.current_apis[0] if model.current_apis else None  # type: ignore[attr-defined]  # from models_visible_to
    return ModelRow(model, api, STATUS_TONES[api.status] if api else "grey")


@signed_in
@require_safe
def model_detail(request: HttpRequest, model_id: int) -> HttpResponse:
    """Overview: what the newest version takes and gives."""
    model = found_model(request, model_id)
    version = model.versions.first()
    context: dict[str, Any] = {"section": "models", "model": model, "tab": "overview", "crumbs": model_crumbs(model)}
    if version is not None:
        spec = version.described()
        context |= {
            "version": version,
            "spec": spec,
            "task": TASK_WORDS[spec.task],
            "meaning": meaning_view(spec),
            "columns": column_rows(spec),
            "sample": examples.sample_row(spec),
        }
    return render_page(request, "apimgmt/model_detail.html", context | head_context(model))


def head_context(model: Model) -> dict[str, Any]:
    """For the head of a model's pages: its API, if there is one, and the colour of its status."""
    api = current_api(model)
    return {"api": api, "tone": STATUS_TONES[api.status] if api else "grey"}


@signed_in
@require_safe
def model_versions(request: HttpRequest, model_id: int) -> HttpResponse:
    """Every registered version, newest first."""
    model = found_model(request, model_id)
    head = head_context(model)
    served = head["api"].version_id if head["api"] else None
    context = {
        "section": "models",
        "model": model,
        "tab": "versions",
        "crumbs": model_crumbs(model, Crumb(_("Versions"))),
        "rows": [_version_row(version, served) for version in model.versions.all()],
        "has_open_meanings": freezing.has_open(model.versions.all()),
    }
    return render_page(request, "apimgmt/model_versions.html", context | head)


def _version_row(version: ModelVersion, served: int | None) -> VersionRow:
    spec = version.described()
    return VersionRow(version, spec, str(TASK_WORDS[spec.task]), version.pk == served, meaning_view(spec))
