"""The protocol as OpenAPI describes it, with an example."""

from __future__ import annotations

import msgspec

from contract.model_spec import ModelSpec
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
from inference.formats.open_inference.tensor_parser import column_datatype


def paths(tag: str, name: str, version: str, spec: ModelSpec) -> dict[str, Schema]:
    """The protocol's paths for a model of this name."""
    model = f"/v2/models/{name}"
    binary = {"type": "string", "format": "binary"}
    infer = operation(
        tag,
        "Infer",
        request_body(("application/json", ref("V2Request"), msgspec.json.decode(sample(spec))))
        | {"description": "JSON, or JSON followed by raw tensors (Inference-Header-Content-Length)."},
        answer("One tensor per output.", json=ref("V2Reply"), binary=binary),
        "V2Error",
    )
    metadata = page(tag, "Model metadata", answer("Tensors", json=ref("V2Metadata")), "V2Error")
    health, ready = ref("V2Health"), ref("V2Ready")
    alive = answer("Alive and ready", json=health)
    is_ready = answer("Ready", json=ready)
    return {
        f"{model}/infer": infer,
        f"{model}/versions/{version}/infer": infer,
        "/v2": page(tag, "Server metadata", answer("The gateway", json=ref("V2Server")), "V2Error"),
        "/v2/health/live": open_page(tag, "Liveness", alive, "V2Error", unready=health),
        "/v2/health/ready": open_page(tag, "Readiness", alive, "V2Error", unready=health),
        model: metadata,
        f"{model}/versions/{version}": metadata,
        f"{model}/ready": open_page(tag, "Model readiness", is_ready, "V2Error", unready=ready),
    }


def schemas() -> dict[str, Schema]:
    """What they refer to."""
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


def sample(spec: ModelSpec) -> bytes:
    """A request with the sample row, one tensor per column."""
    kinds = {column.name: column.type for column in spec.columns}
    tensors = []
    for name, value in ordered_sample(spec).items():
        datatype = column_datatype(kinds[name])
        cell = "" if value is None and datatype == "BYTES" else value
        tensors.append({"name": name, "shape": [1], "datatype": datatype, "data": [cell]})
    return msgspec.json.encode({"inputs": tensors})
