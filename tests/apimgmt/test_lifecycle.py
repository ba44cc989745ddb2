"""Each row of the transition table, and each gap in it."""

from __future__ import annotations

import pytest

from apimgmt.errors import NotAllowed, TransitionRefused
from apimgmt.lifecycle import reconciling, services, transitions
from apimgmt.lifecycle.checks import Arguments
from apimgmt.lifecycle.transitions import TRANSITIONS, refusal, transition
from apimgmt.models import ApiEvent, ApiType, Build, BuildKind, Outcome, Receipt, Status, Target
from apimgmt.sentences import message
from tests.factories import actor_for, catch_up, load, make_api, make_model, make_user, make_version, make_worker

pytestmark = pytest.mark.django_db

# The table as the manual and the design tell it, written down apart from the code.
ALLOWED_FROM = {
    "start": {Status.STOPPED, Status.FAILED},
    "update": {Status.OPERATING},
    "cancel": {Status.BUILDING},
    "stop": {Status.OPERATING, Status.UPDATING},  # an update must not keep anybody from stopping
    "delete": {Status.STOPPED, Status.FAILED},
    "lock": {Status.OPERATING, Status.STOPPED},
}
TARGET_AFTER = {
    "start": Target.BUILDING,
    "update": Target.OPERATING,
    "cancel": Target.STOPPED,
    "stop": Target.STOPPED,
    "delete": Target.DELETING,
}


def told_at_once(verb, status):
    """The word that people read right after the transition: closing ones keep the old one until it is confirmed."""
    return status if verb == "stop" else STATUS_AT_ONCE[verb]


STATUS_AT_ONCE = {
    "start": Status.BUILDING,
    "update": Status.UPDATING,
    "cancel": Status.BUILDING,  # the old word stays until gateways have confirmed
    "delete": Status.DELETING,
}


def make_api_of_two_versions(status):
    api = make_api(status=status)
    make_version(api.model)
    return api


def arguments_of(verb):
    """What the verb needs to be asked for with, on an API that serves version 1 of two."""
    return Arguments(version=2) if verb == "update" else None


@pytest.fixture
def operator():
    return actor_for(make_user("operator"))


@pytest.fixture
def administrator():
    return actor_for(make_user("administrator"))


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("verb", sorted(ALLOWED_FROM))
def test_a_verb_is_refused_in_every_status_that_the_table_does_not_name(verb, status, operator):
    api = make_api_of_two_versions(status)

    if status in ALLOWED_FROM[verb]:
        transition(api.pk, verb, arguments=arguments_of(verb), actor=operator)
    else:
        with pytest.raises(TransitionRefused):
            transition(api.pk, verb, arguments=arguments_of(verb), actor=operator)

    changed = ApiEvent.objects.filter(api=api, verb=verb).exists()
    assert changed == (status in ALLOWED_FROM[verb])


@pytest.mark.parametrize(
    ("verb", "status"), [(verb, status) for verb in TARGET_AFTER for status in sorted(ALLOWED_FROM[verb])]
)
def test_a_transition_sets_what_gateways_obey_and_what_people_are_told(verb, status, operator):
    api = make_api_of_two_versions(status)
    before = api.revision

    transition(api.pk, verb, arguments=arguments_of(verb), actor=operator)

    api.refresh_from_db()
    assert (api.target, api.status) == (TARGET_AFTER[verb], told_at_once(verb, status))
    if api.target != Target.OPERATING:
        assert api.revision > before
        assert Receipt.objects.get(api=api).revision == api.revision


def test_stop_refuses_a_locked_api(operator):
    api = make_api(is_locked=True)

    with pytest.raises(TransitionRefused, match="locked"):
        transition(api.pk, "stop", actor=operator)


def test_delete_refuses_a_locked_api(operator):
    api = make_api(status=Status.STOPPED, is_locked=True)

    with pytest.raises(TransitionRefused, match="locked"):
        transition(api.pk, "delete", actor=operator)


def test_cancel_works_on_a_locked_api(operator):
    api = make_api(status=Status.BUILDING, is_locked=True)

    transition(api.pk, "cancel", actor=operator)

    api.refresh_from_db()
    assert api.target == Target.STOPPED


def test_only_an_administrator_unlocks(operator, administrator):
    api = make_api(is_locked=True)

    with pytest.raises(NotAllowed, match="administrator"):
        services.unlock_api(api.pk, actor=operator)
    services.unlock_api(api.pk, actor=administrator)

    api.refresh_from_db()
    assert not api.is_locked


@pytest.mark.parametrize("status", sorted(transitions.NOT_ENDING))
def test_a_locked_api_can_be_unlocked_in_every_status_but_an_ending_one(status, administrator):
    api = make_api(status=status, is_locked=True)

    assert refusal(api, "unlock") is None


