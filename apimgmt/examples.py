"""Calls that a person can copy: real address, real sample row."""

from __future__ import annotations

import json
import shlex
from typing import Any

from gateway.modelspec import ModelSpec

KEY_PLACEHOLDER = "$API_KEY"
MAX_INLINE_COLUMNS = 12


def sample_json(spec: ModelSpec, *, indent: int | None = None) -> str:
    """The request body with the sample row. Indented by itself when the row is too wide for one line."""
    if indent is None and len(spec.sample) > MAX_INLINE_COLUMNS:
        indent = 1
    return json.dumps({"rows": [spec.sample]}, ensure_ascii=False, indent=indent)


def sample_row(spec: ModelSpec) -> str:
    return json.dumps(spec.sample, ensure_ascii=False, indent=2)


def _key_header(key: str | None) -> str:
    """The header as a shell word: the key literally, or a variable that the shell fills in."""
    return f'"x-api-key: {KEY_PLACEHOLDER}"' if key is None else shlex.quote(f"x-api-key: {key}")


def curl_json(url: str, spec: ModelSpec, key: str | None = None) -> str:
    """A curl call for a POSIX shell; without a key it takes $API_KEY from the environment."""
    lines = [
        f"curl {shlex.quote(url)}",
        f"-H {_key_header(key)}",
        "-H 'content-type: application/json'",
        f"-d {shlex.quote(sample_json(spec))}",
    ]
    return " \\\n  ".join(lines)


def curl_csv(url: str) -> str:
    lines = [
        f"curl {shlex.quote(url)}",
        f"-H {_key_header(None)}",
        "-H 'content-type: text/csv'",
        "--data-binary @rows.csv",
    ]
    return " \\\n  ".join(lines)


def python_call(url: str, spec: ModelSpec) -> str:
    """A call with nothing but Python's standard library."""
    return "\n".join(
        [
            "import json, os, urllib.request",
            "",
            f"rows = [{_python_literal(spec.sample)}]",
            "request = urllib.request.Request(",
            f"    {json.dumps(url)},",
            '    data=json.dumps({"rows": rows}).encode(),',
            '    headers={"x-api-key": os.environ["API_KEY"], "content-type": "application/json"},',
            ")",
            "with urllib.request.urlopen(request, timeout=10) as reply:",
            "    print(json.load(reply))",
        ]
    )


def _python_literal(row: dict[str, Any]) -> str:
    if len(row) <= MAX_INLINE_COLUMNS:
        return repr(row)
    inner = ",\n     ".join(f"{name!r}: {value!r}" for name, value in row.items())
    return "{" + inner + "}"
