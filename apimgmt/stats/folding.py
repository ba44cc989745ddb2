"""Folding closed ledgers into one row per API and day, so that RequestStat doesn't grow with every worker's life.

A ledger's state is locked FOR UPDATE before it is folded, and every write-out of the gateway finds it `open` under
FOR SHARE first: a late write-out and a fold can't both count.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from apimgmt.models import GatewayWorker, Ledger, ModelLoad, TrialUse
from contract.fault_points import fault_point

# Few at a time: the rows stay locked until the transaction ends.
BATCH = 50

_FOLD = """
WITH gone AS (
    DELETE FROM apimgmt_requeststat WHERE ledger = ANY(%s) RETURNING api_id, day, count_200, count_4xx, count_5xx
)
INSERT INTO apimgmt_requeststat AS folded (api_id, day, ledger, count_200, count_4xx, count_5xx)
SELECT api_id, day, 0, sum(count_200), sum(count_4xx), sum(count_5xx) FROM gone GROUP BY api_id, day
ON CONFLICT (api_id, day, ledger) DO UPDATE SET
    count_200 = folded.count_200 + excluded.count_200,
    count_4xx = folded.count_4xx + excluded.count_4xx,
    count_5xx = folded.count_5xx + excluded.count_5xx
"""


def fold_closed_ledgers() -> int:
    """Fold up to `BATCH` closed ledgers in one transaction; returns how many."""
    with transaction.atomic():
        ids = list(
            Ledger.objects.select_for_update(skip_locked=True)
            .filter(state=Ledger.State.CLOSED)
            .order_by("id")
            .values_list("id", flat=True)[:BATCH]
        )
        if not ids:
            return 0
        with connection.cursor() as cursor:
            cursor.execute(_FOLD, [ids])
        fault_point("fold.summed")
        Ledger.objects.filter(id__in=ids).update(state=Ledger.State.FOLDED)
        fault_point("fold.marked")
    fault_point("fold.committed")
    return len(ids)


# Long enough to look into what happened, and for a database restored from a backup to know its ledgers again.
KEPT_DAYS = 30


def forget_the_gone() -> None:
    """Remove what workers that are gone for good left behind; their counts live on in the folded rows."""
    long_ago = timezone.now() - timedelta(days=KEPT_DAYS)
    ModelLoad.objects.filter(worker__gone_at__isnull=False).delete()
    # A dismissed worker without a lease may answer however long ago it was: that is told until its end is proven.
    doubtful = Q(gone_reason=GatewayWorker.GoneReason.DISMISSED, lease_until=None)
    GatewayWorker.objects.filter(gone_at__lt=long_ago).exclude(doubtful).delete()
    folded = Ledger.objects.filter(state=Ledger.State.FOLDED, closed_at__lt=long_ago)
    TrialUse.objects.filter(ledger__in=folded.values("id")).delete()
    folded.delete()
