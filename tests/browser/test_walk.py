"""The whole page as the manual tells it, in one walk, ending with real calls and the graph showing them."""

from __future__ import annotations

import itertools
import re
import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from apimgmt.models import Workspace
from tests.browser.conftest import DIALOG, note_words, noted_words, post, state
from tests.stack import Stack

LABELS = ["API type", "Model ID", "API ID", "API URL", "API Key", "IP whitelist", "Date/time created"]
STAGES = ["Verify file", "Inspect model", "Self-test", "Publish", "Confirm on gateways"]
_numbers = itertools.count(1)


@pytest.fixture
def one_option(console: Stack) -> str:
    """The name of a workspace that has bought one API option."""
    name = f"One option {next(_numbers)}"
    with console.orm():
        workspace = Workspace.objects.create(name=name, api_options=1)
        workspace.members.set(Workspace.objects.get(name="Demo").members.all())
    return name


def sign_in(page: Page, stack: Stack, name: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(stack.demo_password)
    page.get_by_role("button", name="Sign in").click()


def information(page: Page) -> dict[str, str]:
    """The panel API information: label → what stands beside it."""
    labels = page.locator("dl.information dt").all_inner_texts()
    return dict(zip(labels, page.locator("dl.information dd").all_inner_texts(), strict=True))


def call(page: Page, key: str) -> httpx.Response:
    """What the page tells a caller to do, done from Python: its URL, key and sample row."""
    body = re.search(r"-d '(.*)'", page.locator("#curl").inner_text(), re.DOTALL)
    assert body is not None
    headers = {"x-api-key": key, "content-type": "application/json"}
    return httpx.post(page.locator("#api-url").inner_text(), content=body[1], headers=headers, timeout=10)


def bars(page: Page) -> list[int]:
    """What the graph draws for today: Status 200, Status 4xx or 5xx."""
    return page.evaluate("document.querySelector('#chart').data.map((trace) => trace.y.at(-1))")


def wait_for_bars(page: Page, wanted: list[int]) -> None:
    page.wait_for_function(
        "(wanted) => JSON.stringify(document.querySelector('#chart').data.map((t) => t.y.at(-1))) === wanted",
        arg=str(wanted).replace(" ", ""),
    )


def test_the_whole_page_as_the_manual_tells_it(console, one_option, make_model, open_page):
    model, other = make_model(workspace=one_option), make_model(workspace=one_option)
    page = open_page("/models/", None)
    sign_in(page, console, "operator")

    # Create prediction API: the tab, Launch, the dialog Start API creation, the type, Start
    page.get_by_role("link", name=model.name, exact=True).click()
    page.get_by_role("link", name="Create API", exact=True).click()
    page.wait_for_url(model.url)  # scripts included
    page.get_by_role("button", name="Launch").click()
    dialog = page.get_by_role("dialog", name="Start API creation")
    expect(dialog.get_by_text("Up to 100 requests.")).to_be_visible()
    dialog.get_by_role("radio", name="Create trial API").check()
    dialog.get_by_role("radio", name="Create API", exact=True).check()
    note_words(page, "#api-status .state-word")
    dialog.get_by_role("button", name="Start").click()

    # The building screen, then the screen of a created API
    expect(page.locator("#api-status .stage-name")).to_contain_text(STAGES)
    expect(state(page)).to_have_text("Operating")
    assert noted_words(page) == ["Building…", "Operating"]
    for panel in ("API information", "API request count", "API status"):
        expect(page.get_by_role("region", name=panel)).to_be_visible()

    # Check prediction API information
    shown = information(page)
    assert list(shown) == LABELS
    assert shown["API type"] == "Official API"
    assert shown["Model ID"] == str(model.id)
    api_id = page.locator("#api-id").inner_text()
    assert re.fullmatch("[a-z0-9]{16}", api_id)
    assert page.locator("#api-url").inner_text() == f"{console.gateway_url}/apis/{api_id}/predict"
    assert shown["IP whitelist"].split()[:2] == ["127.0.0.1/32", "::1/128"]
    assert str(time.localtime().tm_year) in shown["Date/time created"]
    key = page.locator("#api-key-value").inner_text()
    assert key in page.locator("#curl").inner_text()

    # Check prediction API request count: a real call, and one with an error
    assert bars(page) == [0, 0]
    reply = call(page, key)
    assert reply.status_code == 200, reply.text
    assert call(page, "pak_wrong").status_code == 401
    wait_for_bars(page, [1, 1])
    expect(page.locator("#api-requests .totals")).to_contain_text("2 requests, 1 with Status 200, 1 with Status 4xx")
    assert (
        page.locator("#chart .bars path").evaluate_all("(all) => all.filter((bar) => bar.getBBox().height > 1).length")
        == 2
    )

    configure_whitelist(page, key)
    lock_and_unlock(console, page, open_page, api_id, model.url)

    # Stop prediction API: callers are told, and it starts again with the same key
    page.get_by_role("button", name="Stop").click()
    page.locator(DIALOG).get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("Stopped")
    expect(page.locator("#notices")).to_contain_text("confirmed by 2 of 2 workers")
    refused = call(page, key)
    assert (refused.status_code, refused.json()["code"]) == (503, "api_stopped")
    page.get_by_role("button", name="Start").click()
    expect(state(page)).to_have_text("Operating")
    assert call(page, key).status_code == 200

    # Delete prediction API: not before it is stopped; the option is free for another model then
    delete = page.locator("#do-delete")
    expect(delete).to_have_attribute("aria-disabled", "true")
    expect(delete).to_have_accessible_description("Stop the API first.")
    page.get_by_role("button", name="Stop").click()
    page.locator(DIALOG).get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("Stopped")
    assert official_choice(open_page, other.url) == ("disabled", "1 of 1 API options are in use.")
    address = page.locator("#api-url").inner_text()
    delete.click()
    page.locator(DIALOG).get_by_role("textbox").fill("another name")
    page.locator(DIALOG).get_by_role("button", name="Delete").click()
    expect(page.locator(DIALOG)).to_contain_text("Nothing was deleted")
    page.locator(DIALOG).get_by_role("textbox").fill(model.name)
    page.locator(DIALOG).get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Launch")).to_be_visible()
    assert httpx.post(address, headers={"x-api-key": key}).status_code == 404
    assert official_choice(open_page, other.url) == ("enabled", "Uses one API option; 1 is left.")


def configure_whitelist(page: Page, key: str) -> None:
    """Configure IP whitelist: the button, the box, Add; a bad line; Delete beside an entry; all of it on the wire."""
    page.get_by_role("button", name="Configure IP whitelist").click()
    dialog = page.locator(DIALOG)
    box = dialog.get_by_label("Addresses or networks to allow")
    box.fill("198.51.100.0/24\n10.0.0.1/8")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.locator("#id_text_error")).to_contain_text("Line 2")
    expect(dialog.locator("#id_text_error")).to_contain_text("10.0.0.0/8")
    expect(box).to_have_value("198.51.100.0/24\n10.0.0.1/8")
    expect(dialog.get_by_role("rowheader")).to_have_text(["::1/128", "127.0.0.1/32"])

    box.fill("198.51.100.0/24")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("rowheader")).to_have_text(["198.51.100.0/24", "::1/128", "127.0.0.1/32"])
    expect(dialog).to_contain_text("confirmed by 2 of 2 workers")

    dialog.get_by_role("button", name="Delete 127.0.0.1/32").click()
    expect(dialog.get_by_role("rowheader")).to_have_text(["198.51.100.0/24", "::1/128"])
    expect(dialog).to_contain_text("confirmed by 2 of 2 workers")
    assert call(page, key).json()["code"] == "ip_not_allowed"

    box.fill("0.0.0.0/0")
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(dialog.get_by_role("rowheader")).to_have_text(["0.0.0.0/0", "198.51.100.0/24", "::1/128"])
    assert call(page, key).status_code == 200
    dialog.locator(".dialog-foot").get_by_role("button", name="Close").click()
    expect(page.locator("dl.information .chip")).to_have_text(["::1/128", "198.51.100.0/24", "0.0.0.0/0"])


