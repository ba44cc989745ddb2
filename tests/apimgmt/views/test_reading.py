"""Pages that are only read: how many queries they take, what the specifications list, the history's words."""

from __future__ import annotations

import html

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from apimgmt.lifecycle import events, services
from apimgmt.lifecycle.transitions import TRANSITIONS
from apimgmt.models import ApiEvent, ApiType, PredictionAPI, Status, Target
from apimgmt.views.labels import CHANGE_WORDS, EVENT_WORDS
from contract.problems import PROBLEM_TYPES
from contract.slugs import slug
from inference import formats
from tests.apimgmt.views.conftest import url
from tests.factories import actor_for, make_api, make_model, make_user, make_version, make_workspace

pytestmark = pytest.mark.django_db


def queries_of(client, address, django_assert_max_num_queries, limit) -> int:
    with django_assert_max_num_queries(limit) as seen:
        assert client.get(address).status_code == 200
    return len(seen.captured_queries)


def test_the_list_takes_as_many_queries_for_20_models_as_for_one(operator, api, django_assert_max_num_queries):
    one = queries_of(operator, reverse("model-list"), django_assert_max_num_queries, 14)
    for _ in range(20):
        make_api(make_model(api.model.workspace))

    assert queries_of(operator, reverse("model-list"), django_assert_max_num_queries, 14) == one


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("model-detail", 14),
        ("model-versions", 14),
        ("model-api", 30),
        ("api-status", 27),
        ("api-history", 16),
        ("inference-docs", 14),
    ],
)
def test_a_page_takes_a_fixed_number_of_queries(operator, api, django_assert_max_num_queries, name, limit):
    address = reverse(name) if name == "inference-docs" else url(name, api.model)
    few = queries_of(operator, address, django_assert_max_num_queries, limit)
    actor = actor_for(User.objects.get())
    for _ in range(20):
        make_version(api.model)
        services.reveal_key(api.pk, actor=actor)
    services.add_networks(api.pk, "\n".join(f"192.0.2.{n}" for n in range(30)), actor=actor)

    assert queries_of(operator, address, django_assert_max_num_queries, limit) <= few + 1


def test_the_list_names_each_status(operator, api):
    for status in Status:
        if status != Status.DELETED:
            make_api(make_model(api.model.workspace), status=status)

    page = operator.get(reverse("model-list")).content.decode()

    assert all(str(status.label) in page for status in Status if status != Status.DELETED)


def test_an_empty_list_teaches(client):
    client.force_login(make_user("operator", make_workspace()))

    page = client.get(reverse("model-list")).content.decode()

    assert "No models here yet" in page
    assert reverse("model-register") in page


def test_somebody_in_no_workspace_is_told_who_can_change_it(client):
    client.force_login(make_user("operator"))

    assert "You are in no workspace yet" in client.get(reverse("model-list")).content.decode()


def test_the_workspace_switch_narrows_the_list_and_is_kept(client):
    one, other = make_workspace(), make_workspace()
    mine, hers = make_model(one), make_model(other)
    client.force_login(make_user("viewer", one, other))

    client.get(reverse("model-list"), {"workspace": other.pk})
    page = client.get(reverse("model-list")).content.decode()

    assert hers.name in page
    assert mine.name not in page


@pytest.mark.parametrize("workspace", ["99999999", "x", "", "²"])
def test_an_unknown_workspace_shows_all(operator, api, workspace):
    assert api.model.name in operator.get(reverse("model-list"), {"workspace": workspace}).content.decode()


def test_the_specifications_list_every_code_and_the_models_columns(operator, api):
    page = operator.get(reverse("inference-docs"), {"model": api.model.pk}).content.decode()

    assert all(f'id="{code}"' in page for code in PROBLEM_TYPES)
    assert all(f">{column}</th>" in page for column in ("age", "city"))
    assert f"/apis/{api.pk}/predict" in page


