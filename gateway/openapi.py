"""OpenAPI 3.1 of one API, with its real columns: every path of every dialect, and every status it can answer."""

from __future__ import annotations

from typing import Any

from gateway.dialects.base import About
from gateway.dialects.description import describe_columns
from gateway.dialects.native_csv import sample_csv
from gateway.modelspec import ModelSpec
from gateway.problems import PROBLEM_TYPES
from gateway.snippets import ordered_sample

Schema = dict[str, Any]

_JSON_TYPES = {"float": "number", "int": "integer", "string": "string", "bool": "boolean"}
_ALL_STATUSES = sorted({kind.status for kind in PROBLEM_TYPES.values()})
_PAGE_STATUSES = (401, 403, 404, 405, 500, 503)
_OPEN_STATUSES = (403, 404, 405, 500, 503)


def openapi(about: About) -> dict[str, Any]:
    """The whole document."""
    spec = about.spec
    name = about.name or about.api_id
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Prediction API {name}",
            "version": about.version,
            "description": spec.description or f"Predicts {spec.target}.",
        },
        "servers": [{"url": about.base_url}],
        "security": [{"key": []}, {"bearer": []}, {"basic": []}],
        "tags": [{"name": tag, "description": words} for tag, words in _TAGS.items()],
        "paths": _paths(name, about.version, spec),
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name."},
            },
            "schemas": _schemas(spec),
        },
    }


_TAGS = {
    "native": "Rows as JSON or CSV, and the manual's named inputs.",
    "open inference": "Open Inference Protocol v2, with its binary extension.",
    "kserve v1": "KServe's protocol v1.",
    "mlflow": "MLflow's scoring protocol.",
    "description": "This document, and the same as a page.",
}


def _paths(name: str, version: str, spec: ModelSpec) -> dict[str, Any]:
    v1, v2 = f"/v1/models/{name}", f"/v2/models/{name}"
    return {
        "/predict": {"post": _predict(spec)},
        f"{v2}/infer": {"post": _infer()},
        f"{v2}/versions/{version}/infer": {"post": _infer()},
        "/v2": {"get": _page("open inference", "Server metadata", "V2Server", "V2Error")},
        "/v2/health/live": {"get": _page("open inference", "Liveness", "Health", "V2Error", is_open=True)},
        "/v2/health/ready": {"get": _page("open inference", "Readiness", "Health", "V2Error", is_open=True)},
        v2: {"get": _page("open inference", "Model metadata", "V2Metadata", "V2Error")},
        f"{v2}/versions/{version}": {"get": _page("open inference", "Model metadata", "V2Metadata", "V2Error")},
        f"{v2}/ready": {"get": _page("open inference", "Model readiness", "ModelReady", "V2Error", is_open=True)},
        "/": {"get": _page("kserve v1", "Liveness", "Alive", "V1Error", is_open=True)},
        "/v1/models": {"get": _page("kserve v1", "Model list", "V1Models", "V1Error")},
        v1: {"get": _page("kserve v1", "Model readiness", "ModelReady", "V1Error", is_open=True)},
        f"{v1}:predict": {"post": _v1("V1Predictions", "Predict")},
        f"{v1}:explain": {"post": _v1("V1Explanations", "Explain: each variable's contribution")},
        "/invocations": {"post": _invocations(spec)},
        "/ping": {"get": _text_page("mlflow", "Readiness", is_open=True)},
        "/health": {"get": _text_page("mlflow", "Readiness", is_open=True)},
        "/version": {"get": _text_page("mlflow", "Version of the protocol", is_open=False)},
        "/openapi.json": {"get": _page("description", "This document", None, "Problem")},
        "/docs": {"get": _docs_page()},
    }


# --- operations -----------------------------------------------------------------------------------------------------


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(*contents: tuple[str, Schema, object]) -> Schema:
    content = {media: {"schema": schema, "example": example} for media, schema, example in contents}
    return {"required": True, "content": content}


def _answers(status_200: Schema, error: str, statuses: list[int] | tuple[int, ...]) -> Schema:
    media = "application/problem+json" if error == "Problem" else "application/json"
    codes = {status: [k for k in PROBLEM_TYPES.values() if k.status == status] for status in statuses}
    return {"200": status_200} | {
        str(status): {
            "description": "\n".join(f"- `{kind.code}`: {kind.when}" for kind in kinds),
            "content": {media: {"schema": _ref(error)}},
        }
        for status, kinds in codes.items()
    }


def _answer(words: str, **by_media: Schema | None) -> Schema:
    names = {"json": "application/json", "csv": "text/csv", "binary": "application/octet-stream"}
    content = {names[key]: {"schema": schema} if schema else {} for key, schema in by_media.items()}
    return {"description": words, "content": content}


