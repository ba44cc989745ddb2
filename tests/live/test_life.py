"""The life of an API on the wire: a real build worker, a real gateway, a real model."""

from __future__ import annotations

import threading
import time

import pytest

from contract.model_store import stored_path
from tests.live.conftest import command, register


def until(condition, timeout_s: float = 60.0, pause_s: float = 0.05):
    """What the condition returns once it is truthy; the test fails when the time is over."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause_s)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("stem", ["penguins", "breast_cancer", "diabetes"])
def test_each_demo_model_is_launched_called_and_counted(launch, stem):
    api = launch(stem=stem)

    reply = api.call()

    assert reply.status_code == 200, reply.text
    prediction = reply.json()["predictions"][0]
    assert ("value" in prediction) == (stem == "diabetes")
    assert until(lambda: api.status()["requests"]["200"] == 1)
    assert api.status()["quota_remaining"] == 99


def test_a_stopped_api_answers_503_and_starts_again_with_the_same_key_and_counts(launch):
    api = launch()
    assert api.call().status_code == 200

    stopped = api.do("stop")
    refused = api.call()
    started = api.do("start")

    assert (stopped["status"], stopped["target"], stopped["confirmed"]) == ("stopped", "stopped", True)
    assert (refused.status_code, refused.json()["code"]) == (503, "api_stopped")
    assert started["status"] == "operating"
    assert api.call().status_code == 200
    assert until(lambda: api.status()["requests"] == {"200": 2, "4xx": 0, "5xx": 1})


def test_a_locked_api_can_not_be_stopped(launch):
    api = launch()
    api.do("lock")

    refused = api.do("stop", check=False)

    assert "locked" in refused["error"]
    assert api.call().status_code == 200
    api.do("unlock")
    assert api.do("stop")["status"] == "stopped"


def test_a_deleted_api_is_unknown_and_frees_the_model(launch):
    api = launch()
    api.do("stop")

    assert api.do("delete")["status"] == "deleted"

    assert api.call().status_code == 404
    again = command(api.stack, "launch_api", str(api.model_id), "--type", "trial", "--wait")
    assert again["api_id"] != api.id


def test_delete_is_refused_until_stopped(launch):
    api = launch()

    assert "Stop the API first" in api.do("delete", check=False)["error"]


def test_an_update_loses_no_request(launch):
    api = launch(type="official")
    register(api.stack, api.stack.psql("SELECT name FROM apimgmt_model WHERE id = %s", [api.model_id])[0][0])
    versions, failures, done = set(), [], threading.Event()

    def keep_calling():
        while not done.is_set():
            reply = api.call()
            versions.add(reply.headers.get("x-model-version"))
            if reply.status_code != 200:
                failures.append(reply.text)

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        updated = api.do("update", "2")
        until(lambda: "2" in versions)
    finally:
        done.set()
        caller.join()

    assert failures == []
    assert updated["version"] == 2
    assert versions == {"1", "2"}


def test_a_rolled_key_is_refused_at_once(launch):
    api = launch()
    rolled = api.do("roll-key")

    assert api.call().status_code == 401
    assert api.call(headers={"x-api-key": rolled["api_key"]}).status_code == 200


def test_the_whitelist_is_true_on_the_wire(launch):
    api = launch(allow="192.0.2.1")
    refused = api.call()
    api.do("allow", "127.0.0.1")

    assert (refused.status_code, refused.json()["code"]) == (403, "ip_not_allowed")
    assert "127.0.0.1" in refused.json()["detail"]
    assert api.call().status_code == 200
    api.do("disallow", "127.0.0.1/32")
    assert api.call().status_code == 403


def test_an_upgraded_trial_has_no_quota_any_more(launch):
    api = launch()
    api.call()

    assert api.do("upgrade")["type"] == "official"

    assert "x-quota-limit" not in api.call().headers
    assert api.status()["quota_remaining"] is None


def test_a_model_that_a_gateway_can_not_load_fails_at_confirm_with_the_reason(launch, running):
    api = launch()
    api.do("stop")
    sha256 = running.psql("SELECT sha256 FROM apimgmt_modelversion WHERE model_id = %s", [api.model_id])[0][0]
    path = stored_path(running.environment.model_store_dir, sha256)
    good = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(b"not a model")
    try:
        failed = api.do("start", check=False)
    finally:
        path.write_bytes(good)

    assert failed["error"]
    assert api.status()["status"] == "failed"
    assert api.call().json()["code"] == "api_failed"
    assert api.do("start")["status"] == "operating"


def test_without_a_gateway_a_build_fails_and_a_stop_is_confirmed(launch, running):
    api = launch()
    running.gateway.stop()
    try:
        stopped = api.do("stop")
        failed = api.do("start", check=False)
        status = api.status()
    finally:
        running.start("gateway")

    assert stopped["status"] == "stopped"
    assert "No gateway is running" in failed["error"]
    assert status["status"] == "failed"
    assert api.do("start")["status"] == "operating"


def test_a_build_whose_worker_was_killed_is_picked_up_again(launch, running):
    running.worker.stop()
    api = launch(wait=False)
    running.worker.start()
    until(lambda: running.psql("SELECT claimed_at FROM apimgmt_build WHERE api_id = %s", [api.id])[0][0], pause_s=0.002)
    running.worker.kill_all()

    running.start("worker")

    assert until(lambda: api.status()["status"] == "operating")
    assert running.psql("SELECT count(*) FROM apimgmt_build WHERE api_id = %s", [api.id]) == [(1,)]


def test_work_asked_for_while_no_build_worker_runs_waits_for_it(launch, running):
    running.worker.stop()
    api = launch(wait=False)
    assert api.status()["status"] == "building"
    assert api.call().json()["code"] == "api_building"

    running.start("worker")

    assert until(lambda: api.status()["status"] == "operating")


def test_a_cancelled_build_is_stopped(launch, running):
    running.worker.stop()
    api = launch(wait=False)

    cancelled = api.do("cancel")
    running.start("worker")

    assert cancelled["status"] == "stopped"
    assert api.call().json()["code"] == "api_stopped"
