"""Builds asked for and ended on the way of other services."""

from __future__ import annotations

from django.utils import timezone

from apimgmt.lifecycle.enqueue import enqueue_build
from apimgmt.lifecycle.stages import waiting_stages
from apimgmt.models import Build, BuildKind, ModelVersion, Outcome, PredictionAPI


def queue_build(
    api: PredictionAPI, kind: BuildKind, version: ModelVersion, previous: ModelVersion | None = None
) -> None:
    """Ask for a build of this version, in the caller's transaction."""
    build = Build.objects.create(api=api, kind=kind, version=version, previous=previous, stages=waiting_stages())
    enqueue_build(build.pk)


def end_build(api: PredictionAPI) -> None:
    """Cancel the build that runs or waits, if there is one."""
    Build.objects.filter(api=api, finished_at=None).update(finished_at=timezone.now(), outcome=Outcome.CANCELLED)
