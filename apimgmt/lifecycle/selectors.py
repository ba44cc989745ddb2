"""Reads about one API: what it is, its latest build and receipt, its history."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from apimgmt.models import ApiEvent, Build, GatewayIncident, Model, PredictionAPI, Receipt


def current_api(model: Model) -> PredictionAPI | None:
    """The model's API that is not deleted."""
    return (
        PredictionAPI.objects.filter(model=model, deleted_at=None)
        .select_related("model__workspace", "version", "candidate")
        .first()
    )


def newest_version_number(model: Model) -> int:
    """0 for a model without a version."""
    number: int | None = model.versions.aggregate(newest=Max("number"))["newest"]
    return number or 0


def latest_build(api: PredictionAPI) -> Build | None:
    return Build.objects.filter(api=api).select_related("version", "previous").order_by("-id").first()


def latest_receipt(api: PredictionAPI) -> Receipt | None:
    return Receipt.objects.filter(api=api).select_related("event").order_by("-id").first()


def incidents(api: PredictionAPI, days: int = 7) -> list[GatewayIncident]:
    """What the model did to the gateway lately, newest first, at most ten. What is still in force however old it is."""
    since = timezone.now() - timedelta(days=days)
    lasting = Q(kind=GatewayIncident.Kind.WORKER_CRASHED, version_id=api.version_id)
    found = GatewayIncident.objects.filter(Q(at__gte=since) | lasting, api_id=api.pk)
    first = found.annotate(is_lasting=lasting).order_by("-is_lasting", "-id")[:10]  # later ones don't hide it
    return sorted(first, key=lambda incident: -incident.pk)


def events(api: PredictionAPI) -> QuerySet[ApiEvent]:
    """The API's history, newest first, each with its receipt if gateways had to obey it."""
    return ApiEvent.objects.filter(api=api).select_related("receipt").order_by("-id")
