"""`manage.py new_epoch`: tells running gateways that the database was restored from a backup."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection, transaction

from apimgmt.models import Installation


class Command(BaseCommand):
    help = "Run once after restoring the database from a backup: every gateway worker then reads everything again."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """Revisions begin again at the backup's number, so a worker could take an old one for a new one of the
        same number; an epoch is never the same again."""
        Installation.objects.update(epoch=uuid.uuid4())
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('gateway_route', '')")
        self.stdout.write("Gateways read everything again, and confirm nothing before they have.")
