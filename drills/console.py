"""A person at the console: signs in, presses buttons, reads the page. Without scripts, so one request a click."""

from __future__ import annotations

import re
from html import unescape
from types import TracebackType
from typing import Self

import httpx

from drills.apis import DrillApi
from drills.testbed import Site

_STATE = re.compile(r'state-word">([^<]*)')
_TAGS = re.compile(r"<[^>]+>")


class Person:
    """One signed-in user of the demo: viewer, operator or administrator."""

    def __init__(self, site: Site, name: str = "operator") -> None:
        self._http = httpx.Client(base_url=site.console_url, timeout=30, follow_redirects=True)
        self._csrf = f"console_csrf_{site.environment.console_port}"
        self._http.get("/accounts/login/")
        page = self._post("/accounts/login/", username=name, password=site.env["DEMO_PASSWORD"])
        if "/accounts/login/" in str(page.url):
            raise RuntimeError(f"{name} could not sign in: {page.status_code}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def press(self, api: DrillApi | int, action: str, **fields: str) -> httpx.Response:
        """Send the form of one action: `stop`, `start`, `key/roll`, `whitelist`, `launch` ..."""
        model_id = api if isinstance(api, int) else api.model_id
        return self._post(f"/models/{model_id}/api/{action}/", **fields)

    def page(self, api: DrillApi | int) -> httpx.Response:
        """The tab Create API, as a whole page."""
        return self._http.get(f"/models/{api if isinstance(api, int) else api.model_id}/api/")

    def _post(self, path: str, **fields: str) -> httpx.Response:
        return self._http.post(path, data=fields | {"csrfmiddlewaretoken": self._http.cookies.get(self._csrf) or ""})


def state_word(page: httpx.Response) -> str:
    """The status that the page tells: "Operating", "Stopped" ...; "" if it shows none."""
    found = _STATE.search(page.text)
    return unescape(found[1]).strip() if found else ""


def words(page: httpx.Response) -> str:
    """The page as text."""
    return " ".join(unescape(_TAGS.sub(" ", page.text)).split())
