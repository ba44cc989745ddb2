"""The key: masked until a person asks, shown for a while to that browser alone, each look an event."""

from __future__ import annotations

import time

import pytest
from django.contrib.sessions.models import Session

from apimgmt.access.keys import decrypted_key
from apimgmt.models import ApiEvent
from apimgmt.views import key_grants
from tests.apimgmt.views.conftest import htmx, url
from tests.factories import make_model, make_user

pytestmark = pytest.mark.django_db


def tab(client, api) -> str:
    return client.get(url("model-api", api.model)).content.decode()


def test_show_shows_it_in_the_panel_and_in_the_call_and_is_an_event(operator, api):
    key = decrypted_key(api)
    assert key not in tab(operator, api)

    reply = operator.post(url("api-key", api.model), {"action": "show"}, headers=htmx(api.model))

    assert reply.content.decode().count(key) == 2
    assert ApiEvent.objects.get().verb == "show key"
    assert key in tab(operator, api)


def test_hide_masks_it_again(operator, api):
    operator.post(url("api-key", api.model))

    operator.post(url("api-key", api.model), {"action": "hide"})

    assert decrypted_key(api) not in tab(operator, api)
    assert ApiEvent.objects.count() == 1


def test_it_is_hidden_by_itself_after_a_minute(operator, api, monkeypatch):
    operator.post(url("api-key", api.model))
    later = time.time() + key_grants.SHOWN_FOR_S + 1

    monkeypatch.setattr(key_grants.time, "time", lambda: later)

    assert decrypted_key(api) not in tab(operator, api)


def test_it_is_shown_to_that_browser_only(operator, sign_in, api):
    operator.post(url("api-key", api.model))

    assert decrypted_key(api) not in tab(sign_in("administrator"), api)


def test_the_session_never_holds_the_key(operator, api):
    operator.post(url("api-key", api.model))

    assert decrypted_key(api) not in str(Session.objects.get().get_decoded())


def test_a_rolled_key_is_not_shown_by_an_older_look(operator, sign_in, api):
    operator.post(url("api-key", api.model))

    sign_in("administrator").post(url("api-roll", api.model))

    api.refresh_from_db()
    assert decrypted_key(api) not in tab(operator, api)


def test_roll_shows_the_new_key(operator, api):
    old = decrypted_key(api)

    operator.post(url("api-roll", api.model))

    api.refresh_from_db()
    assert decrypted_key(api) != old
    assert decrypted_key(api) in tab(operator, api)


def test_launch_shows_the_key_once_without_asking(operator, api):
    model = make_model(api.model.workspace)

    operator.post(url("api-launch", model), {"type": "trial", "callers": "nobody"})

    launched = model.apis.get()
    assert decrypted_key(launched) in operator.get(url("model-api", model)).content.decode()
    assert not ApiEvent.objects.filter(verb="show key").exists()


def test_who_loses_the_right_sees_it_no_more(api, client):
    user = make_user("operator", api.model.workspace)
    client.force_login(user)
    client.post(url("api-key", api.model))

    user.groups.clear()

    assert decrypted_key(api) not in tab(client, api)
