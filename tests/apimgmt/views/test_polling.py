"""What a poll of the Create API tab gets: nothing while nothing changed, else only the parts that did."""

from __future__ import annotations

import re

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from apimgmt.lifecycle import services
from apimgmt.lifecycle.stages import waiting_stages
from apimgmt.models import GatewayWorker, PredictionAPI, RequestStat, Status
from apimgmt.views.api_page.page import POLL_IDLE_MS, POLL_PASSING_MS
from tests.apimgmt.views.conftest import htmx, url
from tests.factories import actor_for, make_model, make_user

pytestmark = pytest.mark.django_db


def tokens_in(content: bytes) -> str:
    found = re.search(r'hx-vals=\'\{"have": "(\w+)"\}\'', content.decode())
    assert found is not None
    return found[1]


def poll_ms_in(content: bytes) -> int:
    found = re.search(r'data-every="(\d+)"', content.decode())
    assert found is not None
    return int(found[1])


def parts_in(content: bytes) -> set[str]:
    return set(re.findall(r'hx-swap-oob="innerHTML:#api-(\w+)"', content.decode()))


@pytest.fixture
def shown(operator, api):
    """The tokens of the tab as the browser has it."""
    return tokens_in(operator.get(url("model-api", api.model)).content)


def poll(client, api, have):
    return client.get(url("api-status", api.model), {"have": have}, headers=htmx(api.model, target="api-poll"))


def test_unchanged_is_204_without_a_body(operator, api, shown):
    reply = poll(operator, api, shown)

    assert reply.status_code == 204
    assert reply.content == b""


def test_a_new_count_sends_the_numbers_and_nothing_else(operator, api, shown):
    RequestStat.objects.create(api_id=api.pk, day=timezone.localdate(), count_200=3)

    reply = poll(operator, api, shown)

    assert reply.status_code == 200
    assert parts_in(reply.content) == {"requests"}
    assert "<strong>3</strong> with Status 200" in reply.content.decode()
    assert poll(operator, api, tokens_in(reply.content)).status_code == 204


def test_a_colleagues_stop_sends_the_parts_that_tell_it_and_polls_faster(operator, api, shown):
    services.stop_api(api.pk, actor=actor_for(make_user("operator", api.model.workspace)))

    reply = poll(operator, api, shown)

    assert {"head", "status", "announcement"} <= parts_in(reply.content)
    assert "requests" not in parts_in(reply.content)
    assert "Stopping… 0 of 1 worker" in reply.content.decode()
    assert poll_ms_in(reply.content) == POLL_PASSING_MS


def test_an_idle_api_is_asked_for_often_enough_to_show_a_call_within_5_s(operator, api):
    assert poll_ms_in(operator.get(url("model-api", api.model)).content) == POLL_IDLE_MS <= 4000
    assert POLL_PASSING_MS == 500


def test_a_silent_worker_makes_the_page_say_not_confirmed_and_poll_faster(operator, api, shown):
    PredictionAPI.objects.filter(pk=api.pk).update(revision=-1)
    GatewayWorker.objects.update(heartbeat_at=timezone.now() - timezone.timedelta(minutes=1))

    reply = poll(operator, api, shown)

    assert "One worker is out of reach" in reply.content.decode()
    assert "out of reach since" in reply.content.decode()
    assert poll_ms_in(reply.content) == POLL_PASSING_MS


@pytest.mark.parametrize("have", ["", "nonsense", "0" * 64, "é" * 70])
def test_foreign_tokens_get_every_part(operator, api, have):
    reply = poll(operator, api, have)

    assert reply.status_code == 200
    assert {"head", "status", "information", "requests"} <= parts_in(reply.content)


def test_a_model_without_an_api_is_polled_too(operator, api):
    model = make_model(api.model.workspace)
    before = operator.get(url("model-api", model))

    reply = operator.get(url("api-status", model), {"have": tokens_in(before.content)})

    assert reply.status_code == 204


@pytest.mark.parametrize("status", [status for status in Status if status != Status.DELETED])
def test_every_status_can_be_shown_and_polled(operator, api, status):
    PredictionAPI.objects.filter(pk=api.pk).update(status=status)

    page = operator.get(url("model-api", api.model))

    assert page.status_code == 200
    assert str(status.label) in page.content.decode()
    assert poll(operator, api, tokens_in(page.content)).status_code == 204


def test_a_build_that_ends_while_the_page_is_read_is_still_told_as_building(operator, api):
    """The API's row is read before its build's: in between both may change."""
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.BUILDING)
    api.builds.create(
        version=api.version, kind="launch", outcome="succeeded", finished_at=timezone.now(), stages=waiting_stages()
    )

    page = operator.get(url("model-api", api.model)).content.decode()

    assert 'state-word">Building…</span>' in page


def test_a_poll_does_not_write_the_session(operator, api, shown):
    before = Session.objects.get()

    reply = poll(operator, api, "")

    assert "Set-Cookie" not in reply.headers
    assert Session.objects.get().expire_date == before.expire_date


def test_a_poll_after_the_session_is_over_goes_to_the_login_page(client, api):
    reply = poll(client, api, "")

    assert reply.headers["HX-Redirect"] == f"{reverse('login')}?next={url('model-api', api.model)}"


def test_an_action_after_the_session_is_over_goes_to_the_login_page_and_does_nothing(client, api):
    reply = client.post(url("api-stop", api.model), headers=htmx(api.model))

    assert reply.headers["HX-Redirect"].startswith(reverse("login"))
    api.refresh_from_db()
    assert api.target == "operating"


def test_the_range_is_kept_while_polling(operator, api):
    page = operator.get(url("model-api", api.model), {"days": "7"})

    reply = operator.get(url("api-status", api.model), {"have": tokens_in(page.content), "days": "7"})

    assert 'name="days" id="days" value="7"' in page.content.decode()
    assert reply.status_code == 204


@pytest.mark.parametrize("days", ["0", "-1", "31", "1e9", "x", "٣٠"])
def test_a_range_that_is_not_offered_is_30_days(operator, api, days):
    assert 'id="days" value="30"' in operator.get(url("model-api", api.model), {"days": days}).content.decode()


def test_the_page_refreshes_itself_without_scripts_while_something_passes(operator, api):
    idle = operator.get(url("model-api", api.model)).content.decode()
    services.stop_api(api.pk, actor=actor_for(make_user("operator", api.model.workspace)))

    passing = operator.get(url("model-api", api.model)).content.decode()

    assert "http-equiv" not in idle
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in passing
