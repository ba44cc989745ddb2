"""What one page shows of what others do, and what a hasty or an ended visitor can do."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import DIALOG, post, state, tab_of
from tests.live.conftest import command


def test_a_colleagues_stop_is_shown_on_the_other_page(launch, open_page):
    api = launch()
    watching, stopping = open_page(tab_of(api)), open_page(tab_of(api), "administrator")

    stopping.get_by_role("button", name="Stop").click()
    stopping.locator(DIALOG).get_by_role("button", name="Stop").click()

    expect(state(stopping)).to_have_text("Stopped")
    expect(state(watching)).to_have_text("Stopped")
    expect(watching.get_by_role("button", name="Start")).to_be_visible()
    expect(watching.locator("#api-announcement")).to_have_text("Stopped")


def test_an_action_on_a_page_that_is_out_of_date_tells_what_is_true(launch, open_page):
    api = launch()
    page = open_page(tab_of(api))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(DIALOG)).to_be_visible()

    api.do("lock")
    page.locator(DIALOG).get_by_role("button", name="Stop").click()

    expect(page.locator(DIALOG)).to_contain_text("The API is locked")
    assert api.call().status_code == 200


def test_clicking_start_twice_launches_once(console, make_model, open_page):
    model = make_model()
    page = open_page(model.url)
    page.get_by_role("button", name="Launch").click()

    page.locator(DIALOG).get_by_role("button", name="Start").dblclick()

    expect(state(page)).to_have_text("Operating")
    expect(page.locator(DIALOG)).not_to_be_visible()
    expect(page.locator("#notices [role=alert]")).to_have_count(0)
    assert console.psql("SELECT count(*) FROM apimgmt_predictionapi WHERE model_id = %s", [model.id]) == [(1,)]


def test_a_page_whose_session_is_over_goes_to_the_login_page(console, launch, open_page):
    api = launch()
    page = open_page(tab_of(api))
    page.context.clear_cookies()

    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when somebody comes back to the tab

    expect(page).to_have_url(re.compile(f"/accounts/login/\\?next=/models/{api.model_id}/api/"))


def test_looking_does_not_lengthen_the_session(console, launch, open_page):
    page = open_page(tab_of(launch()))
    session = next(cookie for cookie in page.context.cookies() if "session" in cookie["name"])

    with page.expect_response(re.compile("/api/status/")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    after = next(cookie for cookie in page.context.cookies() if "session" in cookie["name"])
    assert after == session


def test_a_viewer_sees_no_key_and_changes_nothing(console, launch, open_page):
    api = launch()
    page = open_page(tab_of(api), "viewer")

    expect(state(page)).to_have_text("Operating")
    assert api.key not in page.content()
    for name in ("Lock API", "Stop", "Delete", "Configure IP whitelist", "Show", "Roll key", "Send this row now"):
        button = page.get_by_role("button", name=name, exact=True)
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_have_accessible_description(re.compile("Only an operator|Stop the API first"))
        button.click(force=True)
    expect(page.locator(DIALOG)).not_to_be_visible()
    for action in ("stop", "start", "lock", "delete", "key", "key/roll", "whitelist", "update", "upgrade", "send-row"):
        assert post(page, f"{tab_of(api)}{action}/", text="192.0.2.1", name="x").status == 403, action
    assert api.call().status_code == 200


def test_in_the_trial_edition_an_official_api_can_not_be_chosen(console, make_model, open_page):
    model = make_model(workspace="Demo trial")
    page = open_page(model.url)

    page.get_by_role("button", name="Launch").click()

    official = page.get_by_role("radio", name="Create API", exact=True)
    expect(official).to_be_disabled()
    expect(official).to_have_accessible_description("Official APIs are not part of the trial edition.")
    expect(page.get_by_role("radio", name="Create trial API")).to_be_checked()
    refused = post(page, f"{model.url}launch/", type="official", callers="mine")
    assert refused.status == 409
    assert "Official APIs are not part of the trial edition." in refused.text()
    page.locator(DIALOG).get_by_role("button", name="Start").click()
    expect(page.locator("dl.information dd").first).to_have_text("Trial API")


def test_the_graph_shows_the_errors_as_one_number(console, launch, open_page):
    api = launch()
    api.call()
    api.call(json={"rows": []})
    page = open_page(tab_of(api))

    expect(page.locator("#api-requests .totals")).to_contain_text("2 requests")
    names = page.evaluate("document.querySelector('#chart').data.map((trace) => trace.name)")
    assert names == ["Status 200", "Status 4xx or 5xx"]
    assert page.evaluate("document.querySelector('#chart').data[0].x.length") == 30
    page.get_by_role("button", name="Table").click()
    expect(page.get_by_role("columnheader", name="Status 4xx or 5xx")).to_be_visible()
    page.get_by_role("link", name="7 days").click()
    expect(page.locator("#api-requests .totals")).to_contain_text("7 days")
    assert page.evaluate("document.querySelector('#chart').data[0].x.length") == 7


def test_a_used_up_trial_says_so(console, launch, open_page):
    api = launch()
    console.psql("UPDATE apimgmt_trialquota SET used = request_limit - 1 WHERE api_id = %s", [api.id])
    page = open_page(tab_of(api))

    page.get_by_role("button", name="Send this row now").click()
    expect(page.get_by_role("region", name="Reply")).to_contain_text("Status 200")

    expect(page.locator("#api-banner")).to_contain_text("The trial is used up: 0 of 100 requests left.")
    assert api.call().json()["code"] == "quota_exhausted"
    page.locator("#api-banner").get_by_role("button", name="Upgrade to official").click()
    page.locator(DIALOG).get_by_role("button", name="Upgrade to official").click()
    expect(page.locator("#api-banner")).not_to_contain_text("used up")
    assert api.call().status_code == 200
    assert command(console, "api", "status", api.id)["type"] == "official"
