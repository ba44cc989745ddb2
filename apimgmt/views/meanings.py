"""Versions of earlier releases whose meaning is not certain: the list, and settling one by a new review of its file."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apimgmt.models import ModelVersion
from apimgmt.registry import drafts, freezing, settling
from apimgmt.registry.meaning_sentences import open_sentences
from apimgmt.registry.metadata import DescriptionRefused
from apimgmt.roles import REGISTER
from apimgmt.views.layout import Crumb, found_model, render_page, see_other, signed_in
from apimgmt.views.registration import permitted
from apimgmt.visibility import Person, models_visible_to


@dataclass(frozen=True)
class OpenRow:
    """One version of the list, and why it is there."""

    version: ModelVersion
    reasons: list[str]


def open_rows(user: Person) -> list[OpenRow]:
    """The versions that the person may see."""
    versions = ModelVersion.objects.filter(model__in=models_visible_to(user))
    return [OpenRow(one.version, open_sentences(one.meaning, one.fault)) for one in freezing.open_versions(versions)]


@signed_in
@require_safe
def meanings(request: HttpRequest) -> HttpResponse:
    """Every version that is not certain, with the reasons."""
    context = {
        "section": "models",
        "crumbs": [Crumb(_("Models"), reverse("model-list")), Crumb(_("Meaning not certain"))],
        "rows": open_rows(request.user),
        "may_register": request.user.has_perm(REGISTER),
    }
    return render_page(request, "apimgmt/meanings.html", context)


@signed_in
@require_POST
def settle(request: HttpRequest, model_id: int) -> HttpResponse:
    """Review the stored file of a version again. Saving the review makes the model's next version."""
    model = found_model(request, model_id)
    actor = permitted(request)
    number = request.POST.get("version", "")
    version = model.versions.filter(number=int(number)).first() if number.isascii() and number.isdigit() else None
    if version is None or actor.user is None:
        raise Http404
    try:
        draft = settling.review_again(version, actor.user.pk)
    except DescriptionRefused as error:
        messages.error(request, " ".join([_("%s can't be reviewed again:") % version, *error.faults]))
        return see_other(reverse("model-meanings"))
    drafts.save_draft(draft)
    return see_other(reverse("model-register-review", args=[draft.token]))
