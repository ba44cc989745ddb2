"""All codecs, and which of them a path and its headers mean. A new format is one module, and one line here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from contract.problems import Problem
from inference.formats.base import Codec, Page, RequestFormat, RequestMeta
from inference.formats.compression import check_encoding
from inference.formats.description.info import FormatInfo
from inference.formats.description_codec import DescriptionCodec
from inference.formats.kserve_v1 import KServeV1
from inference.formats.media import content_type
from inference.formats.mlflow import MlflowCsv, MlflowJson
from inference.formats.native_csv import NativeCsv
from inference.formats.native_json import NativeJson
from inference.formats.open_inference.codec import OpenInference

PREDICTING: tuple[Codec, ...] = (
    NativeJson(),  # and the manual format, which only the body tells from it
    NativeCsv(),
    OpenInference(),
    KServeV1(),
    MlflowJson(),
    MlflowCsv(),
)
CODECS: tuple[Codec, ...] = (*PREDICTING, DescriptionCodec(PREDICTING))
FORMATS: tuple[FormatInfo, ...] = tuple(one for codec in PREDICTING for one in codec.formats)
"""Every request format, as descriptions list them."""

_PLAIN = Codec()
_JSON_LENGTH = b"inference-header-content-length"


class Endpoint(msgspec.Struct, frozen=True):
    """What a path below an API's base is: either codecs that predict, or a page. Names are what the path says."""

    codecs: tuple[Codec, ...] = ()
    page: Page | None = None
    model: str = ""
    version: str = ""
    verb: str = ""

    @property
    def is_open(self) -> bool:
        return self.page is not None and self.page.is_open

    def check_names(self, api_id: str, name: str, version: str) -> None:
        """Raises `Problem("unknown_path")` where the path names another model, or a version that isn't served.

        It tells the right names, but not on an open page, which is answered without a key.
        """
        is_other_model = bool(self.model) and self.model not in {api_id, name}
        is_other_version = bool(self.version and version) and self.version != version
        if self.is_open and (is_other_model or is_other_version):
            raise Problem("unknown_path", "No model or version of this name is served here.")
        if is_other_model:
            known = f"{api_id} or {name}" if name else api_id
            raise Problem(
                "unknown_path", f"No model is called {_shortened(self.model)} here; this API's model is {known}."
            )
        if is_other_version:
            raise Problem("unknown_path", f"Version {_shortened(self.version)} is not served; version {version} is.")


@lru_cache(maxsize=256)  # times 4 KB, the longest that paths may be
def find(path: str) -> Endpoint | None:
    """What there is at this path, relative to the API's base, or None."""
    matches = [(codec, match) for codec in CODECS if (match := codec.predicting.fullmatch(path))]
    if matches:
        return _endpoint(matches[0][1], tuple(codec for codec, _ in matches), None)
    for codec in CODECS:
        for page in codec.pages:
            if match := page.path.fullmatch(path):
                return _endpoint(match, (), page)
    return None


def _endpoint(match: re.Match[str], codecs: tuple[Codec, ...], page: Page | None) -> Endpoint:
    names = match.groupdict("")
    return Endpoint(codecs, page, names.get("model", ""), names.get("version", ""), names.get("verb", ""))


def predicts(path: str) -> bool:
    """Whether a POST to this path, relative to the API's base, is a prediction request."""
    endpoint = find(path)
    return endpoint is not None and endpoint.page is None


def refusal(path: str, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
    """Body and content type of a refusal, in the shape that clients of this path expect."""
    codec = next((codec for codec in CODECS if codec.owns(path)), _PLAIN)
    return codec.problem(problem, request_id, types_url)


def choose(path: str, headers: Mapping[bytes, bytes], csv_default: str = "") -> RequestFormat:
    """The format a request is written in. `csv_default`: see `RequestMeta`.

    Raises `Problem("unknown_path" | "unsupported_media_type" | "malformed_body")`.
    """
    if b"content-encoding" in headers:
        check_encoding(headers[b"content-encoding"])
    get = headers.get
    return _chosen(path, get(b"content-type", b""), get(b"accept", b""), get(_JSON_LENGTH, b""), csv_default)


@lru_cache(maxsize=128)  # times 32 KB, the longest that headers may be
def _chosen(path: str, media: bytes, accept: bytes, json_length: bytes, csv_default: str) -> RequestFormat:
    endpoint = find(path)
    if endpoint is None or not endpoint.codecs:
        raise Problem("unknown_path")
    sent = content_type(media.decode("latin-1"))
    is_readable = bool(sent.name) or not media.strip()  # else there are parameters without a type
    for codec in endpoint.codecs:
        if is_readable and sent.name in codec.media_types:
            meta = RequestMeta(
                sent,
                accept.decode("latin-1"),
                json_length.decode("latin-1"),
                endpoint.model,
                endpoint.version,
                endpoint.verb,
                csv_default,
            )
            return codec.request_format(meta)
    readable = [name for codec in endpoint.codecs for name in codec.media_types if name]
    said = f"is {_shortened(media.decode('latin-1').strip())}" if media.strip() else "is missing"
    raise Problem(
        "unsupported_media_type",
        f"The Content-Type {said}; this path reads {' and '.join(readable)}.",
        headers=((b"accept-post", ", ".join(readable).encode()),),
    )


def _shortened(text: str) -> str:
    return text[:80]
