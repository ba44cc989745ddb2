"""What the Celery worker does. Tasks carry ids only and may run twice: each first looks whether it is still needed.

Redis may lose every message: `sweep` runs every two seconds and finds unfinished work in the database.
"""

from __future__ import annotations

from celery import shared_task

from apimgmt.lifecycle import builds, reconciling
from apimgmt.stats import folding
from console.celery import app

# A hint just sent is left alone for this long before the sweep queues the work again.
SWEEP_GRACE_S = 1.5
SETTLE_WAIT_S = 2.0


@shared_task
def run_build(build_id: int) -> None:
    """Run one build to its end."""
    builds.run_build(build_id)


@shared_task
def settle(api_id: str) -> None:
    """Wait a little for gateways to confirm an API's changes; what takes longer, the sweep looks after.

    Not for long: a silent gateway worker must not keep every thread here from builds.
    """
    reconciling.reconcile_api(api_id, SETTLE_WAIT_S)


@shared_task(expires=10)
def sweep() -> None:
    """Find work that no task is doing: builds whose worker died, changes that are not confirmed yet."""
    for build_id in builds.unattended_build_ids(older_than_s=SWEEP_GRACE_S):
        run_build.delay(build_id)
    for api_id in reconciling.unsettled_api_ids():
        reconciling.settle_once(api_id)


@shared_task(expires=60)
def fold_ledgers() -> None:
    """Fold what closed gateway ledgers left in RequestStat."""
    while folding.fold_closed_ledgers():
        continue
    folding.forget_the_gone()


@app.on_after_finalize.connect
def schedule(sender: object, **kwargs: object) -> None:
    """What beat sends, and how often (seconds)."""
    app.add_periodic_task(2.0, sweep.s(), expires=10)
    app.add_periodic_task(60.0, fold_ledgers.s(), expires=60)
