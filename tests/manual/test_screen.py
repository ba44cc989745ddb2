"""What the manual says about the API Creation Screen, page by page: which words, which buttons, and what they do."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apimgmt.access.keys import decrypted_key
from apimgmt.lifecycle.options import option_use
from apimgmt.lifecycle.reconciling import reconcile_api
from apimgmt.lifecycle.transitions import is_stopping
from apimgmt.models import ApiType, Edition, Model, PredictionAPI, RequestStat, Status, WhitelistEntry, Workspace
from tests.factories import make_api, make_model, make_user, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace() -> Workspace:
    return make_workspace(api_options=1)


@pytest.fixture
def model(workspace: Workspace) -> Model:
    return make_model(workspace)


@pytest.fixture
def operator(client: Client, workspace: Workspace) -> Client:
    client.force_login(make_user("operator", workspace))
    return client


def url(name: str, model: Model) -> str:
    return reverse(name, args=[model.pk])


def page(client: Client, address: str) -> str:
    """A page's HTML, each run of white space one blank."""
    reply = client.get(address)
    assert reply.status_code == 200
    return re.sub(r"\s+", " ", reply.content.decode())


def screen(client: Client, model: Model) -> str:
    return page(client, url("model-api", model))


def text(markup: str) -> str:
    """What is read of it."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", markup))).strip()


def button(markup: str, label: str) -> str:
    """The opening tag of the button with that label."""
    for tag, content in re.findall(r"(<button[^>]*>)(.*?)</button>", markup):
        if text(content) == label:
            return tag
    raise AssertionError(f"no button {label}")


def buttons(markup: str) -> set[str]:
    return {text(found) for found in re.findall(r"<button[^>]*>(.*?)</button>", markup)}


def reason(markup: str, label: str) -> str:
    """Why the button can't be used now; "" if it can."""
    tag = button(markup, label)
    if 'aria-disabled="true"' not in tag:
        return ""
    described_by = re.search(r'aria-describedby="([^"]+)"', tag)
    assert described_by is not None, f"{label} gives no reason"
    found = re.search(rf'id="{described_by[1]}">(.*?)</', markup)
    assert found is not None
    return text(found[1])


def information(markup: str) -> dict[str, str]:
    """The panel API information: label → what stands beside it."""
    panel = markup[markup.index('aria-labelledby="information-title"') :]
    panel = panel[: panel.index("</dl>")]
    return {text(label): text(value) for label, value in re.findall(r"<dt>(.*?)</dt> *<dd[^>]*>(.*?)</dd>", panel)}


def choice(markup: str, api_type: str) -> tuple[bool, str]:
    """Whether the radio choice can be taken, and the sentence below it."""
    radio = re.search(rf'<input type="radio" name="type" value="{api_type}"[^>]*>', markup)
    sentence = re.search(rf'id="type-{api_type}-text">(.*?)</span>', markup)
    assert radio is not None
    assert sentence is not None
    return " disabled" not in radio[0], text(sentence[1])


# ── Create prediction API ──────────────────────────────────────────────────────────────────────────────────


def test_the_tab_create_api_of_a_model_leads_to_the_screen(operator, model):
    overview = page(operator, url("model-detail", model))

    assert f'<a href="{url("model-api", model)}">Create API</a>' in overview
    before = screen(operator, model)
    assert 'aria-current="page">Create API</a>' in before
    assert "Create a prediction API" in before


@pytest.mark.parametrize("is_launched", [False, True])
def test_the_screen_links_the_inference_api_specifications(operator, model, is_launched):
    if is_launched:
        make_api(model)

    link = re.search(r'<main.*?<a[^>]*href="([^"]*)"[^>]*>Inference API Specifications</a>', screen(operator, model))

    assert link is not None
    assert f"Columns of {model.name}" in page(operator, html.unescape(link[1]))


def test_launch_opens_the_window_start_api_creation_with_two_types_and_start(operator, model):
    assert f'formaction="{url("api-launch", model)}"' in button(screen(operator, model), "Launch")

    window = page(operator, url("api-launch", model))

    assert "Start API creation" in text(window)
    assert re.findall(r'class="choice-name" id="type-[^"]*">(.*?)<', window) == ["Create API", "Create trial API"]
    assert 'type="submit"' in button(window, "Start")


