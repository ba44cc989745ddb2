"""The tab as parts that are rendered apart, so that a poll sends only the ones that changed.

A part's token is the digest of its HTML. The poller carries the tokens of what the browser shows; if they are all
still right the answer is 204. So a page is out of date by at most one poll, whatever it was that changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.template import loader
from django.utils.safestring import SafeString

from apimgmt.views.api_page.page import ApiPage

TOKEN_LENGTH = 8


@dataclass(frozen=True)
class Part:
    """One rendered part: `apimgmt/partials/_api_<name>.html`, in an element `#api-<name>`."""

    name: str
    html: SafeString
    token: str


def render_parts(page: ApiPage) -> dict[str, Part]:
    """All parts in the order of the page."""
    return {name: _render_part(name, panel) for name, panel in page.panels().items()}


def _render_part(name: str, panel: object | None) -> Part:
    html = ""
    if panel is not None:
        html = loader.render_to_string(f"apimgmt/partials/_api_{name}.html", {"panel": panel}).strip()
    digest = hashlib.blake2b(html.encode(), digest_size=TOKEN_LENGTH // 2).hexdigest()
    return Part(name, SafeString(html), digest)


def tokens(parts: dict[str, Part]) -> str:
    """What the poller sends back to say which parts the browser has."""
    return "".join(part.token for part in parts.values())


def changed_parts(parts: dict[str, Part], have: str) -> list[Part]:
    """The parts that differ from the ones with the tokens `have`; all of them for any other text."""
    known = [have[start : start + TOKEN_LENGTH] for start in range(0, len(have), TOKEN_LENGTH)]
    if len(known) != len(parts):
        return list(parts.values())
    return [part for part, token in zip(parts.values(), known, strict=True) if part.token != token]