def _predict(spec: ModelSpec) -> Schema:
    rows = {"rows": [ordered_sample(spec)]}
    return {
        "tags": ["native"],
        "summary": f"Predict {spec.target}",
        "operationId": "predict",
        "requestBody": _body(
            ("application/json", {"oneOf": [_ref("Rows"), _ref("ManualRequest")]}, rows),
            ("text/csv", {"type": "string", "description": "A header row, then one row a line."}, _csv_example(spec)),
        ),
        "responses": _answers(
            _answer(
                "One prediction a row, in the rows' order.",
                json={"oneOf": [_ref("Predictions"), _ref("ManualReply")]},
                csv={"type": "string"},
            ),
            "Problem",
            _ALL_STATUSES,
        ),
    }


def _infer() -> Schema:
    return {
        "tags": ["open inference"],
        "summary": "Infer",
        "requestBody": _body(("application/json", _ref("V2Request"), {"inputs": []}))
        | {"description": "JSON, or JSON followed by raw tensors (Inference-Header-Content-Length)."},
        "responses": _answers(
            _answer("One tensor per output.", json=_ref("V2Reply"), binary={"type": "string", "format": "binary"}),
            "V2Error",
            _ALL_STATUSES,
        ),
    }


def _v1(reply: str, summary: str) -> Schema:
    return {
        "tags": ["kserve v1"],
        "summary": summary,
        "requestBody": _body(("application/json", _ref("V1Request"), {"instances": []})),
        "responses": _answers(_answer("One prediction an instance.", json=_ref(reply)), "V1Error", _ALL_STATUSES),
    }


def _invocations(spec: ModelSpec) -> Schema:
    records = {"dataframe_records": [ordered_sample(spec)]}
    return {
        "tags": ["mlflow"],
        "summary": "Score",
        "requestBody": _body(
            ("application/json", _ref("MlflowRequest"), records),
            ("text/csv", {"type": "string"}, _csv_example(spec)),
        ),
        "responses": _answers(
            _answer("One prediction a row.", json=_ref("V1Predictions")), "MlflowError", _ALL_STATUSES
        ),
    }


def _page(tag: str, summary: str, reply: str | None, error: str, *, is_open: bool = False) -> Schema:
    operation: Schema = {
        "tags": [tag],
        "summary": summary,
        "responses": _answers(
            _answer(summary, json=_ref(reply) if reply else None), error, _OPEN_STATUSES if is_open else _PAGE_STATUSES
        ),
    }
    if is_open:
        operation["security"] = []
        if reply in {"Health", "ModelReady"}:
            unready = operation["responses"]["503"]["content"]["application/json"]
            unready["schema"] = {"anyOf": [_ref(reply), unready["schema"]]}
    return operation


def _text_page(tag: str, summary: str, *, is_open: bool) -> Schema:
    statuses = _OPEN_STATUSES if is_open else _PAGE_STATUSES
    media = "application/json" if is_open else "text/plain"
    operation: Schema = {
        "tags": [tag],
        "summary": summary,
        "responses": _answers({"description": summary, "content": {media: {}}}, "MlflowError", statuses),
    }
    if is_open:
        operation["security"] = []
        operation["responses"]["503"]["content"]["application/json"] = {}  # a line end: not ready
    return operation


def _docs_page() -> Schema:
    answer = {"description": "A page for people.", "content": {"text/html": {"schema": {"type": "string"}}}}
    return {
        "tags": ["description"],
        "summary": "The same as a page",
        "responses": _answers(answer, "Problem", _PAGE_STATUSES),
    }


def _csv_example(spec: ModelSpec) -> str:
    return sample_csv(spec).decode()


# --- schemas --------------------------------------------------------------------------------------------------------


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items} | ({"minItems": least} if least else {})


_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer"}
_ANY: Schema = {}


def _schemas(spec: ModelSpec) -> dict[str, Schema]:
    label = _TEXT if spec.classes else _NUMBER
    return {
        "Row": _row(spec),
        "Rows": _object(["rows"], rows=_list(_ref("Row"), 1)),
        "Predictions": _object(["model_version", "predictions"], model_version=_TEXT, predictions=_list(_one(spec), 1)),
        "Problem": _problem(),
        **_manual_schemas(),
        **_v2_schemas(),
        "V1Error": _object(["error"], error=_TEXT),
        "V1Request": _object(["instances"], instances=_list({"oneOf": [_ref("Row"), _list(_ANY)]}, 1)),
        "V1Predictions": _object(["predictions"], predictions=_list({"anyOf": [label, _COUNT]}, 1)),
        "V1Explanations": _object(
            ["predictions", "explanations"],
            predictions=_list({"anyOf": [label, _COUNT]}, 1),
            explanations=_list(
                _object(
                    ["contributions"],
                    contributions=_object([]) | {"properties": {column.name: _NUMBER for column in spec.columns}},
                    **{"class": _TEXT},
                )
            ),
        ),
        "V1Models": _object(["models"], models=_list(_TEXT)),
        "Alive": _object(["status"], status={"const": "alive"}),
        "ModelReady": _object(["name", "ready"], name=_TEXT, ready={"type": "boolean"}),
        "Health": _object(["live", "ready"], live={"type": "boolean"}, ready={"type": "boolean"}),
        "MlflowError": _object(["error_code", "message"], error_code=_TEXT, message=_TEXT),
        "MlflowRequest": _mlflow_request(),
    }