@pytest.mark.parametrize(("api_type", "label"), [("official", "Official API"), ("trial", "Trial API")])
def test_start_creates_an_api_of_the_chosen_type(operator, model, api_type, label):
    reply = operator.post(url("api-launch", model), {"type": api_type, "callers": "mine"})

    assert (reply.status_code, reply["Location"]) == (303, url("model-api", model))
    assert PredictionAPI.objects.get(model=model).type == api_type
    assert information(screen(operator, model))["API type"] == label


def test_an_official_api_needs_a_purchased_option(operator, model, workspace):
    Workspace.objects.filter(pk=workspace.pk).update(api_options=0)

    assert choice(page(operator, url("api-launch", model)), "official")[0] is False
    refused = operator.post(url("api-launch", model), {"type": "official", "callers": "mine"})
    assert refused.status_code == 409
    assert "No API option was purchased" in refused.content.decode()

    Workspace.objects.filter(pk=workspace.pk).update(api_options=1)
    assert operator.post(url("api-launch", model), {"type": "official"}).status_code == 303


def test_one_official_api_for_each_option(operator, model, workspace):
    second = make_model(workspace)
    operator.post(url("api-launch", model), {"type": "official"})

    refused = operator.post(url("api-launch", second), {"type": "official"})

    assert refused.status_code == 409
    assert "1 of 1 API options are in use" in refused.content.decode()
    assert operator.post(url("api-launch", second), {"type": "trial"}).status_code == 303


def test_the_trial_edition_can_not_select_create_api(operator, model, workspace):
    Workspace.objects.filter(pk=workspace.pk).update(edition=Edition.TRIAL)
    window = page(operator, url("api-launch", model))

    assert choice(window, "official") == (False, "Official APIs are not part of the trial edition.")
    assert choice(window, "trial") == (True, "Up to 100 requests.")
    assert operator.post(url("api-launch", model), {"type": "official"}).status_code == 409
    assert not PredictionAPI.objects.exists()


def test_the_building_screen_is_displayed_after_start(operator, model):
    operator.post(url("api-launch", model), {"type": "trial"})

    building = screen(operator, model)

    assert re.search(r'class="status [^"]*state-word">Building…', building)
    stages = re.findall(r'class="stage-name">(.*?)<', building)
    assert stages == ["Verify file", "Inspect model", "Self-test", "Publish", "Confirm on gateways"]
    assert "Callers get 503 api_building" in building


# ── Check prediction API information, request count, status ────────────────────────────────────────────────


def test_a_created_api_has_three_panels(operator, model):
    make_api(model)

    created = screen(operator, model)

    assert re.findall(r'<h2 id="(?:status|information|requests)-title">(.*?)</h2>', created) == [
        "API status",
        "API information",
        "API request count",
    ]
    assert "Create a prediction API" not in created


def test_api_information_shows_what_the_manual_lists(operator, model, settings):
    api = make_api(model, type=ApiType.TRIAL)
    WhitelistEntry.objects.create(api=api, network="192.0.2.0/24")

    shown = information(screen(operator, model))

    assert list(shown) == [
        "API type",
        "Model ID",
        "API ID",
        "API URL",
        "API Key",
        "IP whitelist",
        "Date/time created",
    ]
    assert shown["API type"] == "Trial API"
    assert shown["Model ID"] == str(model.pk)
    assert shown["API ID"].startswith(api.pk)
    assert shown["API URL"].startswith(f"{settings.ENVIRONMENT.gateway_url}/apis/{api.pk}/predict")
    assert shown["IP whitelist"].startswith("192.0.2.0/24")
    assert str(timezone.localtime(api.created_at).year) in shown["Date/time created"]


def test_the_api_key_is_shown_when_asked_for(operator, model):
    api = make_api(model)
    assert information(screen(operator, model))["API Key"].startswith("pak_••••")

    operator.post(url("api-key", model), {"action": "show"})

    shown = information(screen(operator, model))["API Key"].split()[0]
    assert shown == decrypted_key(api)


