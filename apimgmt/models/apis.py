"""Served endpoints and who may call them."""

from __future__ import annotations

import secrets
import string

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apimgmt.models.registry import Model, ModelVersion
from contract.charsets import DEFAULTS

API_ID_ALPHABET = string.ascii_lowercase + string.digits
API_ID_LENGTH = 16


def new_api_id() -> str:
    """16 random lower-case letters and digits (DESIGN: API ID)."""
    return "".join(secrets.choice(API_ID_ALPHABET) for _ in range(API_ID_LENGTH))


class ApiType(models.TextChoices):
    OFFICIAL = "official", _("Official API")
    TRIAL = "trial", _("Trial API")


class Status(models.TextChoices):
    """What people are told. Labels are the manual's, and Failed."""

    BUILDING = "building", pgettext_lazy("API status", "Building")
    UPDATING = "updating", pgettext_lazy("API status", "Updating")
    OPERATING = "operating", pgettext_lazy("API status", "Operating")
    STOPPED = "stopped", pgettext_lazy("API status", "Stopped")
    DELETING = "deleting", pgettext_lazy("API status", "Deleting")
    FAILED = "failed", pgettext_lazy("API status", "Failed")
    DELETED = "deleted", pgettext_lazy("API status", "Deleted")


class Target(models.TextChoices):
    """What gateways obey. The gateway answers by this word (`gateway_route_v2.target`)."""

    BUILDING = "building", _("Building")
    OPERATING = "operating", _("Operating")
    STOPPED = "stopped", _("Stopped")
    FAILED = "failed", _("Failed")
    DELETING = "deleting", _("Deleting")
    DELETED = "deleted", _("Deleted")


class PredictionAPI(models.Model):
    """A served endpoint. `status` is what people are told, `target` what gateways obey; only `lifecycle` writes them.

    A trigger gives every change that gateways must obey the next global `revision`, in the same transaction.
    A deleted API keeps its row: its history stays readable, its key material is erased.
    """

    id = models.CharField("API ID", primary_key=True, max_length=API_ID_LENGTH, default=new_api_id, editable=False)
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="apis", verbose_name=_("model"))
    type = models.CharField(_("API type"), max_length=10, choices=ApiType)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.BUILDING)
    target = models.CharField(_("target"), max_length=10, choices=Target, default=Target.BUILDING)
    is_locked = models.BooleanField(_("locked"), default=False)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="+", verbose_name=_("served version")
    )
    candidate = models.ForeignKey(
        ModelVersion,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        verbose_name=_("version being taken up"),
        help_text=_("Gateways load it beside the served one; it takes over once all of them have it."),
    )
    hides_schema = models.BooleanField(
        _("hide schema in errors"),
        default=False,
        db_default=False,
        help_text=_("Refusals tell the code and how many rows are wrong, but no column."),
    )
    has_public_description = models.BooleanField(
        _("description public"),
        default=False,
        db_default=False,
        help_text=_("Whoever has an allowed address may read the columns and the docs page without the key."),
    )
    csv_charset = models.CharField(
        _("charset of CSVs"),
        max_length=20,
        choices=[(name, name) for name in DEFAULTS],
        blank=True,
        default="",
        db_default="",
        help_text=_("Of a CSV that is no UTF-8 and whose request names no charset; empty: recognised."),
    )
    key_digest = models.BinaryField(_("key digest"), null=True, editable=False)
    key_encrypted = models.BinaryField(_("encrypted key"), null=True, editable=False)
    revision = models.BigIntegerField(_("revision"), default=0, editable=False)
    status_since = models.DateTimeField(_("status since"), default=timezone.now, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    created_by = models.CharField(_("created by"), max_length=200, editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = _("prediction API")
        verbose_name_plural = _("prediction APIs")
        permissions = [
            ("operate_predictionapi", "Can launch, start, stop, lock, update and delete prediction APIs"),
            ("view_predictionapi_key", "Can see the key of a prediction API"),
            ("unlock_predictionapi", "Can unlock prediction APIs"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["model"], condition=Q(deleted_at__isnull=True), name="one_api_not_deleted_per_model"
            ),
            models.CheckConstraint(condition=Q(type__in=ApiType.values), name="predictionapi_type_known"),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="predictionapi_status_known"),
            models.CheckConstraint(condition=Q(target__in=Target.values), name="predictionapi_target_known"),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(key_digest__isnull=True, key_encrypted__isnull=True),
                name="deleted_api_has_no_key",
            ),
            models.CheckConstraint(
                condition=(Q(status=Status.DELETED) & Q(deleted_at__isnull=False))
                | (~Q(status=Status.DELETED) & Q(deleted_at__isnull=True)),
                name="deleted_api_has_a_date",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} ({self.id})"


class WhitelistEntry(models.Model):
    """One network that may call one API, in canonical notation (`contract.networks`): 192.0.2.7/32, 2001:db8::/64."""

    api = models.ForeignKey(PredictionAPI, on_delete=models.CASCADE, related_name="whitelist", verbose_name="API")
    network = models.CharField(_("network"), max_length=43)
    note = models.CharField(_("note"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("added"), default=timezone.now, editable=False)
    created_by = models.CharField(_("added by"), max_length=200, editable=False)

    class Meta:
        ordering = ["id"]
        verbose_name = _("whitelist entry")
        verbose_name_plural = _("IP whitelist")
        constraints = [models.UniqueConstraint(fields=["api", "network"], name="network_once_per_api")]

    def __str__(self) -> str:
        return self.network
