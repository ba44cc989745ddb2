"""The record of what was done to an API, and the receipts of what gateways must obey."""

from __future__ import annotations

from typing import Any

from apimgmt.actors import Actor
from apimgmt.lifecycle.clock import ClockTimestamp
from apimgmt.models import ApiEvent, PredictionAPI, Receipt


def record(
    api: PredictionAPI, verb: str, actor: Actor, *, before: str = "", after: str = "", **detail: Any
) -> ApiEvent:
    """Write the event of one action. `detail` holds values and messages (`apimgmt.sentences`), never sentences."""
    return ApiEvent.objects.create(
        api=api,
        verb=verb,
        actor=actor.name,
        role=actor.role,
        address=actor.address,
        before=before,
        after=after,
        detail=detail,
        revision=api.revision,
    )


def record_change(
    api: PredictionAPI,
    verb: str,
    actor: Actor,
    *,
    before_revision: int,
    before: str,
    detail: dict[str, Any] | None = None,
) -> ApiEvent:
    """Record a change already written to the API or its whitelist. Opens a receipt if a trigger has numbered it."""
    api.refresh_from_db(fields=["revision"])
    event = record(api, verb, actor, before=before, after=api.status, **(detail or {}))
    if api.revision != before_revision:
        Receipt.objects.create(api=api, event=event, verb=verb, revision=api.revision, requested_at=ClockTimestamp())
    return event
