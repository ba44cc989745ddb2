"""A dismissed worker no longer counts, but until its end is proven nobody is told that nothing is served."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from apimgmt.lifecycle import reconciling, reports, services
from apimgmt.lifecycle.confirmation import confirmation, dismissed_workers, gateway_summary
from apimgmt.models import GatewayWorker, PredictionAPI, Receipt, Status
from apimgmt.stats.folding import forget_the_gone
from tests.factories import actor_for, make_api, make_model, make_user, make_worker, make_workspace

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def operator():
    return actor_for(make_user("operator"))


@pytest.fixture
def dismissed() -> GatewayWorker:
    """A worker that fell silent and was dismissed by name."""
    worker = make_worker(heartbeat_at=timezone.now() - DAY)
    services.dismiss_worker(worker.pk, actor=actor_for(make_user("administrator")))
    return worker


@pytest.fixture
def stopped(dismissed: GatewayWorker, operator) -> PredictionAPI:
    """An API whose stop was confirmed after the only worker had been dismissed."""
    api = make_api()
    services.stop_api(api.pk, actor=operator)
    reconciling.reconcile_api(api.pk, 0)
    api.refresh_from_db()
    return api


def prove_end(worker: GatewayWorker, reason: str = "adopted") -> None:
    GatewayWorker.objects.filter(pk=worker.pk).update(gone_reason=reason)


def receipt_text(api: PredictionAPI) -> str:
    return reports.receipt_sentence(Receipt.objects.get(api=api, verb="stop"), dismissed_workers())


def test_a_dismissed_worker_does_not_hold_up_a_stop_but_the_receipt_names_it(stopped, dismissed):
    assert stopped.status == Status.STOPPED
    assert "nothing is served" not in receipt_text(stopped)
    assert f"test:8080/{dismissed.slot} was dismissed and may still answer" in receipt_text(stopped)


@pytest.mark.parametrize("reason", ["left", "adopted"])
def test_once_its_end_is_proven_nothing_is_served(stopped, dismissed, reason):
    prove_end(dismissed, reason)

    assert receipt_text(stopped) == "in force: no gateway is running, nothing is served"
    assert confirmation(stopped).dismissed == ()


def test_the_end_of_its_lease_is_proof(stopped, dismissed):
    GatewayWorker.objects.filter(pk=dismissed.pk).update(lease_until=timezone.now() - timedelta(seconds=2))

    assert "nothing is served" in receipt_text(stopped)


def test_a_receipt_of_workers_that_count_names_the_dismissed_one_too(dismissed, operator):
    api = make_api()
    worker = make_worker()
    services.stop_api(api.pk, actor=operator)
    GatewayWorker.objects.filter(pk=worker.pk).update(applied_revision=10**9)
    reconciling.reconcile_api(api.pk, 0)

    assert "confirmed by 1 of 1 worker in" in receipt_text(api)
    assert "may still answer by the old rule" in receipt_text(api)


def test_a_receipt_from_before_the_dismissal_stays_as_it_was(operator):
    api = make_api()
    worker = make_worker()
    services.stop_api(api.pk, actor=operator)
    GatewayWorker.objects.filter(pk=worker.pk).update(applied_revision=10**9)
    reconciling.reconcile_api(api.pk, 0)
    GatewayWorker.objects.filter(pk=worker.pk).update(heartbeat_at=timezone.now() - DAY)
    services.dismiss_worker(worker.pk, actor=actor_for(make_user("administrator")))

    assert "may still answer" not in receipt_text(api)


def test_status_says_who_was_dismissed(stopped, dismissed):
    output = io.StringIO()
    call_command("api", "status", stopped.pk, "--json", stdout=output)
    document = json.loads(output.getvalue())

    assert document["confirmed"] is True
    assert [one["worker"] for one in document["dismissed"]] == [f"test:8080/{dismissed.slot}"]

    output = io.StringIO()
    call_command("api", "status", stopped.pk, stdout=output)
    assert "nothing is served" not in output.getvalue()
    assert "may still answer by the old rule until its end is proven" in output.getvalue()


def test_a_build_without_a_worker_that_counts_is_told_of_the_dismissed_one(dismissed):
    seen = confirmation(make_api())

    assert not seen.is_confirmed
    assert "may still answer" in reports.unconfirmed_sentence(seen)


def test_the_footer_counts_it_apart(dismissed):
    summary = gateway_summary()

    assert (summary.counted, summary.dismissed) == (0, 1)
    assert reports.gateways_sentence(summary).endswith("1 dismissed worker may still answer")


def test_the_page_and_the_history_say_so(client, dismissed, operator):
    workspace = make_workspace()
    api = make_api(make_model(workspace))
    services.stop_api(api.pk, actor=operator)
    reconciling.reconcile_api(api.pk, 0)
    client.force_login(make_user("operator", workspace))

    for name in ("model-api", "api-history"):
        page = client.get(reverse(name, args=[api.model_id])).content.decode()
        assert "nothing is served" not in page
        assert "may still answer by the old rule" in page


def test_it_is_not_forgotten_while_it_may_answer(dismissed):
    GatewayWorker.objects.filter(pk=dismissed.pk).update(gone_at=timezone.now() - 40 * DAY)
    forget_the_gone()
    assert GatewayWorker.objects.filter(pk=dismissed.pk).exists()

    prove_end(dismissed)
    forget_the_gone()
    assert not GatewayWorker.objects.filter(pk=dismissed.pk).exists()
