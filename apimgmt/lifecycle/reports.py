"""How far a change has come, in whole sentences, for pages, the history and commands."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.lifecycle.confirmation import Confirmation, DismissedWorker, GatewaySummary
from apimgmt.models import Receipt
from apimgmt.units import time_text


def workers_sentence(seen: Confirmation) -> str:
    """3 of 4 workers."""
    return ngettext("%(confirmed)d of %(counted)d worker", "%(confirmed)d of %(counted)d workers", seen.counted) % {
        "confirmed": seen.confirmed,
        "counted": seen.counted,
    }


def unconfirmed_sentence(seen: Confirmation) -> str:
    """What is still missing: "not confirmed yet: 3 of 4 workers"."""
    if not seen.counted:
        return no_gateway_sentence(seen.dismissed)
    return _("not confirmed yet: %(workers)s") % {"workers": workers_sentence(seen)}


def no_gateway_sentence(dismissed: Sequence[DismissedWorker]) -> str:
    """What it means that no worker counts."""
    if not dismissed:
        return _("No gateway is running: nothing is served.")
    return ngettext(
        "No gateway worker counts, but dismissed worker %(names)s may still answer.",
        "No gateway worker counts, but dismissed workers %(names)s may still answer.",
        len(dismissed),
    ) % {"names": names_of(dismissed)}


def receipt_sentence(receipt: Receipt, dismissed: Sequence[DismissedWorker]) -> str:
    """How a change was confirmed: "confirmed by 4 of 4 workers in 0.08 s"; "" while it is not.

    `dismissed` are those who may still answer now; the ones dismissed later had confirmed it themselves.
    """
    if receipt.confirmed_at is None:
        return ""
    doubtful = [worker for worker in dismissed if worker.at <= receipt.confirmed_at]
    if not receipt.workers:
        return _in_force_sentence(doubtful)
    values = {
        "workers": receipt.workers,
        "seconds": max(0.0, (receipt.confirmed_at - receipt.requested_at).total_seconds()),
        "names": names_of(doubtful),
    }
    if doubtful:
        text = ngettext(
            "confirmed by %(workers)d of %(workers)d worker in %(seconds).2f s; "
            "but %(names)s was dismissed and may still answer by the old rule",
            "confirmed by %(workers)d of %(workers)d workers in %(seconds).2f s; "
            "but %(names)s was dismissed and may still answer by the old rule",
            receipt.workers,
        )
    else:
        text = ngettext(
            "confirmed by %(workers)d of %(workers)d worker in %(seconds).2f s",
            "confirmed by %(workers)d of %(workers)d workers in %(seconds).2f s",
            receipt.workers,
        )
    return text % values


def _in_force_sentence(doubtful: Sequence[DismissedWorker]) -> str:
    if not doubtful:
        return _("in force: no gateway is running, nothing is served")
    return ngettext(
        "in force for no gateway: %(names)s was dismissed and may still answer by the old rule",
        "in force for no gateway: %(names)s were dismissed and may still answer by the old rule",
        len(doubtful),
    ) % {"names": names_of(doubtful)}


def dismissed_sentence(worker: DismissedWorker) -> str:
    """Who was dismissed, by whom and when, and what that means."""
    return _(
        "Worker %(name)s was dismissed by %(by)s at %(at)s. "
        "It may still answer by the old rule until its end is proven."
    ) % {"name": worker.name, "by": worker.by, "at": time_text(worker.at)}


def gateways_sentence(summary: GatewaySummary) -> str:
    """The footer's word on the gateways."""
    if not summary.dismissed:
        if not summary.counted:
            return _("gateways: none is running")
        return _("gateways: %(in_step)d of %(counted)d in step") % vars(summary)
    return ngettext(
        "gateways: %(in_step)d of %(counted)d in step; %(dismissed)d dismissed worker may still answer",
        "gateways: %(in_step)d of %(counted)d in step; %(dismissed)d dismissed workers may still answer",
        summary.dismissed,
    ) % vars(summary)


def names_of(workers: Sequence[DismissedWorker]) -> str:
    return ", ".join(worker.name for worker in workers)
