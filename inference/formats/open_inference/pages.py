"""The protocol's pages: server and model metadata, liveness and readiness."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from inference.formats.base import Reply
from inference.formats.description.info import ApiInfo
from inference.formats.open_inference.outputs import OpenInferenceOutputs
from inference.formats.open_inference.tensor_parser import TensorParser, column_datatype
from inference.formats.replies import JSON_TYPE

_SERVER: Final = "prediction-api-gateway"
_EXTENSION: Final = "binary_tensor_data"


def _json(document: object, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(document), JSON_TYPE, status=status)


def server(info: ApiInfo) -> Reply:
    return _json({"name": _SERVER, "version": info.version, "extensions": [_EXTENSION]})


def health(info: ApiInfo, *, needs_ready: bool) -> Reply:
    """Some clients read `live` and some `ready`, whichever of the two they asked for."""
    is_refused = needs_ready and not info.is_ready
    return _json({"live": True, "ready": info.is_ready}, 503 if is_refused else 200)


def model_ready(info: ApiInfo) -> Reply:
    return _json({"name": info.model_name, "ready": info.is_ready}, 200 if info.is_ready else 503)


def metadata(info: ApiInfo) -> Reply:
    if info.predictor is None:  # in a process of its own: which widths it computes with is not known here
        outputs = OpenInferenceOutputs(info.spec)
        datatypes = [column_datatype(column.type) for column in info.spec.columns]
    else:
        outputs = info.predictor.prepared(OpenInferenceOutputs)
        datatypes = info.predictor.prepared(TensorParser).datatypes
    document: dict[str, Any] = {
        "name": info.model_name,
        "versions": [info.version],
        "platform": info.platform,
        "inputs": [
            {"name": column.name, "datatype": datatype, "shape": [-1, 1]}
            for column, datatype in zip(info.spec.columns, datatypes, strict=True)
        ],
        "outputs": [
            {
                "name": name,
                "datatype": outputs.datatype(name),
                "shape": outputs.shape(name, -1),
            }
            for name in outputs.names
        ],
    }
    if outputs.classes:
        document["parameters"] = {"classes": outputs.classes}
    return _json(document)
