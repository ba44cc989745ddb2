"""What gateways tell of models that disturbed them, as the console shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from apimgmt.incident_texts import SENTENCES
from apimgmt.lifecycle.selectors import incidents
from apimgmt.management.status import status_document
from apimgmt.models import GatewayIncident, PredictionAPI
from contract.incidents import ReasonCode, encode_reason
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


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        (encode_reason("process_ended", end="SIGFPE"), "The model ended its process (SIGFPE)."),
        (encode_reason("batch_process_ended", end="SIGKILL"), "A large body ended its process (SIGKILL)."),
        (encode_reason("time_limit", timeout_s=30.0), "The model took longer than 30 seconds."),
        (encode_reason("time_limit", timeout_s=2.5), "The model took longer than 2.5 seconds."),
        (encode_reason("memory_limit"), "The model needs more memory than it may have."),
        (encode_reason("worker_crashed", crash="Bus error"), "The worker crashed: Bus error."),
        (
            encode_reason("unknown_class"),
            "It answered with a class that is not in its description. That request got model_failed.",
        ),
        ("Segmentation fault", "Segmentation fault"),  # of an older gateway
        ('{"code": "of_a_later_gateway", "params": {}}', ""),
        ('{"code": "process_ended", "params": {"other": 1}}', ""),
    ],
)
def test_a_reason_is_a_sentence_for_people(api: PredictionAPI, stored: str, sentence: str) -> None:
    assert note(api, "timeout", reason=stored).reason_text == sentence


def test_every_code_has_a_sentence() -> None:
    assert set(SENTENCES) == set(get_args(ReasonCode))


def test_the_page_shows_the_sentence(api: PredictionAPI) -> None:
    incident = note(api, "timeout", reason=encode_reason("time_limit", timeout_s=30.0))

    page = render_to_string("apimgmt/partials/_incidents.html", {"incidents": [incident]})

    assert "The model took longer than it may. <span" in page
    assert ">The model took longer than 30 seconds.</span>" in page


def test_the_status_document_tells_them(api: PredictionAPI) -> None:
    note(api, "process_crashed", reason=encode_reason("process_ended", end="SIGFPE"))

    (told,) = status_document(api.pk)["incidents"]

    assert (told["kind"], told["reason"], told["worker"]) == (
        "process_crashed",
        "The model ended its process (SIGFPE).",
        "w",
    )
