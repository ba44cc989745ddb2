"""An operating API, and people signed in who look at it, with and without htmx."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from apimgmt.models import Model, PredictionAPI
from tests.factories import load, make_api, make_model, make_user, make_worker


@pytest.fixture
def api(db) -> PredictionAPI:
    """Operating, confirmed by the one worker there is."""
    made = make_api(make_model(versions=1))
    load(make_worker(), made, made.version)
    return made


@pytest.fixture
def sign_in(api) -> Callable[[str], Client]:
    """`sign_in("viewer")`: the browser of a member of the API's workspace."""

    def signed(role: str) -> Client:
        client = Client()
        client.force_login(make_user(role, api.model.workspace))
        return client

    return signed


@pytest.fixture
def operator(sign_in) -> Client:
    return sign_in("operator")


def url(name: str, model: Model) -> str:
    return reverse(name, args=[model.pk])


def htmx(model: Model, *, target: str = "notices") -> dict[str, str]:
    """The headers of a request that htmx makes from the Create API tab."""
    tab = f"http://testserver{url('model-api', model)}"
    return {"HX-Request": "true", "HX-Current-URL": tab, "HX-Target": target}
