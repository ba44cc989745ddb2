"""The page that the gateway serves for one API: strict policy, nothing from elsewhere, a form that sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.live.conftest import LiveApi
from tests.live.test_life import until


def opened(browser: Browser, api: LiveApi, faults: list[str], **options: Any) -> Page:
    """The page as somebody sees it who gave the browser the key when it asked; the first answer is 401."""
    credentials = {"username": api.key, "password": ""}
    context = browser.new_context(http_credentials=credentials, reduced_motion="reduce", **options)

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "status of 4" not in message.text:
            faults.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on(
        "request", lambda request: None if request.url.startswith((api.base, "data:")) else faults.append(request.url)
    )
    page = context.new_page()
    page.goto(f"{api.base}/docs")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_shows_the_columns_and_sends_a_row(
    launch: Callable[..., LiveApi], browser: Browser, scheme: str, width: int, tmp_path: Any
) -> None:
    api, faults = launch(stem="penguins"), []
    page = opened(browser, api, faults, color_scheme=scheme, viewport={"width": width, "height": 900})

    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("rowheader", name="bill_length_mm")).to_be_visible()
    page.get_by_label("API key").fill(api.key)
    page.get_by_label("bill_length_mm").fill("")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Status 200")
    expect(page.get_by_role("status")).to_contain_text('"class": "Adelie"')
    expect(page.get_by_role("status")).to_contain_text("99 requests of the trial left")

    page.get_by_label("body_mass_g").fill("heavy")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_contain_text("Status 422")
    expect(page.get_by_role("status")).to_contain_text("body_mass_g")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.screenshot(path=tmp_path / "docs.png", full_page=True)
    assert until(lambda: api.status()["requests"] == {"200": 1, "4xx": 1, "5xx": 0})
    assert faults == []


def test_it_tells_its_calls_without_scripts(launch: Callable[..., LiveApi], browser: Browser) -> None:
    faults: list[str] = []
    page = opened(browser, launch(stem="diabetes"), faults, java_script_enabled=False)

    for name in ("curl", "Python", "JavaScript", "Excel (Power Query)"):
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("This form needs JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    assert faults == []
