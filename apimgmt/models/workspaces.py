"""Customers: what each bought, and who belongs to it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Edition(models.TextChoices):
    TRIAL = "trial", pgettext_lazy("edition", "Trial")
    STANDARD = "standard", pgettext_lazy("edition", "Standard")


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