def test_the_specifications_show_nobody_elses_model(operator, api):
    stranger = make_model()

    assert stranger.name not in operator.get(reverse("inference-docs"), {"model": stranger.pk}).content.decode()


def test_the_specifications_open_before_there_is_any_model(client):
    client.force_login(make_user("viewer", make_workspace()))

    assert client.get(reverse("inference-docs")).status_code == 200


def test_the_history_of_a_deleted_api_stays_readable(operator, api):
    model = make_model(api.model.workspace)
    deleted = make_api(model, status=Status.DELETED, type=ApiType.TRIAL)
    events.record(deleted, "deleted", actor_for(User.objects.get()))

    page = operator.get(url("api-history", model)).content.decode()

    assert deleted.pk in page
    assert "Deleted" in page


def test_the_history_has_pages(operator, api):
    actor = actor_for(User.objects.get())
    for _ in range(60):
        services.reveal_key(api.pk, actor=actor)

    first = operator.get(url("api-history", api.model)).content.decode()
    beyond = operator.get(url("api-history", api.model), {"page": "99"}).content.decode()

    assert "Page 1 of 2" in first
    assert "Page 2 of 2" in beyond


def test_every_deed_that_makes_an_event_has_its_words(operator, api):
    operator.post(url("api-lock", api.model))
    operator.post(url("api-key", api.model))
    operator.post(url("api-roll", api.model), {"confirmed": "1"})

    assert {event.verb for event in ApiEvent.objects.all()} <= set(EVENT_WORDS)
    assert set(TRANSITIONS) - {"whitelist", "key", "roll-key"} <= set(EVENT_WORDS)
    assert set(CHANGE_WORDS) <= set(EVENT_WORDS)


def test_the_login_page_mentions_demo_users_only_where_they_are(client, settings):
    assert "demo users" not in client.get(reverse("login")).content.decode()


def test_a_wrong_password_is_told_without_saying_which_half_was_wrong(client):
    make_user("viewer")

    reply = client.post(reverse("login"), {"username": "nobody", "password": "x"})

    assert "The user name or the password is wrong" in reply.content.decode()


def test_signing_in_leads_where_one_wanted_to_go_but_to_no_other_site(client):
    user = make_user("viewer")
    form = {"username": user.username, "password": "pass-word-1"}

    assert client.post(reverse("login"), {**form, "next": "/docs/inference-api/"}).url == "/docs/inference-api/"
    client.post(reverse("logout"))
    assert client.post(reverse("login"), {**form, "next": "https://evil.example/"}).url == reverse("model-list")


def test_pages_that_are_not_there_are_plain_and_strict(client):
    reply = client.get("/nothing/here/")

    assert reply.status_code == 404
    assert "Not found" in reply.content.decode()
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_the_specifications_list_every_format_of_the_gateway(operator, api):
    page = html.unescape(operator.get(reverse("inference-docs"), {"model": api.model.pk}).content.decode())

    for one in formats.FORMATS:
        assert f'id="{one.anchor}"' in page, one.title
        assert f'href="#{one.anchor}"' in page, one.title
        assert f"/apis/{api.pk}/{one.path.format(model=slug(api.model.name))} \\\n" in page, one.title
        assert one.media_type in page
    for kind in PROBLEM_TYPES.values():
        assert f'<tr id="{kind.code}">' in page
    assert "/invocations <code>INVALID_PARAMETER_VALUE</code>" in page
    assert "/predict <code>4001030104</code>" in page
    assert '"error": "invalid_rows: 1 fault in 1 of 1 row.' in page
    assert f"/apis/{api.pk}/docs" in page


def test_the_specifications_link_to_no_docs_page_of_an_api_that_is_not_served(operator, api):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target=Target.STOPPED)

    page = operator.get(reverse("inference-docs"), {"model": api.model.pk}).content.decode()

    assert f"/apis/{api.pk}/docs" not in page
