"""What a gateway worker asks of a prediction child.

Large bodies and answers don't travel: the worker sends the descriptors of two spool files with its request.
"""

from __future__ import annotations

import msgspec

from inference.row_cost import RowCost
from inference.sandbox.protocol import Failed, Headers, Refused, Request, Response, check_headers


class ModelRef(msgspec.Struct, frozen=True, array_like=True):
    """Which artefact to load, and how it is described."""

    version_id: int
    path: str
    format: str
    spec_json: bytes


class Loaded(Response, frozen=True):
    """The model is loaded and has predicted its sample row. `cost`: what a row takes in the child."""

    cost: RowCost


class Load(Request[Loaded], frozen=True):
    """Load a model and predict its sample row."""

    model: ModelRef


class Replied(Response, frozen=True):
    """An HTTP response with status 200. Without a body: `size` bytes are in the second file.

    `warned`: column, code and number of its warnings. `endings`: the body goes on with the first where an API shows its
    schema, else with the second.
    """

    content_type: bytes
    headers: Headers
    body: bytes | None
    size: int
    warned: tuple[tuple[str, str, int], ...] = ()
    endings: tuple[bytes, bytes] | None = None

    def __post_init__(self) -> None:
        check_headers((*self.headers, (b"content-type", self.content_type)))


class Predict(Request[Replied], frozen=True):
    """Answer one HTTP request. Without a body: it is in the first file sent along, the answer goes into the second.

    `needs_approval`: say how many rows there are, and wait until they are allowed before the model computes.
    """

    model: ModelRef
    path: str
    headers: dict[bytes, bytes]
    number: str
    body: bytes | None
    needs_approval: bool
    max_body_bytes: int
    csv_default: str = ""


class RepliedEach(Response, frozen=True):
    """What each of the first requests is answered; none: the first needs a call of its own."""

    answers: tuple[Replied | Refused | Failed, ...]


class PredictEach(Request[RepliedEach], frozen=True):
    """Answer HTTP requests by one call of the model, as far as together they have no more than `most_rows`.

    One that has more by itself, or wants reasons, needs a call of its own, which may take longer.
    All have a body in memory, and none needs approval.
    """

    requests: tuple[Predict, ...]
    most_rows: int