def test_0_0_0_0_0_is_said_to_allow_all_addresses(operator, model):
    api = make_api(model)
    WhitelistEntry.objects.create(api=api, network="0.0.0.0/0")

    assert "0.0.0.0/0 allows all addresses" in information(screen(operator, model))["IP whitelist"]


def figure(markup: str) -> list[dict]:
    found = re.search(r'<script id="request-figure" type="application/json">(.*?)</script>', markup)
    assert found is not None
    return json.loads(found[1])["data"]


def test_requests_are_counted_daily_and_displayed_as_a_graph(operator, model):
    api, today = make_api(model), timezone.localdate()
    for days_ago, counts in {0: (5, 3, 1), 2: (7, 0, 0), 29: (1, 1, 0), 30: (99, 99, 99)}.items():
        RequestStat.objects.create(
            api_id=api.pk,
            day=today - timedelta(days=days_ago),
            count_200=counts[0],
            count_4xx=counts[1],
            count_5xx=counts[2],
        )

    ok, errors = figure(screen(operator, model))

    assert (ok["name"], errors["name"]) == ("Status 200", "Status 4xx or 5xx")
    days = [(today - timedelta(days=number)).isoformat() for number in range(29, -1, -1)]
    assert ok["x"] == errors["x"] == days
    assert ok["y"] == [1, *[0] * 26, 7, 0, 5]
    assert errors["y"] == [1, *[0] * 26, 0, 0, 4]  # client and server errors together
    assert errors["customdata"][-1] == [3, 1]


@pytest.mark.parametrize(
    ("status", "word", "callers"),
    [
        (Status.BUILDING, "Building", "Callers get 503 api_building until the gateways open it."),
        (Status.UPDATING, "Updating", ""),
        (Status.OPERATING, "Operating", ""),
        (Status.STOPPED, "Stopped", "Callers get 503 api_stopped."),
        (Status.DELETING, "Deleting", "Callers get 503 api_deleting"),
    ],
)
def test_api_status_shows_the_manuals_word(operator, model, status, word, callers):
    make_api(model, status=status)

    shown = screen(operator, model)

    panel = shown[shown.index('aria-labelledby="status-title"') :]
    assert re.search(r'state-word">(.*?)…?</span>', panel)[1] == word
    assert (callers or "Callers get") in panel if callers else "Callers get" not in panel


# ── Configure IP whitelist ─────────────────────────────────────────────────────────────────────────────────


def test_configure_ip_whitelist_opens_a_window_with_a_box_and_add(operator, model):
    make_api(model)
    tag = button(screen(operator, model), "Configure IP whitelist")
    assert f'formaction="{url("api-whitelist", model)}"' in tag

    window = page(operator, url("api-whitelist", model))

    assert '<textarea class="textarea" name="text"' in window
    assert "CIDR format" in text(window)
    assert 'name="add"' in button(window, "Add")


def test_add_puts_the_addresses_of_the_box_on_the_list(operator, model):
    api = make_api(model)

    operator.post(url("api-whitelist", model), {"text": "192.0.2.0/24\n2001:db8::/32", "add": "text"})

    assert list(api.whitelist.values_list("network", flat=True)) == ["192.0.2.0/24", "2001:db8::/32"]
    assert information(screen(operator, model))["IP whitelist"].startswith("192.0.2.0/24 2001:db8::/32")


def test_what_is_no_cidr_is_refused_beside_the_box(operator, model):
    api = make_api(model)

    refused = operator.post(url("api-whitelist", model), {"text": "192.0.2.0/24\n192.0.2.0/33", "add": "text"})

    assert refused.status_code == 422
    assert "Line 2:" in refused.content.decode()
    assert not api.whitelist.exists()


