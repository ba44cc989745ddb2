"""A request of the Open Inference Protocol: its JSON, the raw tensors behind it, and the outputs it asks for."""

from __future__ import annotations

from typing import Any

import msgspec

from contract.problems import Problem
from inference.formats.json_parser import checked_utf8, without_nan
from inference.formats.open_inference.elements import Tensor

_Parameters = dict[str, Any]


class Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: _Parameters | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


class InferenceRequest(msgspec.Struct):
    inputs: list[Input]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[_Output] | None = None


_REQUEST = msgspec.json.Decoder(InferenceRequest)


class Wanted(msgspec.Struct):
    """What the answer must have: the request's id, and each output's name and whether it goes out as binary."""

    id: str | None
    outputs: list[tuple[str, bool]]


def parts(body: bytes, json_length: int | None) -> tuple[InferenceRequest, memoryview | None]:
    """The request, and the binary data behind it (None: it is all JSON).

    Clients that reuse a dict of headers send an earlier request's length along with a body that is all JSON.
    """
    if json_length is None:
        return _request(body), None
    try:
        return _request(_head(body, json_length)), memoryview(body)[json_length:]
    except Problem:
        whole = _request_or_none(body)
        if whole is None:
            raise
    return whole, None


def _head(body: bytes, length: int) -> bytes:
    if length > len(body):
        words = f"Inference-Header-Content-Length is {length}, the body has {len(body)} bytes."
        raise Problem("malformed_body", words)
    return body[:length]


def _request_or_none(document: bytes) -> InferenceRequest | None:
    try:
        return _request(document)
    except Problem:
        return None


def _request(document: bytes) -> InferenceRequest:
    if not document.strip():
        raise Problem("malformed_body", "The body is empty.")
    try:
        return _decoded(checked_utf8(document))
    except (msgspec.DecodeError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        raise Problem("malformed_body", f"The body is not an inference request: {words}.") from None


def _decoded(document: bytes) -> InferenceRequest:
    try:
        return _REQUEST.decode(document)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        strict = without_nan(document)
        if strict is None:
            raise
    return _REQUEST.decode(strict)


def wanted_outputs(request: InferenceRequest, names: tuple[str, ...]) -> Wanted:
    """The outputs asked for, or all of them."""
    all_binary = (request.parameters or {}).get("binary_data_output") is True
    if not request.outputs:
        return Wanted(request.id, [(name, all_binary) for name in names])
    wanted = []
    for output in request.outputs:
        if output.name not in names:
            raise Problem(
                "malformed_body", f"No output is called “{output.name[:80]}”; the model's outputs: {', '.join(names)}."
            )
        parameters = output.parameters or {}
        if parameters.get("classification"):
            raise Problem("malformed_body", "The classification extension is not supported; ask for probabilities.")
        wanted.append((output.name, parameters.get("binary_data", all_binary) is True))
    return Wanted(request.id, wanted)


def tensors(inputs: list[Input], binary: memoryview | None) -> list[Tensor]:
    """Name, datatype, shape and data of each input; binary data lies behind the JSON, in the inputs' order."""
    found: list[Tensor] = []
    rest = memoryview(b"") if binary is None else binary
    for one in inputs:
        size = (one.parameters or {}).get("binary_data_size")
        if size is None:
            if one.data is msgspec.UNSET:
                raise Problem("malformed_body", f"The input {one.name[:80]} has no data.")
            found.append((one.name, one.datatype, one.shape, one.data))
            continue
        if one.data is not msgspec.UNSET:
            raise Problem("malformed_body", f"The input {one.name[:80]} has both data and binary_data_size.")
        if binary is None:
            raise Problem("malformed_body", "binary_data_size needs the header Inference-Header-Content-Length.")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise Problem(
                "malformed_body", f"The input {one.name[:80]}: binary_data_size goes beyond the end of the body."
            )
        found.append((one.name, one.datatype, one.shape, rest[:size]))
        rest = rest[size:]
    if len(rest):
        raise Problem("malformed_body", f"{len(rest)} bytes are left over after the last tensor.")
    return found
