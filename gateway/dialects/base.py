"""What every dialect is, in types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.dialects.media import MediaType
from gateway.table import Prediction, Table

if TYPE_CHECKING:
    from gateway.predictor import Predictor

Headers = tuple[tuple[bytes, bytes], ...]


class Reply(msgspec.Struct, gc=False):
    """An answer, ready for ASGI."""

    body: bytes
    content_type: bytes
    headers: Headers = ()


class Decoded(msgspec.Struct, gc=False):
    """A request's rows. `note` is what a dialect wants to remember of the request until it encodes the answer."""

    table: Table
    note: str = ""


class Dialect(Protocol):
    """How one request is read and answered. Holds nothing of the body."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        """Raises `Problem("malformed_body" | "invalid_rows" | "payload_too_large")`."""

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        """The whole answer with status 200."""


class Codec(Protocol):
    """One line of the registry."""

    @property
    def media_type(self) -> str:
        """The content type it reads, in lower case."""

    def predicts(self, path: str) -> bool:
        """Whether a POST to this path, relative to the API's base, is a prediction request of this codec."""

    def dialect(self, media: MediaType, accept: str) -> Dialect:
        """For a request of `media_type`. Raises `Problem("unsupported_media_type")` for a charset it can't read."""

    def rehearse(self, predictor: Predictor, prediction: Prediction) -> None:
        """Decode and encode the sample row once, so that everything is prepared."""
