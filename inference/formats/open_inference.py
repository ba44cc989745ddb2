"""Open Inference Protocol v2 (REST), with its binary extension: tensors in, tensors out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from contract.model_spec import ModelSpec, is_plain_integer
from contract.problems import Problem
from inference.formats.base import ApiInfo, Codec, Decoded, Format, Page, Reply, RequestMeta, sentence
from inference.formats.description.schemas import (
    ANY,
    COUNT,
    TEXT,
    Schema,
    answer,
    list_of,
    object_of,
    open_page,
    operation,
    page,
    ref,
    request_body,
)
from inference.formats.description.snippets import ordered_sample
from inference.formats.json_parser import checked_utf8, without_nan
from inference.formats.media import MediaType
from inference.formats.replies import JSON_TYPE
from inference.formats.tensor_parser import DATATYPES, TensorParser, binary_elements, column_datatype, json_elements
from inference.table import Array, Classification, Layout, Prediction

if TYPE_CHECKING:
    from inference.predictor import Predictor

_BINARY_TYPE = b"application/octet-stream"
_EXTENSION = "binary_tensor_data"
_SERVER = "prediction-api-gateway"
_PLATFORM = "onnxruntime_onnx"
_NO_CHARSET = {None, "utf-8", "utf8", "us-ascii"}

_Parameters = dict[str, Any]


class _Error(msgspec.Struct):
    error: str


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: _Parameters | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[_Output] | None = None


_REQUEST = msgspec.json.Decoder(_Request)


class _Wanted(msgspec.Struct):
    """What the answer must have: the request's id, and each output's name and whether it goes out as binary."""

    id: str | None
    outputs: list[tuple[str, bool]]


class OpenInferenceOutputs:
    """Compiled once per loaded model: the names and types of what comes out, which don't depend on the layout."""

    def __init__(self, spec: ModelSpec, layout: Layout | None = None) -> None:
        self.n_classes = len(spec.classes)
        self.has_integer_labels = bool(spec.classes) and all(is_plain_integer(name) for name in spec.classes)
        self._labels = [int(name) for name in spec.classes] if self.has_integer_labels else list(spec.classes)
        self.value_datatype = "FP32"  # until `warm_up` has seen what the model really gives
        self.names = ("label", "probabilities") if spec.classes else ("value",)

    def note(self, prediction: Prediction) -> None:
        """See what the model gives of its sample row."""
        if not isinstance(prediction, Classification):
            self.value_datatype = "FP64" if prediction.values.dtype.itemsize == 8 else "FP32"

    def datatype(self, name: str) -> str:
        if name == "label":
            return "INT64" if self.has_integer_labels else "BYTES"
        return "FP32" if name == "probabilities" else self.value_datatype

    def shape(self, name: str, n_rows: int) -> list[int]:
        return [n_rows, self.n_classes] if name == "probabilities" else [n_rows]

    def elements(self, name: str, prediction: Prediction) -> list[Any] | Array:
        """The output's elements, in row-major order."""
        if not isinstance(prediction, Classification):
            return prediction.values.astype(DATATYPES[self.value_datatype])
        if name == "label":
            return [self._labels[index] for index in prediction.class_indexes]
        return prediction.probabilities.astype(DATATYPES["FP32"]).reshape(-1)


class OpenInferenceDialect(msgspec.Struct, frozen=True, gc=False):
    """One request's model name, and where its JSON ends."""

    model: str
    json_length: int | None
    name: str = "open-inference"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        request, binary = _parts(body, self.json_length)
        wanted = _wanted(request, predictor.prepared(OpenInferenceOutputs).names)
        return Decoded(predictor.prepared(TensorParser).table(_tensors(request.inputs, binary)), wanted)

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        wanted: _Wanted = decoded.note
        outputs = predictor.prepared(OpenInferenceOutputs)
        heads, tail = [], []
        for name, is_binary in wanted.outputs:
            elements = outputs.elements(name, prediction)
            shape = outputs.shape(name, decoded.table.n_rows)
            head = f'{{"name":"{name}","datatype":"{outputs.datatype(name)}","shape":{shape}'
            if is_binary:
                tail.append(binary_elements(elements, outputs.datatype(name)))
                heads.append(f'{head},"parameters":{{"binary_data_size":{len(tail[-1])}}}}}')
            else:
                heads.append(f'{head},"data":{json_elements(elements)}}}')
        named = f'"model_name":{_text(self.model)},"model_version":{_text(model_version)}'
        identity = "" if wanted.id is None else f',"id":{_text(wanted.id)}'
        document = f'{{{named}{identity},"outputs":[{",".join(heads)}]}}'.encode()
        if not tail:
            return Reply(document, JSON_TYPE)
        headers = ((b"inference-header-content-length", b"%d" % len(document)),)
        return Reply(b"".join([document, *tail]), _BINARY_TYPE, headers)


