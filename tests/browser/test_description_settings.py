"""The two switches of a description, with scripts and without: the page says what the gateway does."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import tab_of


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "no-scripts"])
def test_making_a_description_public_and_hiding_the_schema(console, launch, open_page, has_scripts):
    api = launch()
    page = open_page(tab_of(api), java_script_enabled=has_scripts)
    panel = page.get_by_role("region", name="API information")
    expect(panel).to_contain_text("enter the API key as the user name")
    assert httpx.get(f"{api.base}/openapi.json").status_code == 401

    page.get_by_role("button", name="Settings").click()
    dialog = page.get_by_role("dialog") if has_scripts else page.locator("main")
    dialog.get_by_role("checkbox", name="Public description").check()
    dialog.get_by_role("checkbox", name="Hide the schema in errors").check()
    dialog.get_by_role("button", name="Save").click()

    expect(page.locator("main")).to_contain_text("Description settings saved")
    expect(panel).to_contain_text("Public: no key is needed")
    expect(panel).to_contain_text("Errors name no column.")
    assert httpx.get(f"{api.base}/openapi.json").status_code == 200
    wrong = api.call(json={"rows": [{"iland": "x"}]})
    assert (wrong.status_code, "errors" in wrong.json(), "island" in wrong.text) == (422, False, False)
    expect(panel.get_by_role("link", name="Docs page of this API")).to_have_attribute("href", f"{api.base}/docs")

    page.get_by_role("button", name="Settings").click()
    expect(dialog.get_by_role("checkbox", name="Public description")).to_be_checked()
    dialog.get_by_role("checkbox", name="Public description").uncheck()
    dialog.get_by_role("button", name="Save").click()
    expect(panel).to_contain_text("enter the API key as the user name")
    assert httpx.get(f"{api.base}/openapi.json").status_code == 401
