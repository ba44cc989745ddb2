"""What the browser tests share: a whole installation, signed-in pages that note every fault, and models to launch."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect

from tests.live.conftest import LiveApi, command, launch, running  # noqa: F401 (fixtures)
from tests.stack import Stack

PASSING_S = 60
"""What passes by itself (a build, a confirmation) has this long under the load of other tests."""

expect.set_options(timeout=PASSING_S * 1000)
DIALOG = "#dialog"

# No faults: a refusal, told in the page (the browser writes its status into the console too), and the poll that
# the page itself breaks off when a button is pressed meanwhile (htmx calls that an error).
_NO_FAULT = re.compile(r"the server responded with a status of (403|409|422)\b|^htmx:(afterRequest|sendAbort),")
_numbers = itertools.count(1)

OpenPage = Callable[..., Page]


@dataclass
class Subject:
    """A registered model of a test's own."""

    id: int
    name: str
    url: str
    """Of its Create API tab."""


@pytest.fixture
def console(running: Stack) -> Stack:  # noqa: F811 (a fixture)
    """A whole installation: console, worker, beat, gateway and the demo data."""
    return running.start("console")


@pytest.fixture
def make_model(console: Stack, request: pytest.FixtureRequest) -> Callable[..., Subject]:
    """Register a model of the test's own: `make_model()`, `make_model(stem="diabetes")`."""

    def make(*, stem: str = "penguins", workspace: str = "Demo") -> Subject:
        name = f"{request.node.originalname} {next(_numbers)}"
        path = f"demo/models/{stem}.onnx"
        model_id = command(console, "register_model", path, "--name", name, "--workspace", workspace)["model_id"]
        return Subject(model_id, name, tab_url(console, model_id))

    return make


@pytest.fixture
def open_page(console: Stack, browser: Browser) -> Iterator[OpenPage]:
    """Open a page of somebody who is signed in, and afterwards hold every page against its console.

    `open_page(url)`, `open_page(url, "viewer")`, `open_page(url, None)` (signed in as nobody); further options go to
    the browser context: `java_script_enabled=False`, `viewport={...}`, `color_scheme="dark"`.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def make(url: str = "/models/", user: str | None = "operator", **options: Any) -> Page:
        context = browser.new_context(base_url=console.console_url, reduced_motion="reduce", **options)
        contexts.append(context)
        context.on("console", lambda message: _note(message, faults))
        context.on("weberror", lambda error: faults.append(f"error in {error.page}: {error.error}"))
        context.on("request", lambda request: _note_address(request, console, faults))
        if user is not None:
            context.add_cookies([session_cookie(console, user)])
        context.set_default_timeout(PASSING_S * 1000)
        page = context.new_page()
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def _note(message: ConsoleMessage, faults: list[str]) -> None:
    if message.type in {"error", "warning"} and not _NO_FAULT.search(message.text):
        faults.append(
            f"{message.type} on {message.page and message.page.url}: {message.text} {message.location['url']}"
        )


def _note_address(request: Request, console: Stack, faults: list[str]) -> None:
    """Nothing comes from another host."""
    parts = urlsplit(request.url)
    if parts.scheme in {"http", "https"} and not request.url.startswith(f"{console.console_url}/"):
        faults.append(f"a page asked for {request.url}")


def session_cookie(console: Stack, username: str) -> dict[str, Any]:
    """A new session of that user, as signing in makes it."""
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    with console.orm():
        client = Client()
        client.force_login(User.objects.get(username=username))
    return {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": console.console_url,
    }


def tab_url(console: Stack, model_id: int) -> str:
    return f"{console.console_url}/models/{model_id}/api/"


def tab_of(api: LiveApi) -> str:
    return tab_url(api.stack, api.model_id)


def state(page: Page) -> Any:
    """The word of the panel API status."""
    return page.locator("#api-status .state-word")


def post(page: Page, path: str, **form: str) -> Any:
    """A hand-made request with this browser's session, as no button of the page would send it. Returns the reply."""
    token = page.locator("[name=csrfmiddlewaretoken]").first.get_attribute("value")
    return page.request.post(path, form={"csrfmiddlewaretoken": token, **form}, headers={"Referer": page.url})


def note_words(page: Page, selector: str) -> None:
    """From now on note in `window.words` every text that the element shows, however short a time."""
    page.evaluate(
        """(selector) => {
            window.words = [];
            const look = () => {
                const text = document.querySelector(selector)?.textContent.trim();
                if (text && window.words.at(-1) !== text) window.words.push(text);
            };
            new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
        }""",
        selector,
    )


def noted_words(page: Page) -> list[str]:
    return page.evaluate("window.words")
