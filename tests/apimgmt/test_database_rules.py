"""What the database enforces by itself: revisions nobody can bypass, events nobody can change."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, connection, transaction

from apimgmt.models import ApiEvent, Installation, PredictionAPI, WhitelistEntry
from tests.factories import make_api, make_worker

pytestmark = pytest.mark.django_db


def revision() -> int:
    return Installation.objects.get().revision


def run(sql: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE apimgmt_predictionapi SET target = 'stopped' WHERE id = %s",
        "UPDATE apimgmt_predictionapi SET key_digest = 'x' WHERE id = %s",
        "INSERT INTO apimgmt_whitelistentry (api_id, network, note, created_at, created_by)"
        " VALUES (%s, '192.0.2.1/32', '', now(), '')",
        "DELETE FROM apimgmt_whitelistentry WHERE api_id = %s",
        "UPDATE apimgmt_whitelistentry SET network = '198.51.100.0/24' WHERE api_id = %s",
        "UPDATE apimgmt_trialquota SET request_limit = 5 WHERE api_id = %s",
        "UPDATE apimgmt_modelversion SET sha256 = repeat('f', 64) FROM apimgmt_predictionapi a"
        " WHERE a.version_id = apimgmt_modelversion.id AND a.id = %s",
    ],
)
def test_plain_sql_takes_the_next_revision_too(sql):
    api = make_api(type="trial")
    WhitelistEntry.objects.create(api=api, network="203.0.113.0/24")
    before = revision()

    run(sql, api.pk)

    api.refresh_from_db()
    assert api.revision == revision() > before


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE apimgmt_predictionapi SET status = 'failed' WHERE id = %s",
        "UPDATE apimgmt_predictionapi SET revision = 999999 WHERE id = %s",
        "UPDATE apimgmt_whitelistentry SET note = 'office' WHERE api_id = %s",
        "UPDATE apimgmt_trialquota SET used = 5 WHERE api_id = %s",
    ],
)
def test_what_gateways_do_not_obey_takes_no_revision(sql):
    api = make_api(type="trial")
    WhitelistEntry.objects.create(api=api, network="203.0.113.0/24")
    before = revision()

    run(sql, api.pk)

    api.refresh_from_db()
    assert revision() == before
    assert api.revision <= before


def test_ten_thousand_networks_added_at_once_are_one_change():
    api = make_api()
    before = revision()

    WhitelistEntry.objects.bulk_create(
        [WhitelistEntry(api=api, network=f"10.{n // 256}.{n % 256}.0/24") for n in range(10_000)]
    )

    assert revision() == before + 1


def test_a_deleted_route_stays_in_the_view_until_every_worker_has_applied_it():
    worker = make_worker()
    api = make_api(status="deleted")

    def in_view() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM gateway_route_v1 WHERE api_id = %s", [api.pk])
            return bool(cursor.fetchone()[0])

    assert in_view()
    worker.applied_revision = revision()
    worker.save()
    assert not in_view()


def test_events_can_be_neither_changed_nor_removed():
    event = ApiEvent.objects.create(api=make_api(), verb="stop", actor="a", role="operator")

    for sql in ("UPDATE apimgmt_apievent SET actor = 'b' WHERE id = %s", "DELETE FROM apimgmt_apievent WHERE id = %s"):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            run(sql, event.pk)


def test_the_row_of_an_api_is_never_removed():
    api = make_api()

    with pytest.raises(IntegrityError, match="keeps its row"), transaction.atomic():
        PredictionAPI.objects.filter(pk=api.pk)._raw_delete(using="default")
