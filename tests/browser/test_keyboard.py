"""The page by keyboard alone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import DIALOG, state, tab_of


def tab_to(page: Page, selector: str, *, most: int = 40) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(most):
        if page.locator(selector).evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def test_an_api_is_launched_by_keyboard(make_model, open_page):
    page = open_page(make_model().url)
    tab_to(page, "#do-launch")

    page.keyboard.press("Enter")
    expect(page.locator(DIALOG)).to_be_visible()
    expect(page.get_by_role("radio", name="Create API", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(DIALOG)).not_to_be_visible()
    expect(page.locator("#do-launch")).to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name="Create API", exact=True)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Create trial API")).to_be_checked()
    page.keyboard.press("Enter")

    expect(page.locator(DIALOG)).not_to_be_visible()
    expect(state(page)).to_have_text("Operating")
    assert page.evaluate("document.activeElement !== document.body"), "the focus is lost"


def test_focus_stays_where_it_was_when_the_buttons_around_it_are_renewed(launch, open_page):
    api = launch()
    page = open_page(tab_of(api))
    tab_to(page, "#do-lock")

    page.keyboard.press("Enter")

    expect(page.locator("#do-lock")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#do-lock")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#do-stop")).to_be_focused()  # unavailable, and still reached, so that its reason is read
    expect(page.locator("#do-stop-why")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(DIALOG)).not_to_be_visible()


def test_the_whitelist_window_keeps_the_keyboard_inside_and_gives_the_focus_back(launch, open_page):
    page = open_page(tab_of(launch()))
    tab_to(page, "#do-whitelist", most=60)

    page.keyboard.press("Enter")
    expect(page.get_by_label("Addresses or networks to allow")).to_be_focused()
    page.keyboard.type("not a network")
    tab_to(page, "#whitelist-add")
    page.keyboard.press("Enter")
    expect(page.locator("#id_text_error")).to_contain_text("Line 1")
    expect(page.get_by_label("Addresses or networks to allow")).to_be_focused()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog') || document.activeElement === document.body")
    page.keyboard.press("Escape")

    expect(page.locator("#do-whitelist")).to_be_focused()
