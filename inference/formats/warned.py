"""Warnings on their way to the caller: a header in every format, a list in JSON of the API's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from inference.formats.base import Decoded, Headers, Reply, RequestFormat
from inference.formats.description.schemas import WARNINGS_HEADER
from inference.formats.replies import JSON_TYPE
from inference.predictor import Predictor
from inference.row_warnings import RowWarning
from inference.table import Prediction

_HEADER: Final = WARNINGS_HEADER.lower().encode()


class _Hidden(msgspec.Struct, frozen=True):
    """A warning of an API that tells nothing of its columns."""

    row: int
    code: str


def answered(
    request_format: RequestFormat,
    prediction: Prediction,
    decoded: Decoded,
    predictor: Predictor,
    model_version: str,
) -> Reply:
    """The answer, with what its caller should hear beside it. May ask the model again: raises `ModelFailed`."""
    warnings = decoded.table.warnings
    reply = request_format.encode(prediction, decoded, predictor, model_version)
    if warnings is None:
        return reply
    reply.headers = (*reply.headers, (_HEADER, b"%d" % warnings.total))
    reply.warned = tuple((column, code, count) for (column, code), count in warnings.counts.items())
    return reply


def json_reply(document: bytes, decoded: Decoded, headers: Headers = ()) -> Reply:
    """A JSON object whose last member is the list of warnings, if there are any."""
    warnings = decoded.table.warnings
    if warnings is None:
        return Reply(document, JSON_TYPE, headers)
    hidden = [_Hidden(warning.row, warning.code) for warning in warnings.listed]
    endings = _ending(warnings.listed), _ending(hidden)
    return Reply(document.removesuffix(b"}"), JSON_TYPE, headers, endings=endings)


def _ending(listed: Sequence[RowWarning | _Hidden]) -> bytes:
    return b',"warnings":%b}' % msgspec.json.encode(listed)