@pytest.mark.parametrize("verb", sorted(set(TRANSITIONS) - {"launch"}))
def test_a_viewer_may_do_nothing(verb):
    viewer = actor_for(make_user("viewer"))
    api = make_api()

    with pytest.raises(NotAllowed):
        transition(api.pk, verb, arguments=arguments_of(verb), actor=viewer)


def test_a_stop_is_told_only_once_every_worker_has_confirmed(operator):
    api = make_api()
    quick, slow = make_worker(), make_worker()

    services.stop_api(api.pk, actor=operator)
    catch_up(quick)
    seen = reconciling.reconcile_api(api.pk, 0)

    api.refresh_from_db()
    assert (seen.confirmed, seen.counted) == (1, 2)
    assert api.status == Status.OPERATING

    catch_up(slow)
    reconciling.reconcile_api(api.pk, 0)

    api.refresh_from_db()
    assert api.status == Status.STOPPED
    assert Receipt.objects.get(api=api, verb="stop").workers == 2


def test_a_stop_without_any_worker_is_confirmed_because_nothing_is_served(operator):
    api = make_api()

    services.stop_api(api.pk, actor=operator)
    reconciling.reconcile_api(api.pk, 0)

    api.refresh_from_db()
    assert api.status == Status.STOPPED


def test_start_is_refused_while_a_stop_is_not_confirmed(operator):
    api = make_api()
    make_worker()
    services.stop_api(api.pk, actor=operator)

    with pytest.raises(TransitionRefused):
        services.start_api(api.pk, actor=operator)


def test_a_deleted_api_keeps_its_row_without_its_key_and_frees_the_model(operator):
    model = make_model()
    api = make_api(model, status=Status.STOPPED)

    services.delete_api(api.pk, actor=operator)
    reconciling.reconcile_api(api.pk, 0)

    api.refresh_from_db()
    assert api.status == Status.DELETED
    assert (api.key_digest, api.key_encrypted) == (None, None)
    services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=operator)


@pytest.fixture
def updating(operator):
    """An API on its way from version 1 to 2, and the build that takes it there."""
    model = make_model()
    api = make_api(model)
    second = make_version(model)
    services.update_api(api.pk, 2, actor=operator)
    return api, second, Build.objects.get(api=api)


def test_an_update_serves_the_old_version_until_the_new_one_takes_over(updating, operator):
    api, second, build = updating
    first = api.version

    transitions.publish(build.pk, operator)
    api.refresh_from_db()
    assert (api.version, api.candidate, api.status) == (first, second, Status.UPDATING)

    transitions.take_over(build.pk, operator)
    transitions.complete(build.pk, operator)
    api.refresh_from_db()
    assert (api.version, api.candidate, api.status) == (second, None, Status.OPERATING)


def test_a_failed_update_falls_back_and_says_why(updating, operator):
    api, _second, build = updating
    transitions.publish(build.pk, operator)

    transitions.fail(build.pk, operator, stage="confirm", reasons=[message("no_gateway")])

    api.refresh_from_db()
    build.refresh_from_db()
    assert (api.version.number, api.candidate, api.status) == (1, None, Status.OPERATING)
    assert (build.kind, build.outcome) == (BuildKind.UPDATE, Outcome.FAILED)
    assert build.failure_text == "No gateway is running."


def test_a_cancelled_build_publishes_nothing(operator):
    model = make_model()
    api = services.launch_api(model, ApiType.OFFICIAL, networks=[], actor=operator).api
    build = Build.objects.get(api=api)

    services.cancel_api(api.pk, actor=operator)

    assert transitions.publish(build.pk, operator) is None
    assert transitions.complete(build.pk, operator) is False
    api.refresh_from_db()
    assert api.target == Target.STOPPED


def test_opening_needs_a_worker_and_the_model_loaded_on_all(operator):
    from apimgmt.lifecycle.confirmation import confirmation

    api = make_api()
    assert not confirmation(api).is_confirmed

    one, two = make_worker(), make_worker()
    load(one, api, api.version)
    load(two, api, api.version, error="out of memory")
    seen = confirmation(api)

    assert (seen.confirmed, seen.counted) == (1, 2)
    assert "out of memory" in seen.missing[0].reason
    assert seen.load_errors == [seen.missing[0].message]


def test_a_stop_ends_the_update_under_way(updating, operator):
    api, _second, build = updating
    transitions.publish(build.pk, operator)

    services.stop_api(api.pk, actor=operator)
    reconciling.reconcile_api(api.pk, 0)

    api.refresh_from_db()
    assert (api.status, api.target, api.candidate, api.version.number) == (Status.STOPPED, Target.STOPPED, None, 1)
    assert transitions.take_over(build.pk, operator) is None
