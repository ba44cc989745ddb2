"""What every request format is, in types.

Three words: a `Codec` is one entry of the registry, with its paths, pages and refusals. A `RequestFormat` is how a
codec reads one request and writes its answer, once the headers are known. A `FormatInfo` is what lists of formats show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem, problem_body
from inference.formats.description.info import ApiInfo, FormatInfo
from inference.formats.description.schemas import Schema
from inference.formats.media import MediaType
from inference.predictor import Predictor
from inference.table import Prediction, Table

Headers = tuple[tuple[bytes, bytes], ...]

PROBLEM_TYPE = b"application/problem+json"


Warned = tuple[tuple[str, str, int], ...]
"""Column, code and number of the warnings of one answer."""


Endings = tuple[bytes, bytes]
"""How a body ends: where an API shows its schema, and where it hides it."""


class Reply(msgspec.Struct, gc=False):
    """An answer, ready for ASGI. A prediction's status is always 200; a page may answer with another.

    `endings`: the body is complete with one of them. Which one is decided when it goes out, not when it was computed.
    """

    body: bytes
    content_type: bytes
    headers: Headers = ()
    status: int = 200
    warned: Warned = ()
    endings: Endings | None = None

    def ending(self, *, hides_schema: bool) -> bytes:
        """What the body goes on with; b"" where it is complete."""
        return self.endings[hides_schema] if self.endings is not None else b""


class Decoded(msgspec.Struct, gc=False):
    """A request's rows. `note` is what a format remembers of the request until it encodes the answer.

    `row_predictions`: how often the model is asked for each row; more than once when the answer explains itself.
    """

    table: Table
    note: Any = ""
    row_predictions: int = 1


class RequestMeta(msgspec.Struct, frozen=True, gc=False):
    """What path and headers say before the body is read. `model`, `version` and `verb` come from the path.

    `csv_default`: what the API takes a CSV for that is no UTF-8 and names no charset; "" to recognise it.
    """

    media: MediaType
    accept: str = ""
    json_length: str = ""
    model: str = ""
    version: str = ""
    verb: str = ""
    csv_default: str = ""


class RequestFormat(Protocol):
    """How one request is read and answered. Holds nothing of the body, so any number of requests may share one."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        """Raises `Problem("malformed_body" | "invalid_rows" | "payload_too_large")`."""

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        """The whole answer with status 200. May ask the model again: raises `ModelFailed`."""


class Page(msgspec.Struct, frozen=True):
    """Something to GET that is no prediction: neither counted nor charged.

    An open page needs an allowed address only, tells nothing but readiness, and answers whatever the API's status is.
    Any other describes the API: it needs the key too, unless the operator made the description public.
    `asks_browser`: people open it in a browser, so a missing key is asked for as a browser can ask.
    """

    path: re.Pattern[str]
    make: Callable[[ApiInfo], Reply]
    is_open: bool = False
    asks_browser: bool = False


class Codec:
    """One entry of the registry: which paths it answers, how refusals look on them, and what descriptions say of it."""

    media_types: tuple[str, ...] = ("application/json",)
    """The content types it reads, in lower case; "" where a request may leave it out."""

    predicting: re.Pattern[str] = re.compile("predict")
    """The paths, relative to the API's base, whose POST is a prediction request. Groups: model, version, verb."""

    pages: tuple[Page, ...] = ()

    formats: tuple[FormatInfo, ...] = ()

    tag: str = ""
    """What groups its paths in the OpenAPI document, described by `summary`; "" where it has none."""
    summary: str = ""

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        """Its paths as OpenAPI describes them, for a model of this name."""
        return {}

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        """The schemas that its paths refer to, by name."""
        return {}

    def owns(self, path: str) -> bool:
        """Whether refusals on this path have this codec's shape."""
        return self.predicting.fullmatch(path) is not None

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        """The body and content type of a refusal."""
        return problem_body(problem, request_id, types_url=types_url, with_manual_members=False), PROBLEM_TYPE

    def request_format(self, meta: RequestMeta) -> RequestFormat:
        """For a request of one of its media types. Raises `Problem("unsupported_media_type" | "malformed_body")`."""
        raise NotImplementedError

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        """Decode and encode the sample row once, so that everything is prepared."""
