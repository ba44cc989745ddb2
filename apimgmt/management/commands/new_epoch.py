"""`manage.py new_epoch`: tells running gateways that the database was restored from a backup."""

from __future__ import annotations

import time
import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction

from apimgmt.lifecycle.confirmation import MissingWorker, confirmation_of
from apimgmt.models import Installation


class Command(BaseCommand):
    help = "Run once after restoring the database from a backup: every gateway worker then reads everything again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--timeout", type=float, default=15, help="seconds to wait for the gateways (15)")

    def handle(self, *args: Any, **options: Any) -> None:
        _write_epoch()
        self.stdout.write("A new epoch is written. What gateways read before confirms nothing.")
        missing = _wait_for_gateways(options["timeout"])
        if missing:
            names = "\n".join(f"  {worker.reason} ({worker.id})" for worker in missing)
            raise CommandError(
                "These gateway workers, which the backup knows, have not read the restored database:\n"
                f"{names}\nIf one is gone for good, dismiss it in the User Portal (/admin/, Gateway workers)."
            )
        self.stdout.write("Every gateway worker has read the restored database.")


@transaction.atomic
def _write_epoch() -> None:
    """Revisions go on from the backup's number, so a worker could take one that it knows for a new one of the same
    number; an epoch is never the same again."""
    Installation.objects.update(epoch=uuid.uuid4())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('gateway_route', '')")


def _wait_for_gateways(timeout_s: float) -> tuple[MissingWorker, ...]:
    """Those that have not applied the present epoch in time."""
    deadline = time.monotonic() + timeout_s
    while missing := confirmation_of(Installation.objects.get().revision, api_id="").missing:
        if time.monotonic() > deadline:
            return missing
        time.sleep(0.1)
    return ()