def test_delete_on_the_right_of_an_address_takes_it_off_the_list(operator, model):
    api = make_api(model)
    for network in ("192.0.2.0/24", "198.51.100.0/24"):
        WhitelistEntry.objects.create(api=api, network=network)
    window = page(operator, url("api-whitelist", model))
    row = re.search(r"<tr> <th[^>]*>192\.0\.2\.0/24</th>.*?</tr>", window)
    assert row is not None
    last_cell = row[0][row[0].rindex("<td") :]
    delete = re.search(r'name="remove" value="(\d+)"[^>]*>Delete<', last_cell)
    assert delete is not None

    operator.post(url("api-whitelist", model), {"remove": delete[1]})

    assert list(api.whitelist.values_list("network", flat=True)) == ["198.51.100.0/24"]


# ── Stop, delete, lock, unlock ─────────────────────────────────────────────────────────────────────────────


def test_stop_stops_the_api(operator, model):
    api = make_api(model)
    assert reason(screen(operator, model), "Stop") == ""

    operator.post(url("api-stop", model))

    api.refresh_from_db()
    assert api.status == Status.STOPPED or is_stopping(api)
    assert api.target == "stopped"
    reconcile_api(api.pk, 0)
    assert "Stop" not in buttons(screen(operator, model))


def test_delete_works_with_the_api_stopped_only(operator, model):
    api = make_api(model)
    assert reason(screen(operator, model), "Delete") == "Stop the API first."
    assert operator.post(url("api-delete", model), {"name": model.name}).status_code == 409

    operator.post(url("api-stop", model))
    reconcile_api(api.pk, 0)
    assert reason(screen(operator, model), "Delete") == ""
    assert operator.post(url("api-delete", model), {"name": model.name}).status_code == 303

    reconcile_api(api.pk, 0)
    assert "Launch" in buttons(screen(operator, model))


def test_deleting_frees_the_option_for_another_model(operator, model, workspace):
    api, another = make_api(model, status=Status.STOPPED), make_model(workspace)
    assert option_use(workspace).used == 1
    assert operator.post(url("api-launch", another), {"type": "official"}).status_code == 409

    operator.post(url("api-delete", model), {"name": model.name})
    reconcile_api(api.pk, 0)

    assert option_use(workspace).used == 0
    assert operator.post(url("api-launch", another), {"type": "official"}).status_code == 303


def test_lock_api_locks_and_a_locked_api_can_not_be_stopped(operator, model):
    api = make_api(model)

    assert 'aria-pressed="false"' in button(screen(operator, model), "Lock API")
    operator.post(url("api-lock", model), {"locked": "true"})

    locked = screen(operator, model)
    assert 'aria-pressed="true"' in button(locked, "Lock API")
    assert "The API is locked" in reason(locked, "Stop")
    refused = operator.post(url("api-stop", model))
    assert refused.status_code == 409
    assert "The API is locked" in refused.content.decode()
    api.refresh_from_db()
    assert (api.status, api.target) == ("operating", "operating")


def test_the_same_button_unlocks_for_an_administrator_only(operator, model, workspace):
    api = make_api(model, is_locked=True)
    assert "Only an administrator can unlock" in reason(screen(operator, model), "Lock API")
    assert operator.post(url("api-lock", model), {"locked": "false"}).status_code == 403

    administrator = Client()
    administrator.force_login(make_user("administrator", workspace))
    tag = button(screen(administrator, model), "Lock API")
    assert 'name="locked" value="false"' in tag
    administrator.post(url("api-lock", model), {"locked": "false"})

    api.refresh_from_db()
    assert not api.is_locked


def test_the_administrator_role_is_given_in_the_user_portal(operator, model, workspace):
    make_api(model, is_locked=True)
    user = User.objects.get(pk=operator.session["_auth_user_id"])
    portal = Client()
    portal.force_login(make_user("administrator", workspace, is_staff=True))
    form = {"username": user.username, "role": "administrator", "is_active": "on", "member_of": [workspace.pk]}
    assert operator.post(url("api-lock", model), {"locked": "false"}).status_code == 403

    saved = portal.post(reverse("admin:auth_user_change", args=[user.pk]), form)

    assert saved.status_code == 302
    assert "User Portal" in page(portal, "/admin/")
    assert operator.post(url("api-lock", model), {"locked": "false"}).status_code == 303