def lock_and_unlock(console: Stack, page: Page, open_page: Any, api_id: str, url: str) -> None:
    """Lock API; Stop is unavailable, and refused; an administrator unlocks, in the User Portal or by the button."""
    lock = page.get_by_role("button", name="Lock API")
    stop = page.get_by_role("button", name="Stop")
    expect(lock).to_have_attribute("aria-pressed", "false")
    page.locator("#build-fold summary").click()
    lock.click()
    expect(lock).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#api-status")).to_contain_text("Locked: it can't be stopped or deleted.")
    expect(page.locator("#build-fold")).to_have_attribute("open", "")  # that part was renewed
    expect(stop).to_have_attribute("aria-disabled", "true")
    expect(stop).to_have_accessible_description(re.compile("locked"))
    stop.click(force=True)
    expect(page.locator(DIALOG)).not_to_be_visible()
    assert post(page, f"{url}stop/").status == 409
    expect(lock).to_have_attribute("aria-disabled", "true")
    assert post(page, f"{url}lock/", locked="false").status == 403
    expect(state(page)).to_have_text("Operating")

    portal = open_page("/admin/apimgmt/predictionapi/", "administrator")
    expect(portal.get_by_role("banner")).to_contain_text("User Portal")
    portal.get_by_role("row", name=api_id).get_by_role("checkbox").check()
    portal.get_by_role("combobox", name="Action").select_option(label="Unlock selected APIs")
    portal.get_by_role("button", name=re.compile("Go|Run")).click()
    expect(portal.get_by_text("1 API unlocked.")).to_be_visible()
    expect(lock).to_have_attribute("aria-pressed", "false")

    lock.click()
    expect(lock).to_have_attribute("aria-pressed", "true")
    administrator = open_page(url, "administrator")
    administrator.get_by_role("button", name="Lock API").click()
    expect(administrator.get_by_role("button", name="Lock API")).to_have_attribute("aria-pressed", "false")
    expect(stop).not_to_have_attribute("aria-disabled", "true")


def official_choice(open_page: Any, url: str) -> tuple[str, str]:
    """Whether the radio choice Create API can be taken, and the sentence below it."""
    page = open_page(f"{url}launch/")
    choice = page.get_by_role("radio", name="Create API", exact=True)
    sentence = page.locator("#type-official-text").inner_text()
    return ("enabled" if choice.is_enabled() else "disabled", sentence.partition(" Delete")[0])
