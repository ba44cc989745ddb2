"""What every view is made of: who may come in, which object, and the frame around the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from apimgmt.actors import role_of
from apimgmt.lifecycle.confirmation import GatewaySummary, gateway_summary
from apimgmt.models import Model, Workspace
from apimgmt.roles import INSTALLER, ROLE_LABELS
from apimgmt.visibility import models_visible_to, workspaces_visible_to
from contract.version import VERSION

View = Callable[..., HttpResponse]

WORKSPACE_KEY = "workspace_id"

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(frozen=True)
class Crumb:
    """One step of the breadcrumb; the last one has no address."""

    label: str
    url: str = ""


@dataclass(frozen=True)
class Layout:
    """What the frame of every page shows. `workspaces` is empty for a person who has only one."""

    product: str
    version: str
    language: str
    now: str
    user_name: str
    role: str
    has_portal: bool
    workspaces: list[Workspace]
    workspace_id: int | None
    workspace_name: str
    gateways: GatewaySummary


def signed_in(view: View) -> View:
    """Let only signed-in people in; a fragment's request sends the whole browser to the login page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_login(request)
        response = view(request, *args, **kwargs)
        patch_vary_headers(response, ["HX-Request"])
        return response

    return guarded


def htmx_of(request: HttpRequest) -> HtmxDetails:
    """What htmx says of its request; false for a browser's own."""
    details: HtmxDetails = request.htmx  # type: ignore[attr-defined]  # HtmxMiddleware sets it
    return details


def _to_login(request: HttpRequest) -> HttpResponse:
    if not htmx_of(request):
        next_page = request.get_full_path() if request.method == "GET" else resolve_url("model-list")
        return redirect_to_login(next_page)
    here = urlsplit(htmx_of(request).current_url or "").path or reverse("model-list")
    return HttpResponseClientRedirect(redirect_to_login(here).url)


def found_model(request: HttpRequest, model_id: int) -> Model:
    """The model, if it is in a workspace of the signed-in person; else 404, whether it exists or not."""
    model: Model = get_object_or_404(models_visible_to(request.user), pk=model_id)
    return model


def model_crumbs(model: Model, *rest: Crumb) -> list[Crumb]:
    """Models / name / ...; the last step is not a link."""
    here = Crumb(model.name, reverse("model-detail", args=[model.pk]) if rest else "")
    return [Crumb(_("Models"), reverse("model-list")), here, *rest]


def see_other(address: str) -> HttpResponse:
    """303: it is done, look there. (`redirect` would say 302, which lets a client repeat the POST.)"""
    return HttpResponseRedirect(address, status=303)


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks for a part of the page; a history restore wants the whole."""
    htmx = htmx_of(request)
    return bool(htmx) and not htmx.history_restore_request


def render_page(
    request: HttpRequest, template: str, context: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """A complete page within the frame. `model` in the context decides which workspace the frame names."""
    content = context or {}
    model = content.get("model")
    layout = _layout(request, model.workspace if model is not None else None)
    return render(request, template, {**content, "layout": layout}, status=status)


def _layout(request: HttpRequest, workspace: Workspace | None) -> Layout:
    workspaces = list(workspaces_visible_to(request.user))
    chosen = workspace or chosen_workspace(request, workspaces)
    role = role_of(request.user)
    return Layout(
        product=_("Prediction API Console"),
        version=VERSION,
        language=get_language() or "en",
        now=timezone.now().isoformat(timespec="milliseconds"),
        user_name=request.user.get_username(),
        role=str(ROLE_LABELS.get(role, _("Installer") if role == INSTALLER else _("No role"))),
        has_portal=request.user.is_staff,
        workspaces=workspaces if len(workspaces) > 1 else [],
        workspace_id=chosen.pk if chosen else None,
        workspace_name=chosen.name if chosen else _("All workspaces"),
        gateways=gateway_summary(),
    )


def chosen_workspace(request: HttpRequest, workspaces: list[Workspace]) -> Workspace | None:
    """The workspace that the person's list is narrowed to, if the person is still a member."""
    wanted = request.session.get(WORKSPACE_KEY)
    return next((workspace for workspace in workspaces if workspace.pk == wanted), None)