def _row(spec: ModelSpec) -> Schema:
    properties: dict[str, Schema] = {}
    for column, note in zip(spec.columns, describe_columns(spec), strict=True):
        kind = _JSON_TYPES[column.type]
        schema: Schema = {"type": [kind, "null"] if column.nullable else kind}
        words = [note.expected, f"in training: {note.values}" if note.values else "", note.unit]
        schema["description"] = "; ".join(word for word in words if word)
        if note.example is not None:
            schema["examples"] = [note.example]
        properties[column.name] = schema
    required = [column.name for column in spec.columns if not column.nullable]
    return _object(required) | {"properties": properties, "examples": [ordered_sample(spec)]}


def _one(spec: ModelSpec) -> Schema:
    if not spec.classes:
        return _object(["value"], value=_NUMBER)
    probabilities = _object(list(spec.classes)) | {"properties": dict.fromkeys(spec.classes, _NUMBER)}
    return _object(["class", "probabilities"], probabilities=probabilities, **{"class": {"enum": list(spec.classes)}})


def _problem() -> Schema:
    fault = _object(
        ["row", "column", "expected", "received"],
        row=_COUNT,
        column=_TEXT,
        expected=_TEXT,
        received=_TEXT,
        nearest=_TEXT,
    )
    return _object(
        ["type", "title", "status", "detail", "code", "request_id"],
        type=_TEXT,
        title=_TEXT,
        status=_COUNT,
        detail=_TEXT,
        code={"enum": list(PROBLEM_TYPES)},
        request_id=_TEXT,
        errors=_list(fault),
        error_code=_TEXT,
        error=_TEXT,
        message=_TEXT,
    )


def _manual_schemas() -> dict[str, Schema]:
    named = _object(["name", "type", "data"], name=_TEXT, type=_TEXT, data={"type": ["string", "boolean"]})
    output = _object(["name", "data"], name=_TEXT, data=_TEXT)
    return {
        "ManualRequest": _object(["inputs"], inputs=_list(named, 1)),
        "ManualReply": _object(["version", "outputs"], version=_TEXT, outputs=_list(output, 1)),
    }


def _v2_schemas() -> dict[str, Schema]:
    shape = _list(_COUNT, 1)
    tensor = _object(
        ["name", "shape", "datatype"], name=_TEXT, shape=shape, datatype=_TEXT, data=_list(_ANY), parameters=_object([])
    )
    about = _object(["name", "datatype", "shape"], name=_TEXT, datatype=_TEXT, shape=shape)
    wanted = _object(["name"], name=_TEXT, parameters=_object([]))
    return {
        "V2Error": _object(["error"], error=_TEXT),
        "V2Request": _object(["inputs"], id=_TEXT, inputs=_list(tensor, 1), outputs=_list(wanted)),
        "V2Reply": _object(
            ["model_name", "model_version", "outputs"],
            model_name=_TEXT,
            model_version=_TEXT,
            id=_TEXT,
            outputs=_list(tensor),
        ),
        "V2Server": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
        "V2Metadata": _object(
            ["name", "versions", "platform", "inputs", "outputs"],
            name=_TEXT,
            versions=_list(_TEXT),
            platform=_TEXT,
            inputs=_list(about),
            outputs=_list(about),
        ),
    }


def _mlflow_request() -> Schema:
    split = _object(["columns", "data"], columns=_list(_TEXT, 1), data=_list(_list(_ANY), 1))
    rows = _list({"oneOf": [_ref("Row"), _list(_ANY)]}, 1)
    return {
        "oneOf": [
            _object(["dataframe_split"], dataframe_split=split),
            _object(["dataframe_records"], dataframe_records=_list(_ref("Row"), 1)),
            _object(["instances"], instances=rows),
            _object(["inputs"], inputs={"oneOf": [rows, {"type": "object", "additionalProperties": _list(_ANY, 1)}]}),
        ]
    }
