"""What the Celery workers do. Tasks carry ids only and may run twice: each first looks whether it is still needed.

Redis may lose every message: `sweep` runs every two seconds and finds unfinished work in the database. Builds have a
queue and a worker of their own, so that however many of them run, stopping and sweeping go on.
"""

from __future__ import annotations

import time

from celery import shared_task

from apimgmt.lifecycle import builds, enqueue, reconciling
from apimgmt.registry import freezing
from apimgmt.stats import folding

RECONCILE_WAIT_S = 2.0
FREEZE_FOR_S = 45.0


@shared_task(name=enqueue.RUN_BUILD)
def run_build(build_id: int) -> None:
    """Run one build to its end."""
    builds.run_build(build_id)


@shared_task(name=enqueue.RECONCILE)
def reconcile(api_id: str) -> None:
    """Wait a little for gateways to confirm an API's changes; what takes longer, the sweep looks after.

    Not for long: a silent gateway worker must not keep every thread here from the changes of other APIs.
    """
    reconciling.reconcile_api(api_id, RECONCILE_WAIT_S)


@shared_task(name=enqueue.SWEEP, expires=10)
def sweep() -> None:
    """Find work that no task is doing: builds whose task was lost, changes that are not confirmed yet."""
    for build_id in builds.lost_build_ids(are_tasks_waiting=enqueue.waiting_build_tasks() > 0):
        enqueue.enqueue_build(build_id)
    for api_id in reconciling.unconfirmed_api_ids():
        reconciling.reconcile_once(api_id)


@shared_task(expires=60)
def fold_ledgers() -> None:
    """Fold what closed gateway ledgers left in RequestStat."""
    while folding.fold_closed_ledgers():
        continue
    folding.forget_the_gone()


@shared_task(expires=60)
def freeze_meanings() -> None:
    """Write down what versions mean that were stored before meanings were: for a while, then the next task goes on."""
    end = time.monotonic() + FREEZE_FOR_S
    for version in freezing.pending():
        freezing.freeze(version)
        if time.monotonic() > end:
            return
