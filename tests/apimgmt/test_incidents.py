"""What gateways tell of models that disturbed them, as the console shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apimgmt.management.base import status_document
from apimgmt.models import GatewayIncident, PredictionAPI
from apimgmt.selectors import incidents
from tests.factories import make_api

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> PredictionAPI:
    return make_api()


def note(api: PredictionAPI, kind: str, *, days_ago: float = 0, **fields: Any) -> GatewayIncident:
    given = {"api_id": api.pk, "version_id": api.version_id, "worker_id": "w", "reason": "so it was"} | fields
    return GatewayIncident.objects.create(kind=kind, at=timezone.now() - timedelta(days=days_ago), **given)


def test_the_latest_incidents_of_this_api_come_first(api: PredictionAPI) -> None:
    older, newer = note(api, "memory", days_ago=1), note(api, "timeout")
    note(api, "timeout", api_id="another000000000")

    assert incidents(api) == [newer, older]


def test_old_ones_are_not_shown_unless_they_are_still_in_force(api: PredictionAPI) -> None:
    note(api, "timeout", days_ago=8)
    lasting = note(api, "worker_crashed", days_ago=100)
    note(api, "worker_crashed", days_ago=100, version_id=api.version_id + 1)

    assert incidents(api) == [lasting]


def test_what_is_still_in_force_is_not_hidden_by_ten_later_ones(api: PredictionAPI) -> None:
    lasting = note(api, "worker_crashed", days_ago=100)
    later = [note(api, "timeout") for _ in range(12)]

    assert incidents(api) == [*later[:2:-1], lasting]


def test_the_status_document_tells_them(api: PredictionAPI) -> None:
    note(api, "process_crashed")

    (told,) = status_document(api.pk)["incidents"]

    assert (told["kind"], told["reason"], told["worker"]) == ("process_crashed", "so it was", "w")
