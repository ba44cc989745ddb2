"""The request formats of one API: bytes -> columns, columns -> bytes. What the gateway and the console use of them.

The gateway goes through these steps, in this order:

    endpoint = find(path)                            # path below the API's base, without a slash: "predict"; or None
    endpoint.check_names(...)                        # a model name in the path: Problem("unknown_path")
    request_format = choose(path, headers)           # before the body is read; Problem("unsupported_media_type")
    body = inflated(body, encoding, limit)           # only with Content-Encoding: Problem("malformed_body" | ...)
    decoded = request_format.decode(body, predictor)  # Problem("malformed_body" | "invalid_rows" | ...)
    decoded.table.n_rows                             # for a trial's limit; `too_many_rows(n, limit)` is its Problem
    prediction = predictor.predict(decoded.table)    # ModelFailed; blocking; thread-safe
    reply = answered(request_format, prediction, decoded, predictor, "2")
                                                     # Reply(body, content_type, headers): encoded, with its warnings
    reply.body + reply.ending(hides_schema=False)    # by the API's setting when it goes out

- `headers`: a mapping of lower-case names to values, both bytes, as `dict(scope["headers"])` makes it.
- `body`: bytes, the whole of it. `predictor`: `warm_up(predictor)` once before it is announced as loaded.
- `Reply.content_type` and the names and values of `Reply.headers` are bytes, ready for ASGI.
- `endpoint.page` is set where the path is no prediction: `page.make(ApiInfo(...))` is its whole answer to GET.
- `refusal(path, problem, ...)` is the body and content type of a refusal, in the shape that the path's clients read.
- What is chosen depends only on path, headers and the API's charset for CSVs, so a batch process can choose again.

For the console: `sample_body(spec)` and `sample_csv(spec)` are bodies with the sample row; `describe_columns(spec)`
is what the specifications page and a description of the API say about each column; `FORMATS` is what they list.
"""

from __future__ import annotations

from inference.formats.base import Decoded, Page, Reply, RequestFormat
from inference.formats.compression import inflated
from inference.formats.description.columns import ColumnNote, describe_columns
from inference.formats.description.info import ApiInfo, FormatInfo
from inference.formats.native_csv import sample_csv
from inference.formats.native_json import sample_body
from inference.formats.refusals import too_many_rows
from inference.formats.registry import FORMATS, Endpoint, choose, find, predicts, refusal
from inference.formats.warming import sample_table, table_from_rows, warm_up
from inference.formats.warned import answered

__all__ = [
    "FORMATS",
    "ApiInfo",
    "ColumnNote",
    "Decoded",
    "Endpoint",
    "FormatInfo",
    "Page",
    "Reply",
    "RequestFormat",
    "answered",
    "choose",
    "describe_columns",
    "find",
    "inflated",
    "predicts",
    "refusal",
    "sample_body",
    "sample_csv",
    "sample_table",
    "table_from_rows",
    "too_many_rows",
    "warm_up",
]
