"""What the API's page says where the numbers lack counts that a worker can't write out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apimgmt.models import GatewayWorker
from tests.apimgmt.views.conftest import url
from tests.factories import make_worker

pytestmark = pytest.mark.django_db

SINCE = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


def page_of(client, api):
    return " ".join(client.get(url("model-api", api.model)).content.decode().split())


@pytest.fixture
def told(settings):
    settings.TIME_ZONE = "UTC"


def test_a_worker_whose_counts_are_not_written_out_is_named_with_the_time(told, operator, api):
    make_worker(host="west", port=8081, slot=3, obstacle="counts", obstacle_since=SINCE)

    page = page_of(operator, api)

    assert "the counts of worker west:8081/3 are not written out. Since 4 Mar 2026, 05:06." in page


def test_counts_that_an_ended_worker_left_behind_are_told_apart(told, operator, api):
    make_worker(host="west", port=8081, slot=3, obstacle="recovery", obstacle_since=SINCE)

    page = page_of(operator, api)

    assert "worker west:8081/3 can't write out the counts that a worker before it left behind." in page


@pytest.mark.parametrize(
    "fields",
    [
        {"obstacle": ""},
        {"obstacle": "incidents", "obstacle_since": SINCE},
        {"obstacle": "counts", "obstacle_since": SINCE, "gone_at": SINCE, "gone_reason": GatewayWorker.GoneReason.LEFT},
    ],
    ids=["no obstacle", "other writing", "gone"],
)
def test_other_workers_are_not_told_of(operator, api, fields):
    make_worker(**fields)

    assert "Not complete" not in page_of(operator, api)
