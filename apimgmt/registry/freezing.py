"""Versions stored before meanings were: what the old rules pick is written down for each, one transaction a version.

A task does it, again and again until nothing is left (`apimgmt.tasks.freeze_meanings`), and `manage.py meanings`.
Killed in the middle it goes on with the next version. No gateway reloads: a meaning makes no route another.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import msgspec
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from apimgmt.models import ModelVersion, PredictionAPI
from apimgmt.registry import model_store
from apimgmt.registry.model_store import FileDamaged
from apimgmt.sentences import Message, message
from contract.meaning import OPEN_NOTES, Meaning, meaning_from_json, meaning_to_json
from contract.model_spec import ModelSpec
from inference.sandbox.inspection import InspectionChild, InspectionRefused

logger = logging.getLogger(__name__)

RETRY_AFTER: Final = timedelta(days=1)
"""What failed is tried again after a day: the file may be back, the machine less busy."""


@dataclass(frozen=True)
class OpenVersion:
    """A version whose meaning is not certain. `fault`: why it could not even be found out; else `meaning` tells."""

    version: ModelVersion
    meaning: Meaning | None
    fault: Message | None


def pending() -> QuerySet[ModelVersion]:
    """What is still to be frozen, oldest first; what failed lately waits."""
    is_due = Q(freeze_tried_at=None) | Q(freeze_tried_at__lt=timezone.now() - RETRY_AFTER)
    return ModelVersion.objects.filter(is_due, meaning__isnull=True).order_by("pk")


def freeze(version: ModelVersion) -> Meaning | None:
    """Find out what the old rules pick and store it. None where that is not possible: the reason is stored instead.

    Whatever goes wrong with one version, the next ones have their turn.
    """
    try:
        meaning = _found(version)
    except InspectionRefused as refusal:
        logger.warning("freeze_failed version=%s sha256=%s error=%s", version.pk, version.sha256, refusal)
        fault = message("quoted", text=str(refusal))
    except FileDamaged as damage:
        logger.warning("freeze_failed version=%s sha256=%s error=%s", version.pk, version.sha256, damage)
        fault = damage.message
    except Exception:
        logger.exception("freeze_failed version=%s sha256=%s", version.pk, version.sha256)
        fault = message("unexpected")
    else:
        # Whoever else has done it meanwhile has found the same: a meaning never changes once it is there.
        _unfrozen(version).update(meaning=meaning_to_json(meaning), freeze_fault=None)
        return meaning
    _unfrozen(version).update(freeze_fault=fault, freeze_tried_at=timezone.now())
    return None


def _found(version: ModelVersion) -> Meaning:
    spec, path = version.described(), model_store.path_of(version.sha256)
    model_store.verify(version.sha256)  # what is stored of another file could never be mended
    with InspectionChild() as child:
        meaning = child.freeze(path, spec, child.read(path))
        child.check(path, _with(spec, meaning))
    return meaning


def _unfrozen(version: ModelVersion) -> QuerySet[ModelVersion]:
    return ModelVersion.objects.filter(pk=version.pk, meaning__isnull=True)


def _with(spec: ModelSpec, meaning: Meaning) -> ModelSpec:
    return msgspec.structs.replace(spec, meaning=meaning)


def open_versions(versions: QuerySet[ModelVersion]) -> list[OpenVersion]:
    """Those whose meaning is not certain, by model and number."""
    wanted = versions.filter(_is_open()).select_related("model")
    found = [
        OpenVersion(one, meaning_from_json(one.meaning) if one.meaning else None, one.freeze_fault) for one in wanted
    ]
    return sorted(found, key=lambda one: (one.version.model.name, one.version.number))


def has_open(versions: QuerySet[ModelVersion]) -> bool:
    """Whether there is one among them."""
    return versions.filter(_is_open()).exists()


def _is_open() -> Q:
    """Not certain, and of importance: the newest of its model, or the one that an API serves."""
    newer = ModelVersion.objects.filter(model=OuterRef("model"), number__gt=OuterRef("number"))
    serving = PredictionAPI.objects.filter(Q(version=OuterRef("pk")) | Q(candidate=OuterRef("pk")), deleted_at=None)
    return _is_uncertain() & (~Q(Exists(newer)) | Q(Exists(serving)))


def _is_uncertain() -> Q:
    condition = Q(freeze_fault__isnull=False, meaning__isnull=True)
    for code in sorted(OPEN_NOTES):
        condition |= Q(meaning__notes__contains=[{"code": code}])
    return condition
