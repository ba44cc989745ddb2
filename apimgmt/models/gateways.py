"""What the console and the gateways know of each other.

GatewayWorker, ModelLoad and GatewayIncident are written by the gateway, through SQL of its own, and only read here.
None of them refers to PredictionAPI by a foreign key: a key check would wait for whoever holds the API's row.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from apimgmt.incident_texts import reason_text
from apimgmt.models.apis import API_ID_LENGTH


class Installation(models.Model):
    """One row (id 1): the global revision of gateway configuration, the database's epoch, and the time zone of days."""

    SINGLETON_ID: ClassVar[int] = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    epoch = models.UUIDField(_("epoch"))
    revision = models.BigIntegerField(_("revision"), default=0)
    time_zone = models.CharField(_("time zone"), max_length=64)

    class Meta:
        verbose_name = _("installation")
        verbose_name_plural = _("installation")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="installation_has_one_row")]

    def __str__(self) -> str:
        return f"r{self.revision}"


class GatewayWorker(models.Model):
    """One gateway worker process, from its start to its proven end. Written by the gateway.

    It counts for confirmation while `gone_at` is null (and its lease, if it has one, has not ended).
    """

    class State(models.TextChoices):
        STARTING = "starting", _("Starting")
        SERVING = "serving", _("Serving")
        DRAINING = "draining", _("Draining")

    class GoneReason(models.TextChoices):
        LEFT = "left", _("stopped in an orderly way")
        ADOPTED = "adopted", _("its ledger was adopted")
        DISMISSED = "dismissed", _("dismissed by an administrator")

    class Obstacle(models.TextChoices):
        """What a worker that answers can't write into the database."""

        COUNTS = "counts", _("Its counts are not written into the database.")
        RECOVERY = "recovery", _("The counts that an ended worker left behind are not written into the database.")
        INCIDENTS = "incidents", _("What models did to processes is not written into the database.")
        OTHER = "other", _("Its background work fails.")

    id = models.CharField(_("worker"), primary_key=True, max_length=32)
    host = models.CharField(_("host"), max_length=255)
    pid = models.PositiveIntegerField("PID")
    slot = models.PositiveIntegerField(_("slot"))
    port = models.PositiveIntegerField(_("port"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.STARTING)
    epoch = models.UUIDField(_("epoch"), null=True)
    applied_revision = models.BigIntegerField(_("applied revision"), default=-1)
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("last heartbeat"))
    lease_until = models.DateTimeField(_("lease until"), null=True)
    gone_at = models.DateTimeField(_("gone"), null=True)
    gone_reason = models.CharField(_("gone because"), max_length=10, choices=GoneReason, blank=True)
    dismissed_by = models.CharField(_("dismissed by"), max_length=200, blank=True)
    route_view = models.PositiveSmallIntegerField(_("route view"), default=1, db_default=1)
    obstacle = models.CharField(_("obstacle"), max_length=10, choices=Obstacle, blank=True, default="", db_default="")
    obstacle_reason = models.TextField(_("reason of the obstacle"), blank=True, default="", db_default="")
    obstacle_since = models.DateTimeField(_("obstacle since"), null=True)

    class Meta:
        ordering = ["host", "port", "slot", "started_at"]
        verbose_name = _("gateway worker")
        verbose_name_plural = _("gateway workers")
        permissions = [("dismiss_gatewayworker", "Can dismiss a gateway worker that is out of reach")]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.slot} ({self.id[:6]})"


class ModelLoad(models.Model):
    """Whether one gateway worker could load one version for one API. Written by the gateway."""

    worker = models.ForeignKey(GatewayWorker, on_delete=models.CASCADE, related_name="loads")
    api_id = models.CharField(max_length=API_ID_LENGTH)
    version_id = models.BigIntegerField()
    is_loaded = models.BooleanField()
    error = models.TextField(blank=True)
    loaded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["worker", "api_id", "version_id"], name="one_load_per_worker_and_version")
        ]

    def __str__(self) -> str:
        return f"{self.api_id} v{self.version_id} on {self.worker_id}"


class GatewayIncident(models.Model):
    """What the model of one API did that it must not do. Written by the gateway; the console only shows it.

    No foreign key: a gateway's write must not wait for, or fail on, a row that the console is changing.
    """

    class Kind(models.TextChoices):
        WORKER_CRASHED = "worker_crashed", _("The model crashed a gateway worker. It runs in a process of its own now.")
        PROCESS_CRASHED = "process_crashed", _("The model ended the process that ran it.")
        MEMORY = "memory", _("The model asked for more memory than it may have.")
        TIMEOUT = "timeout", _("The model took longer than it may.")
        WRONG_ANSWER = "wrong_answer", _("The model gave an answer that its description rules out.")

    api_id = models.CharField(max_length=API_ID_LENGTH)
    version_id = models.BigIntegerField()
    worker_id = models.CharField(max_length=32)
    kind = models.CharField(max_length=20, choices=Kind)
    reason = models.TextField()  # a code and its parameters: `contract.incidents`
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["api_id", "-id"], name="incidents_of_an_api")]
        verbose_name = _("gateway incident")
        verbose_name_plural = _("gateway incidents")

    def __str__(self) -> str:
        return f"{self.api_id} {self.kind}"

    @property
    def reason_text(self) -> str:
        """The reason as a sentence for people."""
        return reason_text(self.reason)
