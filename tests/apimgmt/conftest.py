"""Rows that migrations made and that a transactional test's flush takes away."""

from __future__ import annotations

import uuid

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission

from apimgmt.models import Installation
from apimgmt.roles import install_roles


@pytest.fixture
def installed(transactional_db):
    """The installation's row and the roles, made again after the flush of an earlier transactional test."""
    Installation.objects.get_or_create(id=1, defaults={"epoch": uuid.uuid4(), "time_zone": settings.TIME_ZONE})
    install_roles(Group, Permission)
