"""Who learns of a model's columns: two switches of one API."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apimgmt.errors import NotAllowed, TransitionRefused
from apimgmt.lifecycle import services
from apimgmt.models import ApiEvent, PredictionAPI, Receipt, Status
from tests.factories import actor_for, make_api, make_model, make_user

pytestmark = pytest.mark.django_db


def routed(api: PredictionAPI) -> tuple[str, bool, bool]:
    """What gateways are told."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT model_name, hides_schema, has_public_description FROM gateway_route_v1 WHERE api_id = %s", [api.pk]
        )
        return cursor.fetchone()


def test_both_are_off_at_first_and_told_to_gateways_when_they_change():
    api = make_api()
    operator = actor_for(make_user("operator"))
    assert routed(api) == (api.model.name, False, False)
    before = PredictionAPI.objects.get(pk=api.pk).revision

    services.describe_api(api.pk, hides_schema=True, actor=operator)
    services.describe_api(api.pk, has_public_description=True, actor=operator)

    assert routed(api) == (api.model.name, True, True)
    assert PredictionAPI.objects.get(pk=api.pk).revision == before + 2
    assert ApiEvent.objects.filter(api=api, verb="describe").count() == 2
    assert Receipt.objects.filter(api=api, verb="describe").count() == 2


def test_nothing_is_recorded_when_nothing_changes():
    api = make_api()

    services.describe_api(api.pk, hides_schema=False, actor=actor_for(make_user("operator")))

    assert not ApiEvent.objects.filter(api=api).exists()


def test_a_viewer_may_not():
    api = make_api()

    with pytest.raises(NotAllowed):
        services.describe_api(api.pk, hides_schema=True, actor=actor_for(make_user("viewer")))


def test_not_while_it_is_being_deleted():
    api = make_api(status=Status.DELETING)

    with pytest.raises(TransitionRefused):
        services.describe_api(api.pk, hides_schema=True, actor=actor_for(make_user("operator")))


def test_a_model_s_new_name_is_a_change_that_gateways_must_obey():
    model = make_model()
    api = make_api(model)
    before = PredictionAPI.objects.get(pk=api.pk).revision

    model.name = "Another name"
    model.save()

    assert routed(api)[0] == "Another name"
    assert PredictionAPI.objects.get(pk=api.pk).revision == before + 1


def test_the_command_turns_them_on_and_off():
    api = make_api()
    output = io.StringIO()

    call_command("api", "public-description", api.pk, "on", "--json", stdout=output)
    call_command("api", "hide-schema", api.pk, "on", "--json", stdout=io.StringIO())
    call_command("api", "hide-schema", api.pk, "off", "--json", stdout=io.StringIO())

    assert json.loads(output.getvalue())["has_public_description"] is True
    assert routed(api)[1:] == (False, True)
    with pytest.raises(CommandError, match="on or off"):
        call_command("api", "hide-schema", api.pk, "maybe")


def routed_charset(api: PredictionAPI) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT versions FROM gateway_route_v2 WHERE api_id = %s", [api.pk])
        (versions,) = cursor.fetchone()
    return json.loads(versions)[0]["csv_charset"] if isinstance(versions, str) else versions[0]["csv_charset"]


def test_the_charset_of_csvs_is_told_to_gateways():
    api = make_api()
    before = PredictionAPI.objects.get(pk=api.pk).revision

    services.describe_api(api.pk, csv_charset="windows-1252", actor=actor_for(make_user("operator")))

    assert routed_charset(api) == "windows-1252"
    assert PredictionAPI.objects.get(pk=api.pk).revision == before + 1


def test_the_command_takes_a_charset_or_none():
    api = make_api()

    call_command("api", "csv-charset", api.pk, "cp932", stdout=io.StringIO())
    assert routed_charset(api) == "cp932"
    call_command("api", "csv-charset", api.pk, "none", stdout=io.StringIO())

    assert routed_charset(api) == ""
    with pytest.raises(CommandError, match=r"The charset klingon is not known\. Known are: iso-8859-1, "):
        call_command("api", "csv-charset", api.pk, "klingon")
