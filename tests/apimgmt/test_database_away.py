"""A console without its database says so on one plain page, to people signed in and to others."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection
from django.urls import reverse


@pytest.fixture
def no_database(monkeypatch, django_db_blocker):
    """Nothing listens where the database should be."""
    with django_db_blocker.unblock():
        connection.close()
        monkeypatch.setitem(connection.settings_dict, "PORT", "1")
        yield
        connection.close()


@pytest.mark.parametrize("page", ["model-list", "login", "admin:index"])
def test_the_page_says_so_with_a_session_cookie_too(no_database, client, page):
    client.raise_request_exception = False
    client.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32

    reply = client.get(reverse(page))

    if reply.status_code == 200:
        assert page == "login"  # it asks the database nothing
    else:
        assert reply.status_code == 503
        assert reply.headers["Retry-After"]
        assert "database" in reply.content.decode()


def test_a_body_larger_than_any_upload_is_refused_unread(client):
    reply = client.generic("POST", reverse("login"), b"", CONTENT_LENGTH=str(settings.MAX_UPLOAD_BYTES + 1))

    assert reply.status_code == 413
