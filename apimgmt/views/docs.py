"""Inference API Specifications: made from the gateway's table of refusals and the models' own columns."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from apimgmt.calling import examples
from apimgmt.calling.addresses import api_base, docs_url, openapi_url
from apimgmt.models import Model, Status
from apimgmt.views.columns import column_rows
from apimgmt.views.labels import TASK_WORDS
from apimgmt.views.layout import Crumb, chosen_workspace, render_page, signed_in
from apimgmt.visibility import models_visible_to, workspaces_visible_to
from contract.problems import PROBLEM_TYPES
from contract.slugs import slug
from inference.formats import sample_csv

SERVED = {Status.OPERATING, Status.UPDATING}


@signed_in
@require_safe
def inference_docs(request: HttpRequest) -> HttpResponse:
    """How to call any API, with the examples of one model."""
    chosen = chosen_workspace(request, list(workspaces_visible_to(request.user)))
    visible = models_visible_to(request.user).order_by("name")
    models = list(visible if chosen is None else visible.filter(workspace=chosen))
    wanted = request.GET.get("model", "")
    model = next((model for model in list(visible) if str(model.pk) == wanted), models[0] if models else None)
    context: dict[str, Any] = {
        "section": "docs",
        "crumbs": [Crumb(_("Inference API Specifications"))],
        "models": models,
        "chosen_model": model,
        "with_a_chapter": examples.WITH_A_CHAPTER,
        "problems": [(kind, examples.codes_by_path(kind.code)) for kind in PROBLEM_TYPES.values()],
        "max_body_bytes": settings.ENVIRONMENT.max_body_bytes,
        "trial_limit": settings.ENVIRONMENT.trial_request_limit,
        "trial_max_rows": settings.ENVIRONMENT.trial_max_rows,
    }
    return render_page(request, "apimgmt/inference_docs.html", context | _example(model))


def _example(model: Model | None) -> dict[str, Any]:
    unknown = f"{settings.ENVIRONMENT.gateway_url}/apis/API_ID"
    version = model.versions.first() if model is not None else None
    if model is None or version is None:
        return {"base": unknown, "formats": examples.format_examples(unknown, None, "MODEL")}
    spec = version.described()
    api = model.current_apis[0] if model.current_apis else None  # type: ignore[attr-defined]  # from models_visible_to
    base = api_base(api) if api else unknown
    url = f"{base}/predict"
    return {
        "spec": spec,
        "task": TASK_WORDS[spec.task],
        "has_api": api is not None,
        "columns": column_rows(spec),
        "base": base,
        "curl": examples.curl_json(url, spec),
        "curl_csv": examples.curl_csv(url),
        "csv": sample_csv(spec).decode(),
        "python": examples.python_call(url, spec),
        "answer_text": examples.answer_text(spec),
        "reply": examples.reply_json(spec),
        "reply_csv": examples.reply_csv(spec),
        "formats": examples.format_examples(base, spec, slug(model.name) or (api.pk if api else "API_ID")),
        "docs_url": docs_url(api) if api and api.status in SERVED else "",
        "openapi_url": openapi_url(api) if api and api.status in SERVED else "",
    }
