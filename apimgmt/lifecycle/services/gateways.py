"""What a person may do about a gateway worker."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from apimgmt.actors import Actor
from apimgmt.errors import Refused
from apimgmt.lifecycle.clock import ClockTimestamp
from apimgmt.lifecycle.confirmation import OUT_OF_REACH_S
from apimgmt.lifecycle.enqueue import SWEEP, enqueue_on_commit
from apimgmt.models import GatewayWorker
from apimgmt.roles import DISMISS_WORKER


@transaction.atomic
def dismiss_worker(worker_id: str, *, actor: Actor) -> None:
    """Stop counting a worker that is out of reach. It may still answer by old rules until it reads the database."""
    actor.require(DISMISS_WORKER)
    silent_since = ClockTimestamp() - timedelta(seconds=OUT_OF_REACH_S)
    dismissed = GatewayWorker.objects.filter(pk=worker_id, gone_at=None, heartbeat_at__lt=silent_since).update(
        gone_at=ClockTimestamp(),
        gone_reason=GatewayWorker.GoneReason.DISMISSED,
        dismissed_by=actor.name,
    )
    if not dismissed:
        raise Refused(_("That worker is in reach, or does not count any more. Only one out of reach can be dismissed."))
    enqueue_on_commit(SWEEP)
