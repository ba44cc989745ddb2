"""Open Inference Protocol v2 (REST), with its binary extension: tensors in, tensors out."""

from __future__ import annotations

import re

import msgspec

from contract.model_spec import ModelSpec
from contract.problems import Problem
from inference.formats.base import Codec, Decoded, Page, Reply, RequestMeta
from inference.formats.description.info import FormatInfo
from inference.formats.description.schemas import Schema
from inference.formats.media import check_json_charset
from inference.formats.open_inference import openapi, pages
from inference.formats.open_inference.elements import binary_elements, json_elements
from inference.formats.open_inference.outputs import OpenInferenceOutputs
from inference.formats.open_inference.requests import Wanted, parts, tensors, wanted_outputs
from inference.formats.open_inference.tensor_parser import TensorParser
from inference.formats.refusals import one_line
from inference.formats.replies import JSON_TYPE
from inference.predictor import Predictor
from inference.table import Prediction

_BINARY_TYPE = b"application/octet-stream"


class _Error(msgspec.Struct):
    error: str


class OpenInferenceFormat(msgspec.Struct, frozen=True, gc=False):
    """One request's model name, and where its JSON ends."""

    model: str
    json_length: int | None
    name: str = "open-inference"

    def decode(self, body: bytes, predictor: Predictor) -> Decoded:
        request, binary = parts(body, self.json_length)
        wanted = wanted_outputs(request, predictor.prepared(OpenInferenceOutputs).names)
        return Decoded(predictor.prepared(TensorParser).table(tensors(request.inputs, binary)), wanted)

    def encode(self, prediction: Prediction, decoded: Decoded, predictor: Predictor, model_version: str) -> Reply:
        wanted: Wanted = decoded.note
        outputs = predictor.prepared(OpenInferenceOutputs)
        heads, tail = [], []
        for name, is_binary in wanted.outputs:
            elements = outputs.elements(name, prediction)
            shape = outputs.shape(name, decoded.table.n_rows)
            head = f'{{"name":{_text(name)},"datatype":"{outputs.datatype(name)}","shape":{shape}'
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
    summary = "Open Inference Protocol v2, with its binary extension."

    def __init__(self) -> None:
        self.formats = (
            FormatInfo(
                "open-inference-v2",
                "Open Inference Protocol v2",
                "v2/models/{model}/infer",
                "application/json",
                '{"inputs": [{"name", "shape", "datatype", "data"}, …]}, or that and raw tensors',
                lambda _shape: '{"model_name", "model_version", "outputs": [{"name", "datatype", "shape", "data"}, …]}',
                openapi.sample,
            ),
        )
        named = r"v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?"
        self.pages = (
            Page(re.compile(r"v2/?"), pages.server),
            Page(re.compile(r"v2/health/live"), lambda info: pages.health(info, needs_ready=False), is_open=True),
            Page(re.compile(r"v2/health/ready"), lambda info: pages.health(info, needs_ready=True), is_open=True),
            Page(re.compile(named), pages.metadata),
            Page(re.compile(rf"{named}/ready"), pages.model_ready, is_open=True),
        )

    def paths(self, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
        return openapi.paths(self.tag, name, version, spec)

    def schemas(self, spec: ModelSpec) -> dict[str, Schema]:
        return openapi.schemas()

    def owns(self, path: str) -> bool:
        return path == "v2" or path.startswith("v2/")

    def problem(self, problem: Problem, request_id: str, types_url: str) -> tuple[bytes, bytes]:
        return msgspec.json.encode(_Error(one_line(problem))), JSON_TYPE

    def request_format(self, meta: RequestMeta) -> OpenInferenceFormat:
        check_json_charset(meta.media)
        length = meta.json_length.strip()
        if not length:
            return OpenInferenceFormat(meta.model, None)
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise Problem("malformed_body", "Inference-Header-Content-Length is not a number of bytes.")
        return OpenInferenceFormat(meta.model, int(length))

    def warm_up(self, predictor: Predictor, prediction: Prediction) -> None:
        predictor.prepared(TensorParser)
        predictor.prepared(OpenInferenceOutputs).note(prediction)


def _text(text: str) -> str:
    return msgspec.json.encode(text).decode()
