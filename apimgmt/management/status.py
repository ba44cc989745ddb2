"""The state of an API as commands tell it: a JSON document for scripts, sentences for people."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.lifecycle import selectors
from apimgmt.lifecycle.confirmation import Confirmation, confirmation
from apimgmt.lifecycle.reports import dismissed_sentence, no_gateway_sentence, workers_sentence
from apimgmt.models import PredictionAPI
from apimgmt.stats import counts


def status_document(api_id: str) -> dict[str, Any]:
    """What `api status --json` prints."""
    api = _api(api_id)
    seen = confirmation(api)
    return {
        "api_id": api.pk,
        "status": api.status,
        "target": api.target,
        "confirmed": seen.is_confirmed,
        "workers": {"confirmed": seen.confirmed, "counted": seen.counted},
        "missing": [{"worker": worker.name, "reason": worker.reason} for worker in seen.missing],
        "dismissed": [
            {"worker": worker.name, "by": worker.by, "at": worker.at.isoformat()} for worker in seen.dismissed
        ],
        "locked": api.is_locked,
        "type": api.type,
        "version": api.version.number,
        "quota_remaining": counts.quota_remaining(api),
        "requests": counts.totals(api),
        "incidents": [
            {
                "at": incident.at.isoformat(),
                "kind": incident.kind,
                "reason": incident.reason_text,
                "worker": incident.worker_id,
            }
            for incident in selectors.incidents(api)
        ],
    }


def status_lines(api_id: str) -> list[str]:
    """What `api status` prints."""
    api = _api(api_id)
    seen = confirmation(api)
    sums = counts.totals(api)
    return [
        _("%(type)s %(id)s of model %(model)s: %(status)s.")
        % {"type": api.get_type_display(), "id": api.pk, "model": api.model.name, "status": api.get_status_display()},
        *_confirmation_lines(seen),
        _("Served version: %(version)d.") % {"version": api.version.number},
        *([_("The API is locked: it can't be stopped or deleted.")] if api.is_locked else []),
        *_quota_lines(api),
        _("Requests so far: %(ok)s with status 200, %(client)s with 4xx, %(server)s with 5xx.")
        % {"ok": f"{sums['200']:,}", "client": f"{sums['4xx']:,}", "server": f"{sums['5xx']:,}"},
        *(f"{incident.at:%Y-%m-%d %H:%M}: {incident.get_kind_display()}" for incident in selectors.incidents(api)),
    ]


def _api(api_id: str) -> PredictionAPI:
    return PredictionAPI.objects.select_related("version", "model").get(pk=api_id)


def _confirmation_lines(seen: Confirmation) -> list[str]:
    if not seen.counted:
        head = no_gateway_sentence(seen.dismissed)
    elif seen.is_confirmed:
        head = _("Confirmed by %(workers)s.") % {"workers": workers_sentence(seen)}
    else:
        head = _("Not confirmed yet: %(workers)s.") % {"workers": workers_sentence(seen)}
    reasons = [worker.reason for worker in seen.missing]
    return [head, *reasons, *(dismissed_sentence(worker) for worker in seen.dismissed)]


def _quota_lines(api: PredictionAPI) -> list[str]:
    remaining = counts.quota_remaining(api)
    if remaining is None:
        return []
    return [
        ngettext("%(count)d trial request is left.", "%(count)d trial requests are left.", remaining)
        % {"count": remaining}
    ]
