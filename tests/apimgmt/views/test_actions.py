"""Each action of the page: done, refused, asked once more; as a page, as a dialog, as a fragment."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from apimgmt.models import ApiEvent, ApiType, GatewayWorker, PredictionAPI, Status, Target
from contract.meaning import ClassLabel, Meaning, Note, Output
from testkit.live_installation import unused_port
from tests.apimgmt.views.conftest import htmx, url
from tests.factories import SPEC, make_api, make_model, make_version

pytestmark = pytest.mark.django_db

BOTH_LOOPBACKS = ["127.0.0.1/32", "::1/128"]
ACTIONS = (
    "launch",
    "start",
    "stop",
    "cancel",
    "delete",
    "lock",
    "update",
    "upgrade",
    "whitelist",
    "description",
    "key",
    "roll",
)


def now(api: PredictionAPI) -> PredictionAPI:
    return PredictionAPI.objects.get(pk=api.pk)


@pytest.mark.parametrize("verb", ACTIONS)
def test_get_is_a_complete_page_and_changes_nothing(operator, api, verb):
    reply = operator.get(url(f"api-{verb}", api.model))

    assert reply.status_code == 200
    assert "<!doctype html>" in reply.content.decode()
    assert ApiEvent.objects.count() == 0


@pytest.mark.parametrize("verb", ACTIONS)
def test_get_by_htmx_is_the_dialog_alone(operator, api, verb):
    reply = operator.get(url(f"api-{verb}", api.model), headers=htmx(api.model, target="dialog-body"))

    assert reply.status_code == 200
    assert "<!doctype html>" not in reply.content.decode()
    assert "HX-Request" in reply.headers["Vary"]


def test_a_history_restore_gets_the_complete_page(operator, api):
    headers = {**htmx(api.model), "HX-History-Restore-Request": "true"}

    assert "<!doctype html>" in operator.get(url("api-stop", api.model), headers=headers).content.decode()


def test_stop_leads_back_to_the_tab(operator, api):
    reply = operator.post(url("api-stop", api.model))

    assert (reply.status_code, reply.url) == (303, url("model-api", api.model))
    assert now(api).target == Target.STOPPED


def test_stop_by_htmx_renews_the_tab_and_closes_the_dialog(operator, api):
    reply = operator.post(url("api-stop", api.model), headers=htmx(api.model, target="dialog-body"))

    assert reply.status_code == 200
    assert reply.headers["HX-Retarget"] == "#notices"
    assert "dialog-close" in reply.headers["HX-Trigger-After-Swap"]
    assert 'hx-swap-oob="innerHTML:#api-head"' in reply.content.decode()


def test_a_stop_that_no_worker_has_confirmed_is_never_called_done(operator, api):
    reply = operator.post(url("api-stop", api.model), headers=htmx(api.model, target="dialog-body"))

    assert "Stopping… 0 of 1 worker" in reply.content.decode()
    assert "Stopped:" not in reply.content.decode()


def test_a_stop_without_any_gateway_says_that_nothing_is_served(operator, api):
    GatewayWorker.objects.all().delete()

    reply = operator.post(url("api-stop", api.model), follow=True)

    assert now(api).status == Status.STOPPED
    assert "no gateway is running, nothing is served" in reply.content.decode()


def test_an_action_from_another_page_by_htmx_sends_the_browser_to_the_tab(operator, api):
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{url('api-stop', api.model)}"}

    assert operator.post(url("api-stop", api.model), headers=headers).headers["HX-Redirect"] == url(
        "model-api", api.model
    )


@pytest.mark.parametrize("verb", ["start", "cancel", "delete", "upgrade"])
def test_an_action_that_the_state_forbids_is_409_with_the_reason(operator, api, verb):
    data = {"name": api.model.name}

    page = operator.post(url(f"api-{verb}", api.model), data)
    fragment = operator.post(url(f"api-{verb}", api.model), data, headers=htmx(api.model))

    assert (page.status_code, fragment.status_code) == (409, 409)
    assert "<!doctype html>" in page.content.decode()
    assert 'role="alert"' in fragment.content.decode()
    assert ApiEvent.objects.count() == 0


@pytest.mark.parametrize("verb", [verb for verb in ACTIONS if verb != "launch"])
def test_an_action_on_a_model_without_an_api_is_409(operator, api, verb):
    model = make_model(api.model.workspace)

    assert operator.post(url(f"api-{verb}", model)).status_code == 409
    assert "This model has no API." in operator.get(url(f"api-{verb}", model)).content.decode()


@pytest.mark.parametrize("name", ["", "model", "MODEL 0"])
def test_delete_asks_for_the_models_name(operator, api, name):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target=Target.STOPPED)

    reply = operator.post(url("api-delete", api.model), {"name": name})

    assert reply.status_code == 422
    assert "That is not the model&#x27;s name" in reply.content.decode()
    assert now(api).status == Status.STOPPED


def test_delete_with_the_name_deletes(operator, api):
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target=Target.STOPPED)

    reply = operator.post(url("api-delete", api.model), {"name": f" {api.model.name} "})

    assert reply.status_code == 303
    assert now(api).target == Target.DELETING


def test_delete_of_an_operating_api_gives_the_reason_rather_than_asking_for_the_name(operator, api):
    reply = operator.post(url("api-delete", api.model), {"name": ""})

    assert reply.status_code == 409
    assert "Stop the API first." in reply.content.decode()


@pytest.mark.parametrize(("locked", "after"), [("true", True), ("", True)])
def test_lock_locks(operator, api, locked, after):
    assert operator.post(url("api-lock", api.model), {"locked": locked}).status_code == 303
    assert now(api).is_locked is after


@pytest.mark.parametrize("locked", ["false", ""])
def test_an_operator_may_not_unlock_by_a_hand_made_request(operator, api, locked):
    PredictionAPI.objects.filter(pk=api.pk).update(is_locked=True)

    reply = operator.post(url("api-lock", api.model), {"locked": locked})

    assert reply.status_code == 403
    assert "Only an administrator can unlock" in reply.content.decode()
    assert now(api).is_locked


def test_two_people_locking_at_once_do_not_unlock(sign_in, operator, api):
    operator.post(url("api-lock", api.model), {"locked": "true"})

    reply = sign_in("administrator").post(url("api-lock", api.model), {"locked": "true"})

    assert reply.status_code == 409
    assert now(api).is_locked


@pytest.mark.parametrize("verb", ["roll", "update"])
def test_what_cuts_callers_off_a_locked_api_asks_once_more(operator, api, verb):
    make_version(api.model)
    PredictionAPI.objects.filter(pk=api.pk).update(is_locked=True)

    asked = operator.post(url(f"api-{verb}", api.model), headers=htmx(api.model, target="dialog-body"))
    events = ApiEvent.objects.count()
    again = operator.post(url(f"api-{verb}", api.model), {"confirmed": "1"})

    assert asked.status_code == 409
    assert "locked" in asked.content.decode()
    assert '<input type="hidden" name="confirmed" value="1">' in asked.content.decode()
    assert (events, again.status_code) == (0, 303)


def test_update_serves_the_newest_version_unless_another_is_named(operator, api):
    make_version(api.model)
    make_version(api.model)

    newest = operator.get(url("api-update", api.model)).content.decode()
    named = operator.get(url("api-update", api.model), {"version": "2"}).content.decode()

    assert "Serve version 3 of" in newest
    assert "Serve version 2 of" in named


@pytest.mark.parametrize("version", ["99", "0", "1"])
def test_a_version_that_can_not_be_served_is_refused(operator, api, version):
    make_version(api.model)

    assert operator.post(url("api-update", api.model), {"version": version}).status_code == 409


def test_a_locked_api_offers_neither_stop_nor_delete_and_says_who_can_unlock(operator, api):
    PredictionAPI.objects.filter(pk=api.pk).update(is_locked=True)

    page = operator.get(url("model-api", api.model)).content.decode()

    assert 'id="do-stop" form="dialogs"' in page
    assert "The API is locked. Only an administrator can unlock it (User Portal)." in page
    assert 'aria-pressed="true"' in page


@pytest.mark.parametrize("api_type", ["", "both", "<script>"])
def test_launch_without_a_known_type_is_422(operator, api, api_type):
    model = make_model(api.model.workspace)

    reply = operator.post(url("api-launch", model), {"type": api_type, "callers": "mine"})

    assert reply.status_code == 422
    assert "Choose Create API or Create trial API." in reply.content.decode()


@pytest.mark.parametrize(
    ("callers", "networks"),
    [
        ("mine", BOTH_LOOPBACKS),
        ("", BOTH_LOOPBACKS),
        ("everybody", ["0.0.0.0/0"]),
        ("nobody", []),
    ],
)
def test_launch_takes_who_may_call(operator, api, callers, networks):
    model = make_model(api.model.workspace)

    operator.post(url("api-launch", model), {"type": "trial", "callers": callers})

    launched = PredictionAPI.objects.get(model=model)
    assert launched.type == ApiType.TRIAL
    assert list(launched.whitelist.values_list("network", flat=True)) == networks


def test_only_an_administrator_may_dismiss_a_worker_out_of_reach(operator, sign_in, api):
    worker = GatewayWorker.objects.get()
    address = f"{url('model-api', api.model)}workers/{worker.pk}/dismiss/"

    in_reach = sign_in("administrator").post(address)
    GatewayWorker.objects.update(heartbeat_at=worker.heartbeat_at - timedelta(minutes=1))
    refused = operator.post(address)
    done = sign_in("administrator").post(address)
    again = sign_in("administrator").post(address)

    replies = (in_reach, refused, done, again)
    assert [reply.status_code for reply in replies] == [409, 403, 303, 409]
    worker.refresh_from_db()
    assert worker.gone_reason == GatewayWorker.GoneReason.DISMISSED


def test_send_row_without_a_gateway_says_so(operator, api, settings):
    nobody = f"http://127.0.0.1:{unused_port()}"
    settings.ENVIRONMENT = replace(settings.ENVIRONMENT, gateway_url=nobody)

    reply = operator.post(url("api-send-row", api.model), headers=htmx(api.model, target="send-reply"))

    assert reply.status_code == 409
    assert "No gateway answered at" in reply.content.decode()


def test_a_failed_build_tells_stage_reason_and_what_to_do(operator, api):
    api.builds.create(
        version=api.version,
        kind="launch",
        outcome="failed",
        failed_stage="inspect",
        reason="No table.",
        log_tail="line <1>",
        finished_at=api.created_at,
        stages=[{"name": "verify", "state": "done", "seconds": 0.2, "detail": "sha256 00…"}],
    )
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.FAILED, target=Target.FAILED)

    page = operator.get(url("model-api", api.model)).content.decode()

    for words in ("failed at stage Inspect model", "No table.", "corrected file", "line &lt;1&gt;", "503 api_failed"):
        assert words in page


def test_an_update_that_failed_says_that_the_old_version_is_served(operator, api):
    newer = make_version(api.model)
    api.builds.create(
        version=newer, previous=api.version, kind="update", outcome="failed", failed_stage="self-test",
        reason="Wrong shape.", finished_at=api.created_at, stages=[],
    )  # fmt: skip

    page = operator.get(url("model-api", api.model)).content.decode()

    assert "Version 2 could not be served; version 1 still is." in page
    assert "Wrong shape." in page


def test_a_deleted_api_leaves_the_screen_before_a_launch(operator, api):
    model = make_model(api.model.workspace)
    make_api(model, status=Status.DELETED)

    assert "Create a prediction API" in operator.get(url("model-api", model)).content.decode()


def test_the_description_dialog_shows_both_switches_as_they_are(operator, api):
    PredictionAPI.objects.filter(pk=api.pk).update(hides_schema=True)

    page = operator.get(url("api-description", api.model)).content.decode()

    assert re.search(r'<input type="checkbox" name="hides_schema"[^>]* checked>', page)
    assert re.search(r'<input type="checkbox" name="has_public_description"(?![^>]* checked)[^>]*>', page)


def test_saving_the_description_settings_tells_what_is_confirmed(operator, api):
    reply = operator.post(url("api-description", api.model), {"has_public_description": "on"}, follow=True)

    (event,) = ApiEvent.objects.filter(verb="describe")
    assert (now(api).hides_schema, now(api).has_public_description) == (False, True)
    assert event.detail == {"has_public_description": True}
    assert "Description settings saved; " in reply.content.decode()
    assert "Public: no key is needed" in reply.content.decode()
    history = operator.get(url("api-history", api.model)).content.decode()
    assert "Public description: on" in history


def test_a_description_dialog_that_is_out_of_date_opens_nothing_again(operator, api):
    address = url("api-description", api.model)
    PredictionAPI.objects.filter(pk=api.pk).update(has_public_description=True)
    seen = re.search(r'<input type="hidden" name="seen_on" value="([^"]*)">', operator.get(address).content.decode())
    assert seen
    PredictionAPI.objects.filter(pk=api.pk).update(has_public_description=False)  # somebody else closes it

    answer = {"seen_on": seen[1], "hides_schema": "on", "has_public_description": "on"}
    reply = operator.post(address, answer)

    assert reply.status_code == 409
    page = reply.content.decode()
    assert "changed after this window was opened" in page
    assert re.search(r'<input type="checkbox" name="has_public_description"(?![^>]* checked)[^>]*>', page)
    assert (now(api).hides_schema, now(api).has_public_description) == (False, False)
    assert not ApiEvent.objects.filter(verb="describe").exists()
    again = operator.post(address, answer | {"seen_on": ""}, follow=True)  # the dialog that came back, decided again
    assert "Description settings saved; " in again.content.decode()


def test_the_charset_of_csvs_is_chosen_and_shown(operator, api):
    address = url("api-description", api.model)

    reply = operator.post(address, {"csv_charset": "windows-1252"}, follow=True)

    assert now(api).csv_charset == "windows-1252"
    assert "CSVs that are no UTF-8 are read as windows-1252." in reply.content.decode()
    assert '<option value="windows-1252" selected>' in operator.get(address).content.decode()
    history = operator.get(url("api-history", api.model)).content.decode()
    assert "Charset of CSVs: windows-1252" in history


def test_a_charset_that_is_not_known_is_told_beside_its_field(operator, api):
    reply = operator.post(url("api-description", api.model), {"csv_charset": "klingon", "hides_schema": "on"})

    page = reply.content.decode()
    assert reply.status_code == 422
    assert '<ul class="errorlist" id="id_csv_charset_error"><li>The charset klingon is not known.</li></ul>' in page
    assert (now(api).csv_charset, now(api).hides_schema) == ("", False)


def test_description_settings_that_change_nothing_are_no_event(operator, api):
    reply = operator.post(url("api-description", api.model), follow=True)

    assert "The description settings are as they were." in reply.content.decode()
    assert ApiEvent.objects.count() == 0


def test_the_information_panel_leads_to_the_description_only_while_it_is_served(operator, api):
    served = operator.get(url("model-api", api.model)).content.decode()
    PredictionAPI.objects.filter(pk=api.pk).update(status=Status.STOPPED, target=Target.STOPPED)
    stopped = operator.get(url("model-api", api.model)).content.decode()

    assert f'/apis/{api.pk}/docs"' in served
    assert f'/apis/{api.pk}/openapi.json"' in served
    assert '/docs" id=' not in stopped
    assert "are there while the API operates" in stopped


OTHER = msgspec.structs.replace(
    SPEC,
    classes=("no", "maybe"),
    meaning=Meaning(
        outputs=(Output("label", "label"), Output("p", "probabilities"), Output("leaf", "ignored")),
        classes=(ClassLabel(0, "no"), ClassLabel(1, "maybe")),
        notes=(Note("ignored_leaf", {"output": "leaf"}),),
    ),
)


def test_update_to_other_classes_is_told_before_and_needs_a_tick(operator, api):
    make_version(api.model, OTHER)

    dialog = operator.get(url("api-update", api.model)).content.decode()
    unticked = operator.post(url("api-update", api.model), {"version": "2"})
    nothing_done = api.builds.exists()
    ticked = operator.post(url("api-update", api.model), {"version": "2", "confirmed": "on"})

    assert "These classes go: yes." in dialog
    assert "These classes come: maybe." in dialog
    assert 'name="confirmed"' in dialog
    assert unticked.status_code == 422
    assert "tick that callers are ready" in unticked.content.decode()
    assert not nothing_done
    assert ticked.status_code == 303
    assert api.builds.get().version.number == 2


def test_the_pages_of_a_model_show_what_its_outputs_mean(operator, api):
    make_version(api.model, OTHER)

    for page in ("model-detail", "model-versions"):
        text = operator.get(url(page, api.model)).content.decode()
        assert "1 → maybe" in text
        assert "(leaf indices). It is ignored." in text
