"""API options: how many official APIs a workspace may have, and what that means for a launch."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.models import ApiType, Edition, Model, PredictionAPI, TrialQuota, Workspace


@dataclass(frozen=True)
class OptionUse:
    """`used` counts official APIs that are not deleted, whatever their status; it may exceed `purchased`."""

    used: int
    purchased: int

    @property
    def free(self) -> int:
        return max(0, self.purchased - self.used)


@dataclass(frozen=True)
class LaunchChoice:
    """One radio choice of the launch dialog: available with its consequence, or unavailable with the reason."""

    type: str
    is_available: bool
    consequence: str
    reason: str


def option_use(workspace: Workspace) -> OptionUse:
    used = PredictionAPI.objects.filter(model__workspace=workspace, type=ApiType.OFFICIAL, deleted_at=None).count()
    return OptionUse(used=used, purchased=workspace.api_options)


def launch_refusal(model: Model, workspace: Workspace, api_type: str) -> str | None:
    """Why no API of this type can be launched on the model, or None."""
    if api_type not in ApiType.values:
        return _("Choose an official API or a trial API.")
    if PredictionAPI.objects.filter(model=model, deleted_at=None).exists():
        return _("This model already has an API.")
    if api_type == ApiType.TRIAL:
        return _trial_refusal(model)
    return official_refusal(workspace)


def official_refusal(workspace: Workspace) -> str | None:
    """Why the workspace may have no further official API, or None."""
    if workspace.edition == Edition.TRIAL:
        return _("Official APIs are not part of the trial edition.")
    use = option_use(workspace)
    if use.free:
        return None
    if not use.purchased:
        return _("No API option was purchased. The installer of this console can add options.")
    return _("%(used)d of %(purchased)d API options are in use. Delete an official API to free one.") % {
        "used": use.used,
        "purchased": use.purchased,
    }


def _trial_refusal(model: Model) -> str | None:
    limit = settings.ENVIRONMENT.trials_per_model
    if limit is None:
        return None
    launched = TrialQuota.objects.filter(
        api_id__in=PredictionAPI.objects.filter(model=model).values_list("pk", flat=True)
    ).count()
    if launched < limit:
        return None
    return ngettext("The one trial of this model was used.", "All %(count)d trials of this model were used.", limit) % {
        "count": limit
    }


def launch_choices(model: Model) -> list[LaunchChoice]:
    """The dialog's two choices, official first."""
    workspace = model.workspace
    return [
        _choice(model, workspace, ApiType.OFFICIAL, _official_consequence(workspace)),
        _choice(model, workspace, ApiType.TRIAL, _trial_consequence()),
    ]


def _choice(model: Model, workspace: Workspace, api_type: ApiType, consequence: str) -> LaunchChoice:
    reason = launch_refusal(model, workspace, api_type)
    return LaunchChoice(type=api_type.value, is_available=reason is None, consequence=consequence, reason=reason or "")


def _official_consequence(workspace: Workspace) -> str:
    free = option_use(workspace).free
    return ngettext("Uses one API option; %(free)d is left.", "Uses one API option; %(free)d are left.", free) % {
        "free": free
    }


def _trial_consequence() -> str:
    limit = settings.ENVIRONMENT.trial_request_limit
    return ngettext("Up to %(limit)d request.", "Up to %(limit)d requests.", limit) % {"limit": limit}
