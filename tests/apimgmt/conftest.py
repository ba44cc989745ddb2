"""Rows that migrations made outlive the flush that ends a transactional test: no test has to run before another."""

from __future__ import annotations

import uuid
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from apimgmt.models import Installation
from apimgmt.roles import install_roles


@receiver(post_migrate)
def make_again(sender: AppConfig, **_signal: Any) -> None:
    """Django sends this after a flush too, for one app after the other; the last one finds every permission made."""
    if sender is list(apps.get_app_configs())[-1]:
        Installation.objects.get_or_create(id=1, defaults={"epoch": uuid.uuid4(), "time_zone": settings.TIME_ZONE})
        install_roles(Group, Permission)
