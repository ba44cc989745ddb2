"""Who must confirm a change, who has, and who is missing and why. Reads only; `reconciling` acts on it.

A gateway worker counts from the moment its row exists until its end is proven: it said so itself, its ledger was
adopted, or its lease ended. An administrator can dismiss it too: then it no longer counts, but until one of these is
known it may still answer, and whoever is told that something is confirmed is told that as well.
A stale heartbeat alone confirms nothing. All ages are by the database's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from apimgmt.models import GatewayWorker, Installation, PredictionAPI, Target
from apimgmt.sentences import Message, message, sentence

# A worker whose heartbeat (1 s) is older than this is called out of reach.
OUT_OF_REACH_S = 3

MEANING_ROUTE_VIEW = 2
"""The first `gateway_route_vN` that carries what a version means."""

_WORKERS = """
SELECT
    w.id, w.host, w.port, w.slot, w.heartbeat_at, w.gone_at, w.dismissed_by,
    extract(epoch FROM clock_timestamp() - w.heartbeat_at) AS silence_s,
    w.epoch = i.epoch AND w.applied_revision >= %(revision)s AS has_applied,
    l.is_loaded, l.error
FROM apimgmt_gatewayworker w
CROSS JOIN apimgmt_installation i
LEFT JOIN apimgmt_modelload l ON l.worker_id = w.id AND l.api_id = %(api_id)s AND l.version_id = %(version_id)s
WHERE (w.gone_at IS NULL OR w.gone_reason = 'dismissed')
  AND (w.lease_until IS NULL OR w.lease_until + interval '1 second' > clock_timestamp())
ORDER BY w.host, w.port, w.slot
"""


@dataclass(frozen=True)
class WorkerView:
    """One worker that may answer callers, as one question about one API sees it."""

    id: str
    name: str
    heartbeat_at: datetime
    dismissed_at: datetime | None
    dismissed_by: str
    silence_s: float
    has_applied: bool
    is_loaded: bool | None
    error: str

    @property
    def is_out_of_reach(self) -> bool:
        return self.silence_s > OUT_OF_REACH_S


@dataclass(frozen=True)
class MissingWorker:
    """A worker that has not confirmed, and why."""

    id: str
    name: str
    since: datetime
    message: Message
    is_out_of_reach: bool
    is_load_error: bool
    is_loading: bool

    @property
    def reason(self) -> str:
        """One whole sentence, in the reader's language, that names the worker."""
        return sentence(self.message)


@dataclass(frozen=True)
class DismissedWorker:
    """A worker that somebody dismissed and whose end nothing has proven: it may still answer by an old rule."""

    id: str
    name: str
    at: datetime
    by: str


@dataclass(frozen=True)
class Confirmation:
    """How far one change has come: `confirmed` of `counted` workers, which are missing, and who was dismissed."""

    is_confirmed: bool
    confirmed: int
    counted: int
    missing: tuple[MissingWorker, ...]
    dismissed: tuple[DismissedWorker, ...] = ()

    @property
    def load_errors(self) -> list[Message]:
        return [worker.message for worker in self.missing if worker.is_load_error]


@dataclass(frozen=True)
class GatewaySummary:
    """How many gateway workers obey everything that was asked so far, of how many that count."""

    in_step: int
    counted: int
    dismissed: int = 0


def confirmation_of(revision: int, *, api_id: str, loaded_version_id: int | None = None) -> Confirmation:
    """How far `revision` has come. With a version it is an opening change: some worker must be there, all loaded it."""
    found = _workers(revision, api_id, loaded_version_id or 0)
    counting = [worker for worker in found if worker.dismissed_at is None]
    needs_load = loaded_version_id is not None
    missing = tuple(one for worker in counting if (one := _missing(worker, needs_load=needs_load)) is not None)
    return Confirmation(
        is_confirmed=not missing and (bool(counting) or not needs_load),
        confirmed=len(counting) - len(missing),
        counted=len(counting),
        missing=missing,
        dismissed=_dismissed(found),
    )


def confirmation(api: PredictionAPI) -> Confirmation:
    """How far the API's latest change has come, by what it asks of gateways now."""
    version_id = None
    if api.target == Target.OPERATING:
        version_id = api.candidate_id or api.version_id
    return confirmation_of(api.revision, api_id=api.pk, loaded_version_id=version_id)


def dismissed_workers() -> tuple[DismissedWorker, ...]:
    """Everyone who was dismissed and may still answer."""
    return _dismissed(_workers())


def older_worker_names() -> list[str]:
    """Workers that count and read an older route view than versions with a meaning need."""
    found = GatewayWorker.objects.filter(gone_at=None, route_view__lt=MEANING_ROUTE_VIEW)
    return [f"{worker.host}:{worker.port}/{worker.slot}" for worker in found]


def gateway_summary() -> GatewaySummary:
    """For the footer: workers that count, and those that have applied the newest revision and are in reach."""
    workers = _workers(Installation.objects.values_list("revision", flat=True).get(pk=Installation.SINGLETON_ID))
    counting = [worker for worker in workers if worker.dismissed_at is None]
    in_step = sum(worker.has_applied and not worker.is_out_of_reach for worker in counting)
    return GatewaySummary(in_step=in_step, counted=len(counting), dismissed=len(workers) - len(counting))


def _workers(revision: int = 0, api_id: str = "", version_id: int = 0) -> list[WorkerView]:
    """Every worker whose end is not proven, dismissed ones too, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(_WORKERS, {"revision": revision, "api_id": api_id, "version_id": version_id})
        return [_worker_view(row) for row in cursor.fetchall()]


def _worker_view(row: tuple[Any, ...]) -> WorkerView:
    worker_id, host, port, slot, heartbeat_at, gone_at, dismissed_by, silence_s, has_applied, is_loaded, error = row
    return WorkerView(
        id=worker_id,
        name=f"{host}:{port}/{slot}",
        heartbeat_at=heartbeat_at,
        dismissed_at=gone_at,
        dismissed_by=dismissed_by,
        silence_s=float(silence_s),
        has_applied=bool(has_applied),
        is_loaded=is_loaded,
        error=error or "",
    )


def _dismissed(workers: list[WorkerView]) -> tuple[DismissedWorker, ...]:
    return tuple(
        DismissedWorker(id=worker.id, name=worker.name, at=worker.dismissed_at, by=worker.dismissed_by)
        for worker in workers
        if worker.dismissed_at is not None
    )


def _missing(worker: WorkerView, *, needs_load: bool) -> MissingWorker | None:
    reason = _reason(worker, needs_load=needs_load)
    if reason is None:
        return None
    return MissingWorker(
        id=worker.id,
        name=worker.name,
        since=worker.heartbeat_at,
        message=reason,
        is_out_of_reach=worker.is_out_of_reach,
        is_load_error=reason["code"] == "worker_load_failed",
        is_loading=reason["code"] == "worker_loading" and not worker.is_out_of_reach,
    )


def _reason(worker: WorkerView, *, needs_load: bool) -> Message | None:
    if not worker.has_applied:
        if worker.is_out_of_reach:
            return message("worker_out_of_reach", worker=worker.name, heartbeat_at=worker.heartbeat_at)
        return message("worker_behind", worker=worker.name)
    if needs_load and worker.is_loaded is None:
        return message("worker_loading", worker=worker.name)
    if needs_load and not worker.is_loaded:
        return message("worker_load_failed", worker=worker.name, error=worker.error)
    return None
