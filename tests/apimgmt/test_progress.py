"""Whoever waits is woken by what happens in the database, and does not ask it again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apimgmt.lifecycle import builds, progress, reconciling, services
from apimgmt.lifecycle.services.building import end_build, queue_build
from apimgmt.models import Build, BuildKind, Status
from tests.factories import actor_for, catch_up, load, make_api, make_user, make_worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def only_woken(transactional_db, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses longer than any test: without a notification nobody looks again."""
    monkeypatch.setattr(progress, "FIRST_PAUSE_S", 600.0)
    monkeypatch.setattr(progress, "LONGEST_PAUSE_S", 600.0)


class Waiting(threading.Thread):
    """Calls something that waits, in a thread with a database connection of its own."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.returned: object = None
        self.start()

    def run(self) -> None:
        try:
            self.returned = self._call()
        finally:
            connection.close()

    def result(self) -> object:
        self.join(60)
        assert not self.is_alive(), "nobody woke it"
        return self.returned


def test_a_stop_is_confirmed_when_the_last_worker_applies_it():
    api, worker = make_api(), make_worker()
    services.stop_api(api.pk, actor=actor_for(make_user("operator")))
    waiting = Waiting(lambda: reconciling.reconcile_api(api.pk, 600))

    catch_up(worker)

    assert waiting.result().is_confirmed
    api.refresh_from_db()
    assert api.status == Status.STOPPED


def test_the_end_of_a_build_wakes_the_command_that_waits_for_it():
    api = make_api(status=Status.BUILDING)
    queue_build(api, BuildKind.START, api.version)
    waiting = Waiting(lambda: reconciling.wait_for_build(api.pk, 600, after_build_id=0))

    end_build(api)

    assert waiting.result() == ""


def test_a_loaded_model_wakes_the_build_that_waits_for_it():
    api, worker = make_api(status=Status.BUILDING), make_worker()
    queue_build(api, BuildKind.START, api.version)
    build = Build.objects.select_related("version", "previous", "api").get(api=api)
    run = builds._Run(build)
    waiting = Waiting(lambda: run._wait_for_gateways(30))

    load(worker, api, api.version)

    assert waiting.result().is_confirmed


def test_heartbeats_alone_wake_nobody():
    worker = make_worker()
    with progress.LISTENER.waiter() as waiter:
        waiter.pause(600)  # the listener is there now
        heard = progress.LISTENER.heard
        type(worker).objects.filter(pk=worker.pk).update(heartbeat_at=timezone.now())
        type(worker).objects.filter(pk=worker.pk).update(applied_revision=7)
        waiter.pause(600)

    assert progress.LISTENER.heard == heard + 1


class TestLostBuilds:
    """Which unfinished builds the sweep queues again."""

    @pytest.fixture
    def build(self) -> Build:
        api = make_api(status=Status.BUILDING)
        queue_build(api, BuildKind.START, api.version)
        return Build.objects.get(api=api)

    @staticmethod
    def age(build: Build, seconds: float) -> None:
        Build.objects.filter(pk=build.pk).update(queued_at=timezone.now() - timedelta(seconds=seconds))

    def test_one_just_queued_is_left_alone(self, build: Build):
        assert builds.lost_build_ids(are_tasks_waiting=False) == []

    def test_one_queued_a_while_ago_is_lost_when_no_task_waits(self, build: Build):
        self.age(build, 60)

        assert builds.lost_build_ids(are_tasks_waiting=False) == [build.pk]

    def test_one_that_waits_in_the_queue_is_not_queued_again(self, build: Build):
        self.age(build, 3600)

        assert builds.lost_build_ids(are_tasks_waiting=True) == []

    def test_one_whose_worker_died_is_lost_at_once(self, build: Build):
        Build.objects.filter(pk=build.pk).update(queued_at=None)

        assert builds.lost_build_ids(are_tasks_waiting=True) == [build.pk]

    def test_one_that_is_being_run_is_not(self, build: Build):
        Build.objects.filter(pk=build.pk).update(queued_at=None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [builds.BUILD_LOCK_CLASS, build.pk])

            assert builds.lost_build_ids(are_tasks_waiting=False) == []

            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [builds.BUILD_LOCK_CLASS, build.pk])
