"""What every dialect is, in types."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem, RowError, problem_body
from inference.formats.description.schemas import Schema
from inference.formats.media import MediaType
from inference.table import Prediction, Table

if TYPE_CHECKING:
    from inference.predictor import Predictor

Headers = tuple[tuple[bytes, bytes], ...]

PROBLEM_TYPE = b"application/problem+json"


class Reply(msgspec.Struct, gc=False):
    """An answer, ready for ASGI. A prediction's status is always 200; a page may say otherwise."""

    body: bytes
    content_type: bytes
    headers: Headers = ()
    status: int = 200


class Decoded(msgspec.Struct, gc=False):
    """A request's rows. `note` is what a dialect wants to remember of the request until it encodes the answer.

    `row_predictions`: how often the model is asked for each row; more than once when the answer explains itself.
    """

    table: Table
    note: Any = ""
    row_predictions: int = 1


class RequestFormat(Protocol):
    """How one request is read and answered. Holds nothing of the body."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        """Raises `Problem("malformed_body" | "invalid_rows" | "payload_too_large")`."""

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        """The whole answer with status 200. May ask the model again: raises `ModelFailed`."""


class RequestMeta(msgspec.Struct, frozen=True, gc=False):
    """What path and headers say before the body is read. `model`, `version` and `verb` come from the path."""

    media: MediaType
    accept: str = ""
    json_length: str = ""
    model: str = ""
    version: str = ""
    verb: str = ""


class ApiInfo(msgspec.Struct, frozen=True):
    """One API, for the pages that tell of it. `served` is there on pages that need the API to operate.

    `predictor` is there too, unless the model runs in a process of its own.
    """

    api_id: str
    name: str
    model_name: str
    version: str
    base_url: str
    is_ready: bool
    served: ModelSpec | None = None
    predictor: Predictor | None = None

    @property
    def spec(self) -> ModelSpec:
        """What is served. Only for pages that aren't open."""
        assert self.served is not None  # noqa: S101  (the app gives it to every page that isn't open)
        return self.served


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


class Format(msgspec.Struct, frozen=True):
    """One request format as the descriptions list it.

    `path` is below the API's base; "{model}" stands for the model's name. `body` and `answer` are its shapes in short,
    `sample` makes a request with the model's sample row.
    """

    anchor: str
    title: str
    path: str
    media_type: str
    body: str
    answer: str
    sample: Callable[[ModelSpec], bytes]


class Codec:
    """One line of the registry: which paths it answers, how refusals look on them, and what is told of it."""

    media_types: tuple[str, ...] = ("application/json",)
    """The content types it reads, in lower case; "" where a request need not say one."""

    predicting: re.Pattern[str] = re.compile("predict")
    """The paths, relative to the API's base, whose POST is a prediction request. Groups: model, version, verb."""

    pages: tuple[Page, ...] = ()

    formats: tuple[Format, ...] = ()

    tag: str = ""
    """What groups its paths in the OpenAPI document, with `about` as the words for it; "" where it has none."""
    about: str = ""

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        """Its paths as OpenAPI tells them, for a model of this name."""
        return {}

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        """The schemas that its paths refer to, by name."""
        return {}

    def owns(self, path: str) -> bool:
        """Whether refusals on this path are told in this codec's shape."""
        return self.predicting.fullmatch(path) is not None

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        """The body and content type of a refusal."""
        return problem_body(problem, request_id, types_url=types_url, with_manual_members=False), PROBLEM_TYPE

    def dialect(self, asked: RequestMeta) -> RequestFormat:
        """For a request of one of its media types. Raises `Problem("unsupported_media_type" | "malformed_body")`."""
        raise NotImplementedError

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        """Decode and encode the sample row once, so that everything is prepared."""


_TOLD_FAULTS = 5


def sentence(problem: Problem) -> str:
    """A refusal in one line, for dialects whose errors are one text: our code, what happened, the first faults."""
    return " ".join([f"{problem.kind.code}: {problem.detail}", *map(_told, problem.errors[:_TOLD_FAULTS])])


def _told(fault: RowError) -> str:
    place = f"Row {fault.row}, {fault.column}" if fault.column else f"Row {fault.row}"
    nearest = f" (nearest: {fault.nearest})" if fault.nearest else ""
    return f"{place}: expected {fault.expected}, received {fault.received}{nearest}."
