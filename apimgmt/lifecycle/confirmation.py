"""Who must confirm a change, who has, and who is missing and why. Reads only; `reconciling` acts on it.

A gateway worker counts from the moment its row exists until its end is proven: it said so itself, its ledger was
adopted, its lease ended, or an administrator dismissed it. A stale heartbeat alone confirms nothing.
All ages are by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone
from django.utils.formats import time_format
from django.utils.translation import gettext as _

from apimgmt.models import PredictionAPI, Target

# A worker whose heartbeat (1 s) is older than this is called out of reach.
OUT_OF_REACH_S = 3

_WORKERS = """
SELECT
    w.id, w.host, w.port, w.slot, w.heartbeat_at,
    extract(epoch FROM clock_timestamp() - w.heartbeat_at) AS silence_s,
    w.epoch = i.epoch AND w.applied_revision >= %(revision)s AS has_applied,
    l.is_loaded, l.error
FROM apimgmt_gatewayworker w
CROSS JOIN apimgmt_installation i
LEFT JOIN apimgmt_modelload l ON l.worker_id = w.id AND l.api_id = %(api_id)s AND l.version_id = %(version_id)s
WHERE w.gone_at IS NULL AND (w.lease_until IS NULL OR w.lease_until + interval '1 second' > clock_timestamp())
ORDER BY w.host, w.port, w.slot
"""


@dataclass(frozen=True)
class WorkerView:
    """One worker that counts, as one question about one API sees it."""

    id: str
    name: str
    heartbeat_at: datetime
    silence_s: float
    has_applied: bool
    is_loaded: bool | None
    error: str

    @property
    def is_out_of_reach(self) -> bool:
        return self.silence_s > OUT_OF_REACH_S


@dataclass(frozen=True)
class MissingWorker:
    """A worker that has not confirmed, and the reason in words."""

    id: str
    name: str
    since: datetime
    reason: str
    is_out_of_reach: bool
    is_load_error: bool
    is_loading: bool


@dataclass(frozen=True)
class Confirmation:
    """How far one change has come: `confirmed` of `counted` workers, and which are missing."""

    is_confirmed: bool
    confirmed: int
    counted: int
    missing: tuple[MissingWorker, ...]

    @property
    def load_error(self) -> str:
        return next((worker.reason for worker in self.missing if worker.is_load_error), "")


def counting_workers(revision: int = 0, api_id: str = "", version_id: int = 0) -> list[WorkerView]:
    """Every worker that counts now, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(_WORKERS, {"revision": revision, "api_id": api_id, "version_id": version_id})
        return [_worker_view(row) for row in cursor.fetchall()]


def _worker_view(row: tuple[Any, ...]) -> WorkerView:
    worker_id, host, port, slot, heartbeat_at, silence_s, has_applied, is_loaded, error = row
    return WorkerView(
        id=worker_id,
        name=f"{host}:{port}/{slot}",
        heartbeat_at=heartbeat_at,
        silence_s=float(silence_s),
        has_applied=bool(has_applied),
        is_loaded=is_loaded,
        error=error or "",
    )


def confirmation_of(revision: int, *, api_id: str, loaded_version_id: int | None = None) -> Confirmation:
    """How far `revision` has come. With a version it is an opening change: some worker must be there, all loaded it."""
    workers = counting_workers(revision, api_id, loaded_version_id or 0)
    missing = tuple(
        found for worker in workers if (found := _missing(worker, needs_load=loaded_version_id is not None)) is not None
    )
    return Confirmation(
        is_confirmed=not missing and (bool(workers) or loaded_version_id is None),
        confirmed=len(workers) - len(missing),
        counted=len(workers),
        missing=missing,
    )


def confirmation(api: PredictionAPI) -> Confirmation:
    """How far the API's latest change has come, by what it asks of gateways now."""
    version_id = None
    if api.target == Target.OPERATING:
        version_id = api.candidate_id or api.version_id
    return confirmation_of(api.revision, api_id=api.pk, loaded_version_id=version_id)


def _missing(worker: WorkerView, *, needs_load: bool) -> MissingWorker | None:
    reason = _reason(worker, needs_load=needs_load)
    if reason is None:
        return None
    return MissingWorker(
        id=worker.id,
        name=worker.name,
        since=worker.heartbeat_at,
        reason=reason,
        is_out_of_reach=worker.is_out_of_reach,
        is_load_error=needs_load and worker.has_applied and worker.is_loaded is False,
        is_loading=needs_load and worker.has_applied and worker.is_loaded is None and not worker.is_out_of_reach,
    )


def _reason(worker: WorkerView, *, needs_load: bool) -> str | None:
    if not worker.has_applied:
        if worker.is_out_of_reach:
            since = time_format(timezone.localtime(worker.heartbeat_at), "H:i:s")
            return _("out of reach since %(time)s, may still answer by the old rule") % {"time": since}
        return _("has not applied it yet")
    if needs_load and worker.is_loaded is None:
        return _("is loading the model")
    if needs_load and not worker.is_loaded:
        return _("could not load the model: %(error)s") % {"error": worker.error}
    return None
