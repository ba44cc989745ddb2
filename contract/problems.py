"""Every refusal the gateway can answer with, as data: the gateway, the specifications page and the tests read it.

The body is problem+json (RFC 9457) with `code` and `request_id`; on `{base}/predict` it also carries the manual
format's own members (`error`, `message`, `error_code`), because a refusal mostly comes before the body that would
tell the format is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class ManualError:
    """The manual format's words for a refusal: its number, its name, its message."""

    error_code: str
    error: str
    message: str


INVALID_REQUEST = ManualError("4001030104", "BAD_REQUEST", "Invalid request")
ACCESS_KEY = ManualError("4031030201", "ACCESS_DENIED", "Invalid API key")
ACCESS_ADDRESS = ManualError("4031030201", "ACCESS_DENIED", "Not allowed source ip")
NO_CLASSIFIER = ManualError("4001030101", "NOT_FOUND_CLASSIFIER", "Not found classifier in classifiers table")
NOT_RUNNING = ManualError("5031030101", "SERVICE_UNAVAILABLE_ERROR", "status is not running")


@dataclass(frozen=True)
class ProblemType:
    """One row of the table. `when` is the sentence the specifications page prints."""

    code: str
    status: int
    title: str
    when: str
    manual: ManualError | None = None
    retry_after_s: int | None = None


_TYPES = (
    ProblemType(
        "unknown_api", 404, "Unknown API", "No API has this ID, or it was deleted. Nothing is counted.", NO_CLASSIFIER
    ),
    ProblemType("unknown_path", 404, "Unknown path", "The API exists, but nothing is served at this path."),
    ProblemType(
        "ip_not_allowed",
        403,
        "Address not allowed",
        "The caller's address is not on the IP whitelist. The detail names the address the gateway saw.",
        ACCESS_ADDRESS,
    ),
    ProblemType("invalid_key", 401, "Invalid API key", "The key is missing or wrong.", ACCESS_KEY),
    ProblemType("api_building", 503, "API is building", "The API is being built and will answer soon.", NOT_RUNNING, 2),
    ProblemType("api_stopped", 503, "API is stopped", "The API was stopped by its operator.", NOT_RUNNING),
    ProblemType("api_failed", 503, "API failed to build", "The last build of the API failed.", NOT_RUNNING),
    ProblemType("api_deleting", 503, "API is being deleted", "The API is being deleted.", NOT_RUNNING),
    ProblemType(
        "catching_up",
        503,
        "Catching up",
        "This gateway worker has not caught up with the console. It serves nothing until it has.",
        NOT_RUNNING,
        1,
    ),
    ProblemType(
        "not_ready",
        503,
        "Not ready",
        "This gateway worker can't count requests now, so it answers none.",
        NOT_RUNNING,
        1,
    ),
    ProblemType(
        "quota_unavailable",
        503,
        "Quota unavailable",
        "The database is unavailable, so the quota of a trial can't be checked.",
        NOT_RUNNING,
        2,
    ),
    ProblemType(
        "quota_exhausted",
        429,
        "Quota exhausted",
        "The trial has used up its requests. With Retry-After: requests in progress have reserved the rest.",
    ),
    ProblemType(
        "method_not_allowed",
        405,
        "Method not allowed",
        "The path exists but takes another method; Allow names it.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "payload_too_large", 413, "Payload too large", "The body is larger than this gateway accepts.", INVALID_REQUEST
    ),
    ProblemType(
        "unsupported_media_type",
        415,
        "Unsupported media type",
        "This path does not read this content type or encoding.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "too_many_requests", 429, "Too many requests", "Too many requests to this API are in progress.", None, 1
    ),
    ProblemType(
        "malformed_body",
        400,
        "Malformed body",
        "The body is not valid JSON, CSV or base64.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "invalid_rows",
        422,
        "Invalid rows",
        "Rows don't fit the model's columns. `errors` lists up to 100: row, column, expected, received, nearest name.",
        INVALID_REQUEST,
    ),
    ProblemType("model_failed", 500, "Model failed", "The model could not compute this prediction."),
    ProblemType("model_timeout", 504, "Model timed out", "The model took longer than allowed."),
    ProblemType(
        "malformed_request",
        400,
        "Malformed request",
        "The request is not valid HTTP/1.1. It belongs to no API and is not counted; nor are the next three.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "request_timeout",
        408,
        "Request timed out",
        "The headers or the body arrived too slowly.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "headers_too_large",
        431,
        "Headers too large",
        "The request line and headers are larger than this gateway accepts.",
        INVALID_REQUEST,
    ),
    ProblemType(
        "too_many_connections",
        503,
        "Too many connections",
        "This gateway worker has reached its limit of connections, and all of them are in use.",
        None,
        1,
    ),
    ProblemType(
        "internal_error",
        500,
        "Internal error",
        "Something unexpected went wrong in the gateway. The request ID finds it in the log.",
    ),
)

PROBLEM_TYPES: dict[str, ProblemType] = {kind.code: kind for kind in _TYPES}


class RowError(msgspec.Struct, frozen=True, omit_defaults=True):
    """One fault in one row. `row` counts from 1; `column` is the name as sent, or the model's when it is missing."""

    row: int
    column: str
    expected: str
    received: str
    nearest: str | None = None


class Problem(Exception):
    """A refusal on its way to the client. Raises KeyError for a code that is not in the table."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        errors: tuple[RowError, ...] = (),
        headers: tuple[tuple[bytes, bytes], ...] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(code, detail)
        self.kind = PROBLEM_TYPES[code]
        self.detail = detail or self.kind.when
        self.errors = errors
        self.headers = headers
        self.retry_after_s = self.kind.retry_after_s if retry_after_s is None else retry_after_s


def without_schema(problem: Problem) -> Problem:
    """The same refusal without a word on the model's columns: the code, and where rows are at fault their count."""
    if problem.kind.code not in _TELLING:
        return problem
    detail = problem.detail if problem.errors else _TELLING[problem.kind.code]
    return Problem(problem.kind.code, detail, headers=problem.headers)


_TELLING = {
    "malformed_body": PROBLEM_TYPES["malformed_body"].when,
    "invalid_rows": "The rows don't fit what this API takes.",
    "model_failed": PROBLEM_TYPES["model_failed"].when,
}


class _Document(msgspec.Struct, omit_defaults=True):
    """The members of one answer, in the order they are sent."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[RowError, ...] = ()
    error_code: str = ""
    error: str = ""
    message: str = ""


def problem_body(problem: Problem, request_id: str, *, types_url: str, with_manual_members: bool) -> bytes:
    """The problem+json of one refusal. `types_url` is the page on which each code has an anchor."""
    kind = problem.kind
    document = _Document(
        type=f"{types_url}#{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=problem.detail,
        code=kind.code,
        request_id=request_id,
        errors=problem.errors,
    )
    if with_manual_members:
        manual = manual_error(kind)
        document.error_code, document.error, document.message = manual.error_code, manual.error, manual.message
    return msgspec.json.encode(document)


def manual_error(kind: ProblemType) -> ManualError:
    """The manual format's words for a refusal. Where it has none: the status, 103 (its service) and 9900; our code.

    "status is not running" names the status, as the format's own messages do.
    """
    if kind.manual is NOT_RUNNING:
        status = kind.code.removeprefix("api_")
        return ManualError(NOT_RUNNING.error_code, NOT_RUNNING.error, f"{NOT_RUNNING.message} (status: {status})")
    if kind.manual is not None:
        return kind.manual
    return ManualError(f"{kind.status}1039900", kind.code.upper(), kind.title)
