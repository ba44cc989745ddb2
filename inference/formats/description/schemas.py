"""Pieces of OpenAPI 3.1 that several codecs describe themselves with."""

from __future__ import annotations

from typing import Any, Final

from contract.problems import PROBLEM_TYPES

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer"}
ANY: Final[Schema] = {}
ROW: Final[Schema] = {"$ref": "#/components/schemas/Row"}
"""One row as an object, which the document itself describes."""

WARNINGS_HEADER: Final = "X-Prediction-Warnings"
"""Beside a prediction in any format, where there is something to warn of."""
_WARNED: Final[Schema] = {
    WARNINGS_HEADER: {
        "description": "How many values the model was not made for. Missing where there are none.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_ALL_STATUSES = tuple(sorted({kind.status for kind in PROBLEM_TYPES.values()}))
_PAGE_STATUSES = (401, 403, 404, 405, 500, 503)
_OPEN_STATUSES = (403, 404, 405, 500, 503)
_MEDIA = {"json": "application/json", "csv": "text/csv", "binary": "application/octet-stream"}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def list_of(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items} | ({"minItems": least} if least else {})


def request_body(*contents: tuple[str, Schema, object]) -> Schema:
    """Of media type, schema and example."""
    content = {media: {"schema": schema, "example": example} for media, schema, example in contents}
    return {"required": True, "content": content}


def answer(words: str, *, examples: dict[str, object] | None = None, **by_media: Schema | None) -> Schema:
    """Of `json`, `csv` and `binary`; None where nothing more is said of it."""
    content: dict[str, Schema] = {_MEDIA[key]: {"schema": schema} if schema else {} for key, schema in by_media.items()}
    for key, example in (examples or {}).items():
        content[_MEDIA[key]]["example"] = example
    return {"description": words, "content": content}


def operation(tag: str, summary: str, request: Schema, status_200: Schema, error: str) -> Schema:
    """A prediction. `error`: the schema of its refusals."""
    answers = _answers(status_200 | {"headers": _WARNED}, error, _ALL_STATUSES)
    return {"post": {"tags": [tag], "summary": summary, "requestBody": request, "responses": answers}}


def page(tag: str, summary: str, status_200: Schema, error: str) -> Schema:
    """A page that needs the key."""
    return {"get": {"tags": [tag], "summary": summary, "responses": _answers(status_200, error, _PAGE_STATUSES)}}


def open_page(tag: str, summary: str, status_200: Schema, error: str, *, unready: Schema | None = None) -> Schema:
    """A page without a key. `unready`: what it answers with 503 beside a refusal."""
    answers = _answers(status_200, error, _OPEN_STATUSES)
    if unready is not None:
        content = answers["503"]["content"]["application/json"]
        content["schema"] = {"anyOf": [unready, content["schema"]]} if unready else {}
    return {"get": {"tags": [tag], "summary": summary, "responses": answers, "security": []}}


def _answers(status_200: Schema, error: str, statuses: tuple[int, ...]) -> Schema:
    media = "application/problem+json" if error == "Problem" else "application/json"
    codes = {status: [kind for kind in PROBLEM_TYPES.values() if kind.status == status] for status in statuses}
    return {"200": status_200} | {
        str(status): {
            "description": "\n".join(f"- `{kind.code}`: {kind.when}" for kind in kinds),
            "content": {media: {"schema": ref(error)}},
        }
        for status, kinds in codes.items()
    }
