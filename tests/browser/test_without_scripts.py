"""Every action of the page works in a browser without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import state, tab_of
from tests.live.conftest import command, register


@pytest.fixture
def plain_page(open_page) -> Callable[..., Page]:
    return lambda *arguments: open_page(*arguments, java_script_enabled=False)


def confirm(page: Page, button: str) -> None:
    """The dialog, here a page of its own: press its button."""
    page.locator("main").get_by_role("button", name=button, exact=True).click()


def expect_state(page: Page, word: str) -> None:
    """The page asks for itself again each 2 s while something passes."""
    expect(state(page)).to_have_text(word)


def test_an_api_is_launched_called_stopped_started_and_deleted(make_model, plain_page):
    model = make_model()
    page = plain_page(model.url)

    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("heading", level=1, name="Start API creation")).to_be_visible()
    page.get_by_role("radio", name="Create trial API").check()
    page.get_by_role("radio", name="Everybody").check()
    confirm(page, "Start")
    expect_state(page, "Operating")

    page.get_by_role("button", name="Send this row now").click()
    expect(page.get_by_role("region", name="Reply")).to_contain_text("Status 200")
    url = page.locator("#api-url").inner_text()

    page.get_by_role("button", name="Stop").click()
    expect(page.locator("main")).to_contain_text("503 api_stopped")
    confirm(page, "Stop")
    expect_state(page, "Stopped")
    assert httpx.post(url).status_code == 401  # nobody without the key is told that it is stopped

    page.get_by_role("button", name="Start").click()
    expect_state(page, "Operating")
    page.get_by_role("button", name="Stop").click()
    confirm(page, "Stop")
    expect_state(page, "Stopped")

    page.get_by_role("button", name="Delete").click()
    confirm(page, "Delete")
    expect(page.locator("main")).to_contain_text("Nothing was deleted")
    page.get_by_role("textbox").fill(model.name)
    confirm(page, "Delete")
    expect(page.get_by_role("button", name="Launch")).to_be_visible()
    assert httpx.post(url).status_code == 404


def test_the_key_is_shown_hidden_and_rolled(launch, plain_page):
    api = launch()
    page = plain_page(tab_of(api))
    assert api.key not in page.content()

    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#api-key-value")).to_have_text(api.key)
    page.get_by_role("button", name="Hide").click()
    assert api.key not in page.content()

    page.get_by_role("button", name="Roll key").click()
    confirm(page, "Roll key")
    expect(page.locator("#api-key-value")).to_have_text(re.compile("^pak_"))
    assert api.call().status_code == 401


def test_the_whitelist_is_changed_and_the_text_of_a_refused_one_is_kept(launch, plain_page):
    api = launch(allow="192.0.2.1")
    page = plain_page(tab_of(api))

    page.get_by_role("button", name="Configure IP whitelist").click()
    box = page.get_by_label("Addresses or networks to allow")
    box.fill("127.0.0.1\n300.0.0.1")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#id_text_error")).to_contain_text("Line 2")
    expect(box).to_have_value("127.0.0.1\n300.0.0.1")

    box.fill("127.0.0.1")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("rowheader")).to_have_text(["127.0.0.1/32", "192.0.2.1/32"])
    assert api.call().status_code == 200

    page.get_by_role("button", name="Delete 127.0.0.1/32").click()
    expect(page.get_by_role("rowheader")).to_have_text(["192.0.2.1/32"])
    assert api.call().status_code == 403
    page.get_by_role("button", name="Add my address").click()
    expect(page.get_by_role("rowheader")).to_have_count(3)
    page.locator("main").get_by_role("link", name="Close").click()
    expect(page.locator("dl.information .chip")).to_have_count(3)


def test_an_api_is_locked_and_unlocked(launch, plain_page):
    api = launch()
    page = plain_page(tab_of(api))

    page.get_by_role("button", name="Lock API").click()
    expect(page.get_by_role("button", name="Lock API")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Stop").click(force=True)  # unavailable; Playwright would wait for it
    expect(page.locator("main")).to_contain_text("The API is locked")
    assert page.locator("main").get_by_role("button", name="Stop").count() == 0

    page = plain_page(tab_of(api), "administrator")
    page.get_by_role("button", name="Lock API").click()
    expect(page.get_by_role("button", name="Lock API")).to_have_attribute("aria-pressed", "false")


def test_a_trial_is_updated_and_upgraded(launch, plain_page):
    api = launch()
    name = api.stack.psql("SELECT name FROM apimgmt_model WHERE id = %s", [api.model_id])[0][0]
    register(api.stack, name)
    page = plain_page(tab_of(api))

    page.get_by_role("button", name="Serve version 2").click()
    confirm(page, "Serve version 2")
    expect_state(page, "Operating")
    assert api.call().headers["x-model-version"] == "2"

    page.get_by_role("button", name="Upgrade to official").click()
    confirm(page, "Upgrade to official")
    expect(page.locator("dl.information dd").first).to_have_text("Official API")
    assert "x-quota-limit" not in api.call().headers


def test_a_build_is_cancelled(running, make_model, plain_page):
    model = make_model()
    running.worker.stop()  # nobody builds, so there is time
    command(running, "launch_api", str(model.id), "--type", "trial")
    page = plain_page(model.url)

    page.get_by_role("button", name="Cancel").click()

    expect_state(page, "Stopped")
