"""Bringing what people are told in line with what gateways obey: receipts, and the end of closing transitions."""

from __future__ import annotations

import time

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from apimgmt.actors import SYSTEM
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.clock import ClockTimestamp
from apimgmt.lifecycle.confirmation import Confirmation, confirmation, confirmation_of
from apimgmt.lifecycle.progress import LISTENER
from apimgmt.models import Build, Outcome, PredictionAPI, Receipt, Status, Target
from contract.fault_points import fault_point


def confirm_receipts(api_id: str) -> None:
    """Close each receipt whose revision every counting worker has applied."""
    for receipt in Receipt.objects.filter(api_id=api_id, confirmed_at=None).order_by("revision"):
        seen = confirmation_of(receipt.revision, api_id=api_id)
        if not seen.is_confirmed:
            return
        Receipt.objects.filter(pk=receipt.pk, confirmed_at=None).update(
            confirmed_at=ClockTimestamp(), workers=seen.counted
        )


def is_unconfirmed(api: PredictionAPI) -> bool:
    """Whether a closing transition, or the receipt of any change, still waits for gateways."""
    return (
        transitions.is_stopping(api)
        or api.target == Target.DELETING
        or Receipt.objects.filter(api=api, confirmed_at=None).exists()
    )


def reconcile_once(api_id: str) -> tuple[PredictionAPI, Confirmation]:
    """One look: write down what is confirmed by now."""
    api = PredictionAPI.objects.get(pk=api_id)
    seen = confirmation_of(api.revision, api_id=api_id)
    confirm_receipts(api_id)
    if seen.is_confirmed and (transitions.is_stopping(api) or api.target == Target.DELETING):
        api = _confirm_closing(api)
        confirm_receipts(api_id)
    return api, confirmation(api)


def _confirm_closing(api: PredictionAPI) -> PredictionAPI:
    """Move the status on, unless the API changed again since it was looked at."""
    with transaction.atomic():
        current = transitions.locked_api(api.pk)
        if current.revision != api.revision:
            return current
        closed = transitions.confirm_closing(api.pk, SYSTEM)
        fault_point("reconcile.sent")
    fault_point("reconcile.committed")
    return closed


def reconcile_api(api_id: str, timeout_s: float) -> Confirmation:
    """Wait until gateways have confirmed the API's closing transitions and receipts, at most `timeout_s`.

    Returns how far it has come. Idempotent; the page, the command line and the task may all wait at once.
    """
    deadline = time.monotonic() + timeout_s
    with LISTENER.waiter() as waiter:
        while True:
            api, seen = reconcile_once(api_id)
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not is_unconfirmed(api):
                return seen
            waiter.pause(remaining_s)


def unconfirmed_api_ids() -> list[str]:
    """The APIs that wait for gateways, for the sweep."""
    waiting = Receipt.objects.filter(confirmed_at=None).values_list("api_id", flat=True)
    stopping = Q(target=Target.STOPPED) & ~Q(status__in=[Status.STOPPED, Status.DELETED])
    closing = PredictionAPI.objects.filter(stopping | Q(target=Target.DELETING)).values_list("pk", flat=True)
    return sorted({*waiting, *closing})


def latest_build_id(api_id: str) -> int:
    """0 for an API that was never built."""
    return Build.objects.filter(api_id=api_id).order_by("-id").values_list("id", flat=True).first() or 0


def wait_for_build(api_id: str, timeout_s: float, *, after_build_id: int) -> str:
    """Wait until no build of the API is unfinished. Returns why it did not succeed, or "".

    Builds up to `after_build_id` that have ended are past history and say nothing about what was asked for now.
    """
    deadline = time.monotonic() + timeout_s
    concerning = Q(id__gt=after_build_id) | Q(finished_at=None)
    with LISTENER.waiter() as waiter:
        while (remaining_s := deadline - time.monotonic()) > 0:
            build = Build.objects.filter(concerning, api_id=api_id).order_by("-id").first()
            if build is None or build.outcome in {Outcome.SUCCEEDED, Outcome.CANCELLED}:
                return ""
            if build.outcome == Outcome.FAILED:
                return build.failure_text
            waiter.pause(remaining_s)
    return _("The build did not end in time.")
