"""What was done to an API, and the proof that gateways obey it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apimgmt.models.apis import PredictionAPI


class ApiEvent(models.Model):
    """Who did what to which API, when. A trigger refuses to change or remove a row."""

    api = models.ForeignKey(PredictionAPI, on_delete=models.PROTECT, related_name="events", verbose_name="API")
    at = models.DateTimeField(_("time"), default=timezone.now, editable=False)
    verb = models.CharField(_("action"), max_length=30)
    actor = models.CharField(_("who"), max_length=200)
    role = models.CharField(_("role"), max_length=30)
    address = models.CharField(_("from address"), max_length=45, blank=True)
    before = models.CharField(_("before"), max_length=200, blank=True)
    after = models.CharField(_("after"), max_length=200, blank=True)
    detail = models.JSONField(_("detail"), default=dict, blank=True)
    revision = models.BigIntegerField(_("revision"), default=0)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("event")
        verbose_name_plural = _("events")
        indexes = [models.Index(fields=["api", "-id"], name="apievent_by_api")]

    def __str__(self) -> str:
        return f"{self.verb} {self.api_id}"


class Receipt(models.Model):
    """The proof of one change that gateways must obey: asked for at `requested_at`, in force since `confirmed_at`.

    Times are the database's clock. `workers` is how many gateway workers counted when it was confirmed.
    """

    api = models.ForeignKey(PredictionAPI, on_delete=models.CASCADE, related_name="receipts", verbose_name="API")
    event = models.OneToOneField(ApiEvent, on_delete=models.PROTECT, related_name="receipt", verbose_name=_("event"))
    verb = models.CharField(_("action"), max_length=30)
    revision = models.BigIntegerField(_("revision"))
    requested_at = models.DateTimeField(_("requested"))
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    workers = models.PositiveIntegerField(_("workers"), null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = _("receipt")
        verbose_name_plural = _("receipts")
        indexes = [models.Index(fields=["api"], condition=Q(confirmed_at__isnull=True), name="receipt_unconfirmed")]

    def __str__(self) -> str:
        return f"{self.verb} {self.api_id} r{self.revision}"
