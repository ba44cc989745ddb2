"""The request formats of one API: bytes -> columns, columns -> bytes. One codec a file, one line in `_PREDICTING`.

The server goes through these steps, in this order:

    endpoint = find(path)                            # path below the API's base, without a slash: "predict"; or None
    endpoint.check_names(...)                        # a model name in the path: Problem("unknown_path")
    dialect = choose(path, headers)                  # before the body is read; Problem("unsupported_media_type")
    body = inflated(body, encoding, limit)            # only with Content-Encoding: Problem("malformed_body" | ...)
    decoded = dialect.decode(body, predictor)        # Problem("malformed_body" | "invalid_rows" | "payload_too_large")
    decoded.table.n_rows                             # for a trial's limit; `too_many_rows(n, limit)` is its Problem
    prediction = predictor.predict(decoded.table)    # inference.predictor.ModelFailed; blocking; thread-safe
    reply = dialect.encode(prediction, decoded, predictor, "2")     # Reply(body, content_type, headers)

- `headers`: a mapping of lower-case names to values, both bytes, as `dict(scope["headers"])` makes it.
- `body`: bytes, the whole of it. `predictor`: a `inference.predictor.Predictor`; on loading one, call
  `predictor.warm_up()` once before it is announced as loaded.
- `Reply.content_type` and the names and values of `Reply.headers` are bytes, ready for ASGI.
- `endpoint.page` is set where the path is no prediction: `page.make(About(...))` is its whole answer to GET.
- `refusal(path, problem, ...)` is the body and content type of a refusal, in the shape of the path's dialect.
- A dialect object holds no body and no rows, so one may be shared by any number of requests at once.
- What is chosen depends only on `path` and the headers, so a batch process can choose again from the same two.

For the console: `sample_body(spec)` and `sample_csv(spec)` are bodies with the sample row; `describe_columns(spec)`
is what the specifications page and a description of the API say about each column; `FORMATS` is what they list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from contract.problems import Problem
from inference.formats.base import ApiInfo, Codec, Decoded, Format, Page, Reply, RequestFormat, RequestMeta
from inference.formats.compression import check_encoding, inflated
from inference.formats.description.columns import ColumnNote, describe_columns
from inference.formats.description.pages import Description
from inference.formats.kserve_v1 import KServeV1
from inference.formats.media import content_type
from inference.formats.mlflow import MlflowCsv, MlflowJson
from inference.formats.native_csv import NativeCsv, sample_csv
from inference.formats.native_json import NativeJson, sample_body
from inference.formats.open_inference import OpenInference
from inference.table import Prediction

if TYPE_CHECKING:
    from inference.predictor import Predictor

__all__ = [
    "FORMATS",
    "ApiInfo",
    "ColumnNote",
    "Decoded",
    "Endpoint",
    "Format",
    "Page",
    "Reply",
    "RequestFormat",
    "choose",
    "describe_columns",
    "find",
    "inflated",
    "predicts",
    "refusal",
    "sample_body",
    "sample_csv",
    "too_many_rows",
    "warm_up",
]

_PREDICTING: tuple[Codec, ...] = (
    NativeJson(),  # and the manual format, which only the body tells from it
    NativeCsv(),
    OpenInference(),
    KServeV1(),
    MlflowJson(),
    MlflowCsv(),
)
_CODECS: tuple[Codec, ...] = (*_PREDICTING, Description(_PREDICTING))
FORMATS: tuple[Format, ...] = tuple(one for codec in _PREDICTING for one in codec.formats)
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
            raise Problem("unknown_path", f"No model is called {_cut(self.model)} here; this API's is {known}.")
        if is_other_version:
            raise Problem("unknown_path", f"Version {_cut(self.version)} is not served; version {version} is.")


@lru_cache(maxsize=256)  # times 4 KB, the longest that paths may be
def find(path: str) -> Endpoint | None:
    """What there is at this path, relative to the API's base, or None."""
    matches = [(codec, match) for codec in _CODECS if (match := codec.predicting.fullmatch(path))]
    if matches:
        return _endpoint(matches[0][1], tuple(codec for codec, _ in matches), None)
    for codec in _CODECS:
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
    codec = next((codec for codec in _CODECS if codec.owns(path)), _PLAIN)
    return codec.problem(problem, request_id, types_url)


def choose(path: str, headers: Mapping[bytes, bytes]) -> RequestFormat:
    """The dialect a request is written in.

    Raises `Problem("unknown_path" | "unsupported_media_type" | "malformed_body")`.
    """
    if b"content-encoding" in headers:
        check_encoding(headers[b"content-encoding"])
    get = headers.get
    return _chosen(path, get(b"content-type", b""), get(b"accept", b""), get(_JSON_LENGTH, b""))


@lru_cache(maxsize=128)  # times 32 KB, the longest that headers may be
def _chosen(path: str, media: bytes, accept: bytes, json_length: bytes) -> RequestFormat:
    endpoint = find(path)
    if endpoint is None or not endpoint.codecs:
        raise Problem("unknown_path")
    sent = content_type(media.decode("latin-1"))
    is_readable = bool(sent.name) or not media.strip()  # else there are parameters without a type
    for codec in endpoint.codecs:
        if is_readable and sent.name in codec.media_types:
            asked = RequestMeta(
                sent,
                accept.decode("latin-1"),
                json_length.decode("latin-1"),
                endpoint.model,
                endpoint.version,
                endpoint.verb,
            )
            return codec.dialect(asked)
    readable = [name for codec in endpoint.codecs for name in codec.media_types if name]
    said = f"is {_cut(media.decode('latin-1').strip())}" if media.strip() else "is missing"
    raise Problem(
        "unsupported_media_type",
        f"The Content-Type {said}; this path reads {' and '.join(readable)}.",
        headers=((b"accept-post", ", ".join(readable).encode()),),
    )


def warm_up(predictor: Predictor, prediction: Prediction) -> None:
    """Let every codec prepare what it needs for this model, and use it once."""
    for codec in _CODECS:
        codec.warm_up(predictor, prediction)


def too_many_rows(n_rows: int, limit: int) -> Problem:
    """What a trial answers to more rows than it takes."""
    return Problem("invalid_rows", f"The request has {n_rows} rows; a trial takes at most {limit} a request.")


def _cut(text: str) -> str:
    return text[:80]
