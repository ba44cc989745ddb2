"""`manage.py api` and `launch_api`: what they take, refuse and print; what they do is the services' matter."""

from __future__ import annotations

import io
import json
import re

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from msgspec.structs import replace

from apimgmt.models import ApiType, Build, PredictionAPI, Status
from tests.factories import SPEC, load, make_api, make_model, make_version, make_worker

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    output = io.StringIO()
    call_command(*words, stdout=output, stderr=io.StringIO())
    return output.getvalue()


@pytest.fixture
def api() -> PredictionAPI:
    return make_api(type=ApiType.TRIAL)


def test_start_takes_a_version_and_builds_it(api):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target="stopped")
    second = make_version(api.model)

    run("api", "start", api.pk, "2")

    assert Build.objects.get(api=api).version == second


def test_start_without_a_version_keeps_the_one_it_had(api):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target="stopped")
    make_version(api.model)

    run("api", "start", api.pk)

    assert Build.objects.get(api=api).version == api.version


def test_start_refuses_a_version_that_does_not_exist(api):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target="stopped")

    with pytest.raises(CommandError, match=r"^The model has no version 7\.$"):
        run("api", "start", api.pk, "7")

    api.refresh_from_db()
    assert api.status == Status.STOPPED


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("stop", "2"), "stop takes no argument."),
        (("update", ""), "update needs an argument: the number of a version."),
        (("update", "two"), "two is not the number of a version."),
        (("update", "1"), "Version 1 is served already."),
        (("update", "9"), "The model has no version 9."),
        (("allow", ""), "allow needs an argument: a network."),
        (("hide-schema", "yes"), "Say on or off."),
    ],
)
def test_a_wrong_argument_is_refused_in_a_sentence(api, words, refusal):
    action, argument = words

    with pytest.raises(CommandError, match=f"^{re.escape(refusal)}$"):
        run("api", action, api.pk, argument)


def test_an_update_that_callers_would_notice_is_told_and_needs_a_flag(api):
    make_version(api.model, replace(SPEC, classes=("no", "perhaps")))

    with pytest.raises(CommandError) as refusal:
        run("api", "update", api.pk, "2")
    assert not Build.objects.exists()
    told = run("api", "update", api.pk, "2", "--confirm")

    changes = ["These classes go: yes.", "These classes come: perhaps."]
    asked = "Nothing was changed. If callers are ready for it, add --confirm."
    assert str(refusal.value) == " ".join([*changes, asked])
    assert told.splitlines()[:2] == changes
    assert Build.objects.get(api=api).version.number == 2


def test_a_locked_api_asks_for_the_flag_too_and_others_take_none(api):
    PredictionAPI.objects.filter(pk=api.pk).update(is_locked=True)
    make_version(api.model)

    with pytest.raises(CommandError, match=r"locked.*add --confirm\.$"):
        run("api", "update", api.pk, "2")
    with pytest.raises(CommandError, match=r"^stop takes no --confirm\.$"):
        run("api", "stop", api.pk, "--confirm")
    run("api", "update", api.pk, "2", "--confirm")

    assert Build.objects.get(api=api).version.number == 2


def test_without_json_status_is_told_in_sentences(api):
    load(make_worker(), api, api.version)

    lines = run("api", "status", api.pk).splitlines()

    assert lines == [
        f"Trial API {api.pk} of model {api.model.name}: Operating.",
        "Confirmed by 1 of 1 worker.",
        "Served version: 1.",
        "100 trial requests are left.",
        "Requests so far: 0 with status 200, 0 with 4xx, 0 with 5xx.",
    ]


@pytest.mark.parametrize("action", ["status", "stop", "lock", "key", "roll-key", "upgrade"])
def test_no_action_prints_python_values(api, action):
    printed = run("api", action, api.pk)

    assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|[{}\[\]]", printed), printed


def test_networks_are_told_one_by_one(api):
    assert run("api", "allow", api.pk, "192.0.2.7").startswith("Added 192.0.2.7/32 to the whitelist.\n")
    assert run("api", "allow", api.pk, "192.0.2.7").startswith("192.0.2.7/32 was on the whitelist already.\n")
    assert run("api", "disallow", api.pk, "192.0.2.7").startswith("Removed 192.0.2.7/32 from the whitelist.\n")


def test_the_json_of_an_action_has_its_result_and_the_state(api):
    document = json.loads(run("api", "allow", api.pk, "192.0.2.7", "--json"))

    assert (document["added"], document["known"]) == (["192.0.2.7/32"], [])
    assert (document["api_id"], document["status"], document["dismissed"]) == (api.pk, "operating", [])


def test_launch_prints_what_a_person_needs():
    lines = run("launch_api", str(make_model().pk), "--type", "trial").splitlines()

    assert [line.split(":")[0] for line in lines] == ["API ID", "API URL", "API key", "Status"]
