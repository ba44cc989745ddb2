"""OpenAPI 3.1 of one API, with its real columns: every codec describes its own paths, this puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from contract.model_spec import ModelSpec
from contract.problems import PROBLEM_TYPES
from inference.formats.description.columns import describe_columns
from inference.formats.description.info import ApiInfo, Described
from inference.formats.description.schemas import COUNT, TEXT, Schema, list_of, object_of
from inference.formats.description.snippets import ordered_sample

_JSON_TYPES: Final = {"float": "number", "int": "integer", "string": "string", "bool": "boolean"}


def openapi(info: ApiInfo, parts: Sequence[Described]) -> dict[str, Any]:
    """The whole document."""
    spec = info.spec
    name = info.name or info.api_id
    paths: dict[str, Schema] = {}
    schemas = {"Row": _row(spec), "Problem": _problem()}
    for part in parts:
        paths |= part.paths(name, info.version, spec)
        schemas |= part.schemas(spec)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Prediction API {name}",
            "version": info.version,
            "description": spec.description or f"Predicts {spec.target}.",
        },
        "servers": [{"url": info.base_url}],
        "security": [{"key": []}, {"bearer": []}, {"basic": []}],
        "tags": [{"name": part.tag, "description": part.summary} for part in parts if part.tag],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key as user name."},
            },
            "schemas": schemas,
        },
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
    return object_of(required) | {"properties": properties, "examples": [ordered_sample(spec)]}


def _problem() -> Schema:
    fault = object_of(
        ["row", "column", "expected", "received"],
        row=COUNT,
        column=TEXT,
        expected=TEXT,
        received=TEXT,
        nearest=TEXT,
    )
    return object_of(
        ["type", "title", "status", "detail", "code", "request_id"],
        type=TEXT,
        title=TEXT,
        status=COUNT,
        detail=TEXT,
        code={"enum": list(PROBLEM_TYPES)},
        request_id=TEXT,
        errors=list_of(fault),
        error_code=TEXT,
        error=TEXT,
        message=TEXT,
    )
