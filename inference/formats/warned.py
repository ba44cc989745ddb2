"""Warnings on their way to the caller: a header in every format, a list in JSON of the API's own."""

from __future__ import annotations

from typing import Final

import msgspec

from inference.formats.base import Decoded, Reply, RequestFormat
from inference.formats.description.schemas import WARNINGS_HEADER
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
    *,
    hides_schema: bool,
) -> Reply:
    """The whole answer, with what its caller should hear beside it. May ask the model again: raises `ModelFailed`."""
    warnings = decoded.table.warnings
    if warnings is None:
        return request_format.encode(prediction, decoded, predictor, model_version)
    decoded.hides_schema = hides_schema
    reply = request_format.encode(prediction, decoded, predictor, model_version)
    reply.headers = (*reply.headers, (_HEADER, b"%d" % warnings.total))
    reply.warned = tuple((column, code, count) for (column, code), count in warnings.counts.items())
    return reply


def with_warnings(document: bytes, decoded: Decoded) -> bytes:
    """A JSON object with the list of warnings as its last member, if there are any."""
    warnings = decoded.table.warnings
    if warnings is None:
        return document
    listed: list[RowWarning] | list[_Hidden] = warnings.listed
    if decoded.hides_schema:
        listed = [_Hidden(warning.row, warning.code) for warning in warnings.listed]
    return b'%b,"warnings":%b}' % (document.removesuffix(b"}"), msgspec.json.encode(listed))
