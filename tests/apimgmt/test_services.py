"""Launching, options, whitelist, key: what a person can ask for and be refused."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from apimgmt.errors import NeedsConfirmation, NotAllowed, Refused, TransitionRefused, WhitelistRefused
from apimgmt.lifecycle import services
from apimgmt.lifecycle.options import launch_choices, option_use
from apimgmt.models import ApiEvent, ApiType, Build, Edition, PredictionAPI, Status, TrialQuota
from contract.api_keys import is_well_formed, key_digest
from tests.factories import actor_for, make_api, make_model, make_user, make_version, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return actor_for(make_user("operator"))


def test_launch_makes_an_api_with_a_key_a_whitelist_and_a_build(operator):
    model = make_model()

    launched = services.launch_api(model, ApiType.OFFICIAL, networks=["192.0.2.7", "2001:db8::/32"], actor=operator)

    api = PredictionAPI.objects.get(pk=launched.api.pk)
    assert len(api.pk) == 16
    assert api.pk.isalnum()
    assert api.pk == api.pk.lower()
    assert is_well_formed(launched.key)
    assert bytes(api.key_digest) == key_digest(launched.key)
    assert launched.key.encode() not in bytes(api.key_encrypted)
    assert list(api.whitelist.values_list("network", flat=True)) == ["192.0.2.7/32", "2001:db8::/32"]
    assert Build.objects.get(api=api).finished_at is None
    assert ApiEvent.objects.get(api=api).verb == "launch"


def test_the_trial_edition_has_no_official_api(operator):
    model = make_model(make_workspace(edition=Edition.TRIAL, api_options=5))

    with pytest.raises(TransitionRefused, match="trial edition"):
        services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=operator)
    official, trial = launch_choices(model)

    assert not official.is_available
    assert "trial edition" in official.reason
    assert trial.is_available


def test_one_official_api_for_each_option_whatever_its_status(operator):
    workspace = make_workspace(api_options=2)
    make_api(make_model(workspace), status=Status.FAILED)
    make_api(make_model(workspace), status=Status.STOPPED)
    make_api(make_model(workspace), status=Status.DELETED)
    model = make_model(workspace)

    with pytest.raises(TransitionRefused, match="2 of 2"):
        services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=operator)
    services.launch_api(model, ApiType.TRIAL, networks=[], actor=operator)


def test_options_lowered_below_use_stop_nothing_and_refuse_launches(operator):
    workspace = make_workspace(api_options=1)
    for _ in range(3):
        make_api(make_model(workspace))

    use = option_use(workspace)

    assert (use.used, use.purchased, use.free) == (3, 1, 0)
    with pytest.raises(TransitionRefused, match="3 of 1"):
        services.launch_api(make_model(workspace), ApiType.OFFICIAL, networks=[], actor=operator)


def test_a_model_has_at_most_one_api(operator):
    model = make_model()
    services.launch_api(model, ApiType.TRIAL, networks=[], actor=operator)

    with pytest.raises(TransitionRefused, match="already has an API"):
        services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=operator)


def test_an_unknown_type_is_refused(operator):
    with pytest.raises(TransitionRefused, match="Choose"):
        services.launch_api(make_model(), "premium", networks=[], actor=operator)


def test_a_trial_takes_its_limit_from_the_settings(operator, settings):
    api = services.launch_api(make_model(), ApiType.TRIAL, networks=[], actor=operator).api

    assert TrialQuota.objects.get(pk=api.pk).request_limit == settings.ENVIRONMENT.trial_request_limit == 100


def test_trials_per_model_counts_deleted_and_upgraded_ones(operator, settings):
    from dataclasses import replace

    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, trials_per_model=1)
    model = make_model()
    old = make_api(model, type=ApiType.TRIAL, status=Status.DELETED)
    assert TrialQuota.objects.filter(pk=old.pk).exists()

    with pytest.raises(TransitionRefused, match="one trial"):
        services.launch_api(model, ApiType.TRIAL, networks=[], actor=operator)


@pytest.mark.django_db(transaction=True)
def test_of_two_people_launching_the_last_option_one_wins(transactional_db):
    workspace = make_workspace(api_options=1)
    models = [make_model(workspace), make_model(workspace)]
    actors = [actor_for(make_user("operator", workspace)) for _ in models]
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def launch(model, actor):
        try:
            together.wait()
            services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=actor)
            outcomes.append("launched")
        except TransitionRefused as error:
            outcomes.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=launch, args=pair) for pair in zip(models, actors, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes)[1] == "launched"
    assert "1 of 1" in sorted(outcomes)[0]
    assert option_use(workspace).used == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_people_launching_the_same_model_one_wins(transactional_db):
    model = make_model(make_workspace(api_options=5))
    actors = [actor_for(make_user("operator", model.workspace)) for _ in range(2)]
    outcomes: list[str] = []
    together = threading.Barrier(2)

    def launch(actor):
        try:
            together.wait()
            services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=actor)
            outcomes.append("launched")
        except TransitionRefused as error:
            outcomes.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=launch, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["This model already has an API.", "launched"]


def test_upgrade_takes_an_option_and_keeps_everything_else(operator):
    workspace = make_workspace(api_options=1)
    api = make_api(make_model(workspace), type=ApiType.TRIAL)
    before = bytes(api.key_digest)

    services.upgrade_api(api.pk, actor=operator)

    api.refresh_from_db()
    assert api.type == ApiType.OFFICIAL
    assert bytes(api.key_digest) == before
    assert option_use(workspace).used == 1


def test_upgrade_is_refused_without_a_free_option(operator):
    workspace = make_workspace(api_options=0)
    api = make_api(make_model(workspace), type=ApiType.TRIAL)

    with pytest.raises(TransitionRefused, match="option"):
        services.upgrade_api(api.pk, actor=operator)


def test_adding_networks_is_all_or_nothing_and_names_each_bad_line(operator):
    api = make_api()
    text = "192.0.2.1\n10.0.0.1/8\n\n300.1.1.1\n2001:db8::1"

    with pytest.raises(WhitelistRefused) as refused:
        services.add_networks(api.pk, text, actor=operator)

    assert refused.value.text == text
    assert [line.number for line in refused.value.lines] == [2, 4]
    assert refused.value.lines[0].suggestion == "10.0.0.0/8"
    assert api.whitelist.count() == 0


def test_the_same_network_in_another_notation_is_the_same_entry(operator):
    api = make_api()
    services.add_networks(api.pk, "192.0.2.1", actor=operator)

    added = services.add_networks(api.pk, "192.0.2.1/32, ::ffff:192.0.2.1\n2001:DB8:0::/32", actor=operator)

    assert added.added == ["2001:db8::/32"]
    assert added.known == ["192.0.2.1/32"]


@pytest.mark.parametrize("text", ["", "   \n\n  ", ","])
def test_an_empty_box_says_what_to_enter(text, operator):
    with pytest.raises(WhitelistRefused, match="Enter at least one"):
        services.add_networks(make_api().pk, text, actor=operator)


def test_five_thousand_lines_at_once(operator):
    api = make_api()
    text = "\n".join(f"10.{n // 256}.{n % 256}.0/24" for n in range(5000))

    added = services.add_networks(api.pk, text, actor=operator)

    assert len(added.added) == api.whitelist.count() == 5000


def test_more_than_ten_thousand_entries_are_refused(operator):
    api = make_api()
    services.add_networks(api.pk, "\n".join(f"10.{n // 256}.{n % 256}.0/24" for n in range(10_000)), actor=operator)

    with pytest.raises(WhitelistRefused, match="10000"):
        services.add_networks(api.pk, "192.0.2.1", actor=operator)


def test_the_whitelist_of_an_api_being_deleted_is_closed(operator):
    with pytest.raises(TransitionRefused):
        services.add_networks(make_api(status=Status.DELETING).pk, "192.0.2.1", actor=operator)


def test_removing_an_entry_twice_says_that_it_is_gone(operator):
    api = make_api()
    services.add_networks(api.pk, "192.0.2.1 192.0.2.2", actor=operator)
    entry = api.whitelist.first()

    assert services.remove_network(api.pk, entry.pk, actor=operator) == "192.0.2.1/32"
    with pytest.raises(Refused, match="any more"):
        services.remove_network(api.pk, entry.pk, actor=operator)


def test_a_locked_api_asks_once_more_before_its_callers_are_cut_off(operator):
    api = make_api(is_locked=True)
    make_version(api.model)
    services.add_networks(api.pk, "192.0.2.1", actor=operator)
    entry = api.whitelist.get()

    for act in (
        lambda confirmed: services.roll_key(api.pk, actor=operator, confirmed=confirmed),
        lambda confirmed: services.remove_network(api.pk, entry.pk, actor=operator, confirmed=confirmed),
        lambda confirmed: services.update_api(api.pk, 2, actor=operator, confirmed=confirmed),
    ):
        with pytest.raises(NeedsConfirmation, match="locked"):
            act(False)
        act(True)


def test_showing_the_key_is_an_event_and_a_viewer_may_not(operator):
    api = make_api()

    key = services.reveal_key(api.pk, actor=operator)

    assert key_digest(key) == bytes(api.key_digest)
    assert ApiEvent.objects.get(api=api).verb == "show key"
    with pytest.raises(NotAllowed):
        services.reveal_key(api.pk, actor=actor_for(make_user("viewer")))


def test_rolling_the_key_replaces_it_under_a_new_revision(operator):
    api = make_api()
    old = services.reveal_key(api.pk, actor=operator)

    new = services.roll_key(api.pk, actor=operator)

    before = api.revision
    api.refresh_from_db()
    assert new != old
    assert bytes(api.key_digest) == key_digest(new)
    assert api.revision > before


def test_no_key_is_written_to_events_or_logs(operator, caplog):
    launched = services.launch_api(make_model(), ApiType.OFFICIAL, networks=[], actor=operator)
    rolled = services.roll_key(launched.api.pk, actor=operator)

    written = caplog.text + "".join(str(event.detail) for event in ApiEvent.objects.all())

    assert launched.key not in written
    assert rolled not in written


def test_what_gone_workers_left_is_forgotten_after_a_month():
    from datetime import timedelta

    from django.utils import timezone

    from apimgmt.models import GatewayWorker, ModelLoad
    from apimgmt.stats.folding import forget_the_gone
    from tests.factories import load, make_worker

    now = timezone.now()
    api = make_api()
    alive, gone, long_gone = (make_worker(gone_at=at) for at in (None, now, now - timedelta(days=40)))
    for worker in (alive, gone, long_gone):
        load(worker, api, api.version)

    forget_the_gone()

    assert set(GatewayWorker.objects.values_list("pk", flat=True)) == {alive.pk, gone.pk}
    assert ModelLoad.objects.get().worker_id == alive.pk
