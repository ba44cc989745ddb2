"""The request formats of one API: bytes -> columns, columns -> bytes. One codec a file, one line in `_CODECS`.

The server goes through these steps, in this order:

    if not predicts(path): ...                       # path below the API's base, without a slash: "predict"
    dialect = choose(path, headers)                  # before the body is read; Problem("unsupported_media_type")
    decoded = dialect.decode(body, predictor)        # Problem("malformed_body" | "invalid_rows" | "payload_too_large")
    decoded.table.n_rows                             # for a trial's limit; `too_many_rows(n, limit)` is its Problem
    prediction = predictor.predict(decoded.table)    # gateway.predictor.ModelFailed; blocking; thread-safe
    reply = dialect.encode(prediction, decoded, predictor, "2")     # Reply(body, content_type, headers)

- `headers`: a mapping of lower-case names to values, both bytes, as `dict(scope["headers"])` makes it.
- `body`: bytes, the whole of it. `predictor`: a `gateway.predictor.Predictor`; on loading one, call
  `predictor.warm_up()` once before it is announced as loaded.
- `Reply.content_type` and the names and values of `Reply.headers` are bytes, ready for ASGI.
- A dialect object holds no body and no rows, so one may be shared by any number of requests at once.
- What is chosen depends only on `path` and the headers, so a batch process can choose again from the same two.

For the console: `sample_body(spec)` and `sample_csv(spec)` are bodies with the sample row; `describe_columns(spec)`
is what the specifications page and a description of the API say about each column.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.dialects.base import Codec, Decoded, Dialect, Reply
from gateway.dialects.description import ColumnNote, describe_columns
from gateway.dialects.media import content_type
from gateway.dialects.native_csv import NativeCsv, sample_csv
from gateway.dialects.native_json import NativeJson, sample_body
from gateway.problems import Problem
from gateway.table import Prediction

if TYPE_CHECKING:
    from gateway.predictor import Predictor

__all__ = [
    "ColumnNote",
    "Decoded",
    "Dialect",
    "Reply",
    "choose",
    "describe_columns",
    "predicts",
    "rehearse",
    "sample_body",
    "sample_csv",
    "too_many_rows",
]

_CODECS: tuple[Codec, ...] = (
    NativeJson(),
    NativeCsv(),
)
_REMEMBERED_BYTES = 200  # headers longer than any honest client's are worked out each time instead of kept


def predicts(path: str) -> bool:
    """Whether a POST to this path, relative to the API's base, is a prediction request."""
    return any(codec.predicts(path) for codec in _CODECS)


def choose(path: str, headers: Mapping[bytes, bytes]) -> Dialect:
    """The dialect a request is written in. Raises `Problem("unknown_path" | "unsupported_media_type")`."""
    media, accept = headers.get(b"content-type", b""), headers.get(b"accept", b"")
    encoding = headers.get(b"content-encoding", b"")
    if len(media) + len(accept) + len(encoding) > _REMEMBERED_BYTES:
        return _chosen.__wrapped__(path, media, accept, encoding)
    return _chosen(path, media, accept, encoding)


@lru_cache(maxsize=512)
def _chosen(path: str, media: bytes, accept: bytes, encoding: bytes) -> Dialect:
    codecs = [codec for codec in _CODECS if codec.predicts(path)]
    if not codecs:
        raise Problem("unknown_path")
    if encoding.strip().lower() not in {b"", b"identity"}:
        raise Problem(
            "unsupported_media_type",
            f"The body is encoded as {_shown(encoding)}; send it as it is, without Content-Encoding.",
            headers=((b"accept-encoding", b"identity"),),
        )
    sent = content_type(media.decode("latin-1"))
    for codec in codecs:
        if codec.media_type == sent.name:
            return codec.dialect(sent, accept.decode("latin-1"))
    readable = [codec.media_type for codec in codecs]
    said = f"is {_shown(media)}" if media.strip() else "is missing"
    raise Problem(
        "unsupported_media_type",
        f"The Content-Type {said}; this path reads {' and '.join(readable)}.",
        headers=((b"accept-post", ", ".join(readable).encode()),),
    )


def rehearse(predictor: Predictor, prediction: Prediction) -> None:
    """Let every codec prepare what it needs for this model, and use it once."""
    for codec in _CODECS:
        codec.rehearse(predictor, prediction)


def too_many_rows(n_rows: int, limit: int) -> Problem:
    """What a trial answers to more rows than it takes."""
    return Problem("invalid_rows", f"The request has {n_rows} rows; a trial takes at most {limit} a request.")


def _shown(header: bytes) -> str:
    return header.decode("latin-1").strip()[:80]
