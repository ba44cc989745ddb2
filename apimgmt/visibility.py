"""What a person may see. A stranger's object is not found, never forbidden."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Max, Prefetch, QuerySet

from apimgmt.models import Model, PredictionAPI, Workspace

Person = User | AnonymousUser


def workspaces_visible_to(user: Person) -> QuerySet[Workspace]:
    """A person's workspaces; all for the installer, none for somebody not signed in."""
    if not isinstance(user, User):
        return Workspace.objects.none()
    return Workspace.objects.all() if user.is_superuser else Workspace.objects.filter(members=user)


def models_visible_to(user: Person) -> QuerySet[Model]:
    """The models of a person's workspaces, with `current_apis` (at most one) and `latest_version` (its number)."""
    return (
        Model.objects.filter(workspace__in=workspaces_visible_to(user))
        .select_related("workspace")
        .annotate(latest_version=Max("versions__number"))
        .prefetch_related(
            Prefetch(
                "apis",
                queryset=PredictionAPI.objects.filter(deleted_at=None).select_related("version"),
                to_attr="current_apis",
            )
        )
    )


def apis_visible_to(user: Person) -> QuerySet[PredictionAPI]:
    """Every API, deleted ones too, of a person's workspaces."""
    return PredictionAPI.objects.filter(model__workspace__in=workspaces_visible_to(user)).select_related(
        "model__workspace", "version", "candidate"
    )
