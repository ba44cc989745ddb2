"""What the manual promises to callers, on the wire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.live.conftest import command
from tests.live.test_life import until


def test_a_trial_api_answers_100_requests(launch):
    api = launch(type="trial")

    with ThreadPoolExecutor(8) as callers:
        replies = list(callers.map(lambda _number: api.call(), range(110)))

    assert sorted(reply.status_code for reply in replies) == [200] * 100 + [429] * 10
    assert {reply.json()["code"] for reply in replies if reply.status_code == 429} == {"quota_exhausted"}


def test_an_official_api_has_no_such_limit(launch):
    api = launch(type="official")

    with ThreadPoolExecutor(8) as callers:
        replies = list(callers.map(lambda _number: api.call(), range(110)))

    assert {reply.status_code for reply in replies} == {200}


def test_the_api_can_be_used_after_building_is_complete_and_not_before(launch, running):
    running.worker.stop()
    api = launch(wait=False)
    before = api.call()
    running.start("worker")
    until(lambda: api.status()["status"] == "operating", 40)

    assert (before.status_code, before.json()["code"]) == (503, "api_building")
    assert "retry-after" in before.headers
    assert api.call().status_code == 200


def test_building_takes_seconds_where_the_manual_allows_20_minutes(launch, running):
    api = launch()

    seconds = running.psql(
        "SELECT extract(epoch FROM finished_at - requested_at)::float FROM apimgmt_build WHERE api_id = %s", [api.id]
    )

    assert 0 < seconds[0][0] < 30  # about a second on an idle machine


def test_an_api_that_is_being_updated_processes_requests(launch, running):
    api = launch(type="official")
    name = running.psql("SELECT name FROM apimgmt_model WHERE id = %s", [api.model_id])[0][0]
    command(running, "register_model", "demo/models/penguins.onnx", "--name", name, "--workspace", "Demo")
    running.worker.stop()  # nobody builds version 2, so there is time

    api.do("update", "2", wait=False)

    assert api.status()["status"] == "updating"
    reply = api.call()
    assert (reply.status_code, reply.headers["x-model-version"]) == (200, "1")


def test_requests_are_counted_by_the_status_they_were_answered_with(launch):
    api = launch(type="official")
    for _ in range(3):
        assert api.call().status_code == 200
    assert api.call(content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert api.call(headers={"x-api-key": "wrong"}).status_code == 401
    api.do("stop")
    assert api.call().status_code == 503

    assert until(lambda: api.status()["requests"] == {"200": 3, "4xx": 2, "5xx": 1})


def test_only_addresses_on_the_whitelist_may_call_and_0_0_0_0_0_allows_all(launch):
    api = launch(allow="192.0.2.0/24")
    assert api.call().json()["code"] == "ip_not_allowed"

    api.do("allow", "0.0.0.0/0")

    assert api.call().status_code == 200