class OpenInference(Codec):
    """The codec, with the protocol's health and metadata."""

    media_types = ("application/json", "application/octet-stream", "")
    predicting = re.compile(r"v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")

    tag = "open inference"
    about = "Open Inference Protocol v2, with its binary extension."

    def __init__(self) -> None:
        self.formats = (
            Format(
                "open-inference-v2",
                "Open Inference Protocol v2",
                "v2/models/{model}/infer",
                "application/json",
                '{"inputs": [{"name", "shape", "datatype", "data"}, …]}, or that and raw tensors',
                '{"model_name", "model_version", "outputs": [{"name", "datatype", "shape", "data"}, …]}',
                v2_sample,
            ),
        )
        named = r"v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
        self.pages = (
            Page(re.compile(r"v2/?"), _server),
            Page(re.compile(r"v2/health/live"), lambda about: _health(about, needs_ready=False), is_open=True),
            Page(re.compile(r"v2/health/ready"), lambda about: _health(about, needs_ready=True), is_open=True),
            Page(re.compile(named), _metadata),
            Page(re.compile(rf"{named}/ready"), _model_ready, is_open=True),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        model = f"/v2/models/{name}"
        binary = {"type": "string", "format": "binary"}
        infer = operation(
            self.tag,
            "Infer",
            request_body(("application/json", ref("V2Request"), msgspec.json.decode(v2_sample(spec))))
            | {"description": "JSON, or JSON followed by raw tensors (Inference-Header-Content-Length)."},
            answer("One tensor per output.", json=ref("V2Reply"), binary=binary),
            "V2Error",
        )
        metadata = page(self.tag, "Model metadata", answer("Tensors", json=ref("V2Metadata")), "V2Error")
        health, ready = ref("V2Health"), ref("V2Ready")
        alive = answer("Alive and ready", json=health)
        is_ready = answer("Ready", json=ready)
        return {
            f"{model}/infer": infer,
            f"{model}/versions/{version}/infer": infer,
            "/v2": page(self.tag, "Server metadata", answer("The gateway", json=ref("V2Server")), "V2Error"),
            "/v2/health/live": open_page(self.tag, "Liveness", alive, "V2Error", unready=health),
            "/v2/health/ready": open_page(self.tag, "Readiness", alive, "V2Error", unready=health),
            model: metadata,
            f"{model}/versions/{version}": metadata,
            f"{model}/ready": open_page(self.tag, "Model readiness", is_ready, "V2Error", unready=ready),
        }

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        shape = list_of(COUNT, 1)
        parameters = object_of([])
        tensor = object_of(
            ["name", "shape", "datatype"],
            name=TEXT,
            shape=shape,
            datatype=TEXT,
            data=list_of(ANY),
            parameters=parameters,
        )
        port = object_of(["name", "datatype", "shape"], name=TEXT, datatype=TEXT, shape=shape)
        wanted = object_of(["name"], name=TEXT, parameters=parameters)
        truth = {"type": "boolean"}
        return {
            "V2Error": object_of(["error"], error=TEXT),
            "V2Request": object_of(["inputs"], id=TEXT, inputs=list_of(tensor, 1), outputs=list_of(wanted)),
            "V2Reply": object_of(
                ["model_name", "model_version", "outputs"],
                model_name=TEXT,
                model_version=TEXT,
                id=TEXT,
                outputs=list_of(tensor),
            ),
            "V2Server": object_of(["name", "version", "extensions"], name=TEXT, version=TEXT, extensions=list_of(TEXT)),
            "V2Metadata": object_of(
                ["name", "versions", "platform", "inputs", "outputs"],
                name=TEXT,
                versions=list_of(TEXT),
                platform=TEXT,
                inputs=list_of(port),
                outputs=list_of(port),
            ),
            "V2Health": object_of(["live", "ready"], live=truth, ready=truth),
            "V2Ready": object_of(["name", "ready"], name=TEXT, ready=truth),
        }

    def owns(self, path: str) -> bool:
        return path == "v2" or path.startswith("v2/")

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        return msgspec.json.encode(_Error(sentence(problem))), JSON_TYPE

    def dialect(self, asked: RequestMeta) -> OpenInferenceDialect:
        _check_charset(asked.media)
        length = asked.json_length.strip()
        if not length:
            return OpenInferenceDialect(asked.model, None)
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise Problem("malformed_body", "Inference-Header-Content-Length is not a number of bytes.")
        return OpenInferenceDialect(asked.model, int(length))

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        predictor.prepared(TensorParser)
        predictor.prepared(OpenInferenceOutputs).note(prediction)


def v2_sample(spec: ModelSpec) -> bytes:
    """A request with the sample row, one tensor per column."""
    kinds = {column.name: column.type for column in spec.columns}
    tensors = []
    for name, value in ordered_sample(spec).items():
        datatype = column_datatype(kinds[name])
        cell = "" if value is None and datatype == "BYTES" else value
        tensors.append({"name": name, "shape": [1], "datatype": datatype, "data": [cell]})
    return msgspec.json.encode({"inputs": tensors})


# --- requests -------------------------------------------------------------------------------------------------------


def _check_charset(media: MediaType) -> None:
    if media.charset not in _NO_CHARSET:
        raise Problem("unsupported_media_type", f"JSON is UTF-8 (RFC 8259), not {str(media.charset)[:80]}.")


def _parts(body: bytes, json_length: int | None) -> tuple[_Request, memoryview | None]:
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


def _request_or_none(document: bytes) -> _Request | None:
    try:
        return _request(document)
    except Problem:
        return None


def _request(document: bytes) -> _Request:
    if not document.strip():
        raise Problem("malformed_body", "The body is empty.")
    try:
        return _decoded(checked_utf8(document))
    except (msgspec.DecodeError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).rstrip(".")
        raise Problem("malformed_body", f"The body is no inference request: {words}.") from None


def _decoded(document: bytes) -> _Request:
    try:
        return _REQUEST.decode(document)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        strict = without_nan(document)
        if strict is None:
            raise
    return _REQUEST.decode(strict)


def _wanted(request: _Request, names: tuple[str, ...]) -> _Wanted:
    """The outputs asked for, or all of them."""
    all_binary = (request.parameters or {}).get("binary_data_output") is True
    if not request.outputs:
        return _Wanted(request.id, [(name, all_binary) for name in names])
    wanted = []
    for output in request.outputs:
        if output.name not in names:
            raise Problem(
                "malformed_body", f"No output is called “{output.name[:80]}”; there is {' and '.join(names)}."
            )
        parameters = output.parameters or {}
        if parameters.get("classification"):
            raise Problem("malformed_body", "The classification extension is not supported; ask for probabilities.")
        wanted.append((output.name, parameters.get("binary_data", all_binary) is True))
    return _Wanted(request.id, wanted)


_Tensor = tuple[str, str, list[int], msgspec.Raw | memoryview]


def _tensors(inputs: list[_Input], binary: memoryview | None) -> list[_Tensor]:
    """Name, datatype, shape and data of each input; binary data lies behind the JSON, in the inputs' order."""
    tensors: list[_Tensor] = []
    rest = memoryview(b"") if binary is None else binary
    for one in inputs:
        size = (one.parameters or {}).get("binary_data_size")
        if size is None:
            if one.data is msgspec.UNSET:
                raise Problem("malformed_body", f"The input {one.name[:80]} has no data.")
            tensors.append((one.name, one.datatype, one.shape, one.data))
            continue
        if one.data is not msgspec.UNSET:
            raise Problem("malformed_body", f"The input {one.name[:80]} has both data and binary_data_size.")
        if binary is None:
            raise Problem("malformed_body", "binary_data_size needs the header Inference-Header-Content-Length.")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
            raise Problem("malformed_body", f"The input {one.name[:80]}: binary_data_size is beyond the body's end.")
        tensors.append((one.name, one.datatype, one.shape, rest[:size]))
        rest = rest[size:]
    if len(rest):
        raise Problem("malformed_body", f"{len(rest)} bytes are left behind the last tensor.")
    return tensors


# --- pages ----------------------------------------------------------------------------------------------------------


def _json(document: object, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(document), JSON_TYPE, status=status)


def _server(about: ApiInfo) -> Reply:
    return _json({"name": _SERVER, "version": about.version, "extensions": [_EXTENSION]})


def _health(about: ApiInfo, *, needs_ready: bool) -> Reply:
    """Some clients read `live` and some `ready`, whichever of the two they asked for."""
    is_refused = needs_ready and not about.is_ready
    return _json({"live": True, "ready": about.is_ready}, 503 if is_refused else 200)


def _model_ready(about: ApiInfo) -> Reply:
    return _json({"name": about.model_name, "ready": about.is_ready}, 200 if about.is_ready else 503)


def _metadata(about: ApiInfo) -> Reply:
    if about.predictor is None:  # in a process of its own: which widths it computes with is not known here
        outputs = OpenInferenceOutputs(about.spec)
        datatypes = [column_datatype(column.type) for column in about.spec.columns]
    else:
        outputs = about.predictor.prepared(OpenInferenceOutputs)
        datatypes = about.predictor.prepared(TensorParser).datatypes
    document: dict[str, Any] = {
        "name": about.model_name,
        "versions": [about.version],
        "platform": _PLATFORM,
        "inputs": [
            {"name": column.name, "datatype": datatype, "shape": [-1, 1]}
            for column, datatype in zip(about.spec.columns, datatypes, strict=True)
        ],
        "outputs": [
            {
                "name": name,
                "datatype": outputs.datatype(name),
                "shape": [-1, outputs.n_classes] if name == "probabilities" else [-1],
            }
            for name in outputs.names
        ],
    }
    if about.spec.classes:
        document["parameters"] = {"classes": about.spec.classes}
    return _json(document)


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()
