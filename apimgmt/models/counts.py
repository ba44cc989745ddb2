"""Counted requests and trial quotas, written by both halves under the rules of docs/gateway.md.

None refers to PredictionAPI by a foreign key: a key check would wait for whoever holds the API's row.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apimgmt.models.apis import API_ID_LENGTH


class Ledger(models.Model):
    """One ledger file of one gateway worker for one day (docs/gateway.md). Id 0 is no file: it is the folded sum."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        CLOSED = "closed", "closed"
        FOLDED = "folded", "folded"

    name = models.CharField(max_length=32, unique=True)
    worker_id = models.CharField(max_length=32)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class RequestStat(models.Model):
    """Requests of one API on one day (installation time zone) counted in one ledger; ledger 0 is the folded sum."""

    api_id = models.CharField(max_length=API_ID_LENGTH)
    day = models.DateField()
    ledger = models.BigIntegerField(default=0)
    count_200 = models.BigIntegerField(default=0)
    count_4xx = models.BigIntegerField(default=0)
    count_5xx = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_id", "day", "ledger"], name="one_stat_per_day_and_ledger")]
        indexes = [models.Index(fields=["ledger"], condition=~Q(ledger=0), name="requeststat_unfolded")]

    def __str__(self) -> str:
        return f"{self.api_id} {self.day} #{self.ledger}"


class InputWarning(models.Model):
    """Warnings that callers of one API were sent on one day, by column and code, without values.

    Written by the gateway through SQL of its own.
    """

    api_id = models.CharField(max_length=API_ID_LENGTH)
    day = models.DateField()
    column = models.CharField(max_length=200)
    code = models.CharField(max_length=30)
    count = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["api_id", "day", "column", "code"], name="one_warning_count_per_day_column_and_code"
            )
        ]

    def __str__(self) -> str:
        return f"{self.api_id} {self.day} {self.column} {self.code}"


class TrialQuota(models.Model):
    """A trial's quota. `used` counts reservations in flight too, so it never passes `request_limit`."""

    api_id = models.CharField(primary_key=True, max_length=API_ID_LENGTH)
    request_limit = models.PositiveIntegerField()
    used = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(used__lte=F("request_limit")), name="quota_never_overdrawn")]

    def __str__(self) -> str:
        return f"{self.api_id} {self.used}/{self.request_limit}"


class TrialUse(models.Model):
    """What one ledger reserved of a trial's quota, and gave back. Both only rise."""

    api_id = models.CharField(max_length=API_ID_LENGTH)
    ledger = models.BigIntegerField()
    reserved = models.PositiveIntegerField(default=0)
    returned = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["api_id", "ledger"], name="one_trialuse_per_ledger"),
            models.CheckConstraint(condition=Q(returned__lte=F("reserved")), name="never_returned_more_than_reserved"),
        ]

    def __str__(self) -> str:
        return f"{self.api_id} #{self.ledger}"
