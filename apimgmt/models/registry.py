"""Prediction models and their artefacts."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apimgmt.models.workspaces import Workspace
from contract.model_spec import ModelSpec, spec_from_json


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
    """One artefact of a model. The bytes lie in the model store under their sha256.

    `spec` and `meaning` are a ModelSpec in two parts: a version stored before meanings were has none until the old
    rules' choice is frozen (`registry.freezing`), or `freeze_fault`, a message that says why it can't be.
    """

    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="versions", verbose_name=_("model"))
    number = models.PositiveIntegerField(_("version"))
    sha256 = models.CharField("sha256", max_length=64)
    size_bytes = models.PositiveBigIntegerField(_("size in bytes"))
    format = models.CharField(_("format"), max_length=10, default="onnx")
    task = models.CharField(_("task"), max_length=10)
    spec = models.JSONField(_("description"))
    meaning = models.JSONField(_("meaning of outputs and classes"), null=True, editable=False)
    freeze_fault = models.JSONField(_("why its meaning is not known"), null=True, editable=False)
    freeze_tried_at = models.DateTimeField(null=True, editable=False)
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

    def described(self) -> ModelSpec:
        """The whole description, with its meaning."""
        return spec_from_json(self.spec, self.meaning)
