"""What tells people and programs of an API: its OpenAPI document, its page, and the page's own files."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from contract.model_spec import ModelSpec
from contract.settings import PROJECT_DIR
from inference.formats.base import Codec, Headers, Page, Reply
from inference.formats.description import docs_page, openapi
from inference.formats.description.info import ApiInfo
from inference.formats.description.schemas import TEXT, Schema, answer, page
from inference.formats.replies import JSON_TYPE

_OWN_FILES: Final = Path(docs_page.__file__).parent / "assets"
_CONSOLE_STYLES: Final = PROJECT_DIR / "static/css"  # the console's own look: one place for colours and sizes
BASE_STYLES: Final = ("base", "layout", "header", "panels", "tables", "forms", "buttons", "status", "notices", "code")
"""In the order of templates/apimgmt/partials/_styles.html; the dialogs are left out, there are none here."""

# A file that is made of several is served as one: each file costs the page one request more.
_FILES: Final = {
    "tokens.css": (_CONSOLE_STYLES / "tokens.css",),
    "base.css": tuple(_CONSOLE_STYLES / f"{name}.css" for name in BASE_STYLES),
    "docs.css": (_OWN_FILES / "docs.css",),
    "docs.js": (_OWN_FILES / "docs.js",),
}
_MEDIA: Final = {".css": b"text/css; charset=utf-8", ".js": b"text/javascript; charset=utf-8"}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE: Final[Headers] = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_STORE: Final[Headers] = ((b"cache-control", b"no-store"),)
_KEPT: Final[Headers] = ((b"cache-control", b"max-age=300"),)
_DOCUMENTS_KEPT: Final = 32  # of a thousand columns one has a third of a megabyte


class DescriptionCodec(Codec):
    """Predicts nothing; tells of the other codecs."""

    predicting = re.compile(r"(?!)")
    tag = "description"
    summary = "This document, and the same as a page."

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._formats = [one for codec in codecs for one in codec.formats]
        self._codecs = (*codecs, self)
        self._openapi_of = _Documents(lambda info: msgspec.json.encode(openapi.openapi(info, self._codecs)))
        self._page_of = _Documents(lambda info: docs_page.page(info, self._formats).encode())
        self.pages = (
            Page(re.compile(r"openapi\.json"), self._openapi, asks_browser=True),
            Page(re.compile(r"docs"), self._docs, asks_browser=True),  # below a slash its own links would lead nowhere
            *(Page(re.compile(rf"docs/{re.escape(name)}"), _served(name), is_open=True) for name in _FILES),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        html = {"description": "A page for people.", "content": {"text/html": {"schema": TEXT}}}
        return {
            "/openapi.json": page(self.tag, "This document", answer("OpenAPI 3.1", json=None), "Problem"),
            "/docs": page(self.tag, "The same as a page", html, "Problem"),
        }

    def _openapi(self, info: ApiInfo) -> Reply:
        return Reply(self._openapi_of(info), JSON_TYPE, _NO_STORE)

    def _docs(self, info: ApiInfo) -> Reply:
        return Reply(self._page_of(info), b"text/html; charset=utf-8", _SAFE + _NO_STORE)


class _Documents:
    """The latest documents, so that asking again and again costs nobody's event loop: a wide model's takes 15 ms."""

    def __init__(self, make: Callable[[ApiInfo], bytes]) -> None:
        self._make = make
        self._made: OrderedDict[tuple[str, ...], tuple[ModelSpec, bytes]] = OrderedDict()

    def __call__(self, info: ApiInfo) -> bytes:
        key = (info.api_id, info.name, info.version, info.base_url)
        found = self._made.pop(key, None)
        if found is None or found[0] is not info.spec:
            found = info.spec, self._make(info)
        self._made[key] = found
        if len(self._made) > _DOCUMENTS_KEPT:
            self._made.popitem(last=False)
        return found[1]


def _served(name: str) -> Callable[[ApiInfo], Reply]:
    return lambda info: Reply(_content(name), _MEDIA[Path(name).suffix], _SAFE + _KEPT)


@lru_cache
def _content(name: str) -> bytes:
    return b"\n".join(path.read_bytes() for path in _FILES[name])
