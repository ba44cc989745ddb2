"""Builds: the queue of work, and how each ended."""

from __future__ import annotations

from django.db import models
from django.db.models import Q, Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apimgmt.models.apis import PredictionAPI
from apimgmt.models.registry import ModelVersion
from apimgmt.sentences import sentences


class BuildKind(models.TextChoices):
    LAUNCH = "launch", pgettext_lazy("build", "Launch")
    START = "start", pgettext_lazy("build", "Start")
    UPDATE = "update", pgettext_lazy("build", "Update")


class Outcome(models.TextChoices):
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class Build(models.Model):
    """One run through the five build stages. Unfinished ones are the queue: work is found again here, not in Redis.

    `stages` is a list of `{"name", "state": waiting|running|done|failed, "seconds", "detail"}` in running order. Its
    `detail` and the `reasons` are lists of messages (`apimgmt.sentences`); `reason` is what earlier releases wrote.
    Who runs it holds an advisory lock on its id, so a killed worker's build is free at once; `claimed_at` tells people.
    `queued_at` is when its task was last sent to the broker; null once a worker took it from there.
    """

    api = models.ForeignKey(PredictionAPI, on_delete=models.CASCADE, related_name="builds", verbose_name="API")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+", verbose_name=_("version"))
    previous = models.ForeignKey(
        ModelVersion,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        verbose_name=_("version served before"),
        help_text=_("An update that fails falls back to it."),
    )
    kind = models.CharField(_("kind"), max_length=10, choices=BuildKind)
    requested_at = models.DateTimeField(_("requested"), default=timezone.now, editable=False)
    claimed_at = models.DateTimeField(_("taken up"), null=True, editable=False)
    queued_at = models.DateTimeField(_("queued"), null=True, editable=False)
    stages = models.JSONField(_("stages"), default=list)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome, blank=True)
    failed_stage = models.CharField(_("failed stage"), max_length=20, blank=True)
    reason = models.TextField(_("reason"), blank=True, editable=False)
    reasons = models.JSONField(_("reasons"), default=list, db_default=Value([], models.JSONField()), blank=True)
    log_tail = models.TextField(_("log"), blank=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("build")
        verbose_name_plural = _("builds")
        constraints = [
            models.UniqueConstraint(
                fields=["api"], condition=Q(finished_at__isnull=True), name="one_unfinished_build_per_api"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.api_id}"

    @property
    def failure_text(self) -> str:
        """Why it failed, in the reader's language; "" if it did not."""
        return sentences(self.reasons) if self.reasons else self.reason
