"""The tables. What must never be false is a constraint here or in the migrations, not only a check in Python.

Three tables are written by the gateway, through SQL of its own, and only read here: GatewayWorker, ModelLoad and
GatewayIncident.
RequestStat, Ledger, TrialQuota and TrialUse are written by both halves under the rules of docs/gateway.md.
None of those refers to PredictionAPI by a foreign key: a key check would wait for whoever holds the API's row.
"""

from __future__ import annotations

import secrets
import string
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from apimgmt.incident_texts import reason_text

API_ID_ALPHABET = string.ascii_lowercase + string.digits
API_ID_LENGTH = 16


def new_api_id() -> str:
    """16 random lower-case letters and digits (DESIGN: API ID)."""
    return "".join(secrets.choice(API_ID_ALPHABET) for _ in range(API_ID_LENGTH))


class Edition(models.TextChoices):
    TRIAL = "trial", pgettext_lazy("edition", "Trial")
    STANDARD = "standard", pgettext_lazy("edition", "Standard")


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
    """What gateways obey. The gateway answers by this word (`gateway_route_v1.target`)."""

    BUILDING = "building", _("Building")
    OPERATING = "operating", _("Operating")
    STOPPED = "stopped", _("Stopped")
    FAILED = "failed", _("Failed")
    DELETING = "deleting", _("Deleting")
    DELETED = "deleted", _("Deleted")


class Workspace(models.Model):
    """A customer: its members see everything in it, nobody else anything."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    edition = models.CharField(_("edition"), max_length=10, choices=Edition, default=Edition.STANDARD)
    api_options = models.PositiveIntegerField(
        _("API options"), default=0, help_text=_("Number of official APIs that were purchased.")
    )
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="workspaces", blank=True, verbose_name=_("members")
    )

    class Meta:
        ordering = ["name"]
        verbose_name = _("workspace")
        verbose_name_plural = _("workspaces")
        constraints = [models.CheckConstraint(condition=Q(edition__in=Edition.values), name="workspace_edition_known")]

    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A prediction model; its artefacts are ModelVersions."""

    workspace = models.ForeignKey(
        Workspace, on_delete=models.PROTECT, related_name="models", verbose_name=_("workspace")
    )
    name = models.CharField(_("name"), max_length=100)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    created_by = models.CharField(_("created by"), max_length=200, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = _("model")
        verbose_name_plural = _("models")
        constraints = [models.UniqueConstraint(fields=["workspace", "name"], name="model_name_once_per_workspace")]

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """One artefact of a model. The bytes lie in the model store under their sha256; `spec` is a gateway ModelSpec."""

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="versions", verbose_name=_("model"))
    number = models.PositiveIntegerField(_("version"))
    sha256 = models.CharField("sha256", max_length=64)
    size_bytes = models.PositiveBigIntegerField(_("size in bytes"))
    format = models.CharField(_("format"), max_length=10, default="onnx")
    task = models.CharField(_("task"), max_length=10)
    spec = models.JSONField(_("description"))
    created_at = models.DateTimeField(_("registered"), default=timezone.now, editable=False)
    created_by = models.CharField(_("registered by"), max_length=200, editable=False)

    class Meta:
        ordering = ["-number"]
        verbose_name = _("model version")
        verbose_name_plural = _("model versions")
        constraints = [
            models.UniqueConstraint(fields=["model", "number"], name="modelversion_number_once_per_model"),
            models.CheckConstraint(condition=Q(number__gte=1), name="modelversion_number_from_1"),
        ]

    def __str__(self) -> str:
        return f"{self.model.name} v{self.number}"


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

    `stages` is a list of `{"name", "state": waiting|running|done|failed, "seconds", "detail"}` in running order.
    Who runs it holds an advisory lock on its id, so a killed worker's build is free at once; `claimed_at` tells people.
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
    stages = models.JSONField(_("stages"), default=list)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome, blank=True)
    failed_stage = models.CharField(_("failed stage"), max_length=20, blank=True)
    reason = models.TextField(_("reason"), blank=True)
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
    """What the model of one API did to the process that ran it. Written by the gateway; the console only shows it.

    No foreign key: a gateway's write must not wait for, or fail on, a row that the console is changing.
    """

    class Kind(models.TextChoices):
        WORKER_CRASHED = "worker_crashed", _("The model crashed a gateway worker. It runs in a process of its own now.")
        PROCESS_CRASHED = "process_crashed", _("The model ended the process that ran it.")
        MEMORY = "memory", _("The model asked for more memory than it may have.")
        TIMEOUT = "timeout", _("The model took longer than it may.")

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
