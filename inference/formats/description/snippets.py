"""Calls that a person can copy, made from a model's columns and sample row; a test runs each that can be run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any, Final

import msgspec

from contract.model_spec import ModelSpec
from inference.answers import AnswerShape, answer_shape

KEY_VARIABLE: Final = "API_KEY"
_FEW_COLUMNS = 12  # beyond that a row stands on several lines


class Snippet(msgspec.Struct, frozen=True):
    """One call. `before`: what to do first, in words."""

    name: str
    title: str
    before: str
    text: str


def snippets(url: str, spec: ModelSpec) -> list[Snippet]:
    """For the address of native rows. The key is never in the text: it comes from where secrets are kept."""
    from_environment = f"Takes the key from the environment variable {KEY_VARIABLE}."
    return [
        Snippet("curl", "curl", from_environment, curl(url, spec)),
        Snippet("python", "Python", f"Needs nothing but Python. {from_environment}", python(url, spec)),
        Snippet("javascript", "JavaScript", f"For Node.js. {from_environment}", javascript(url, spec)),
        Snippet(
            "powerquery",
            "Excel (Power Query)",
            "In your workbook, name a table Rows and give it these columns. Choose Data, Get Data, Blank Query, "
            "Advanced Editor. Paste this, and put the key in the second line.",
            power_query(url, spec),
        ),
    ]


def ordered_sample(spec: ModelSpec) -> dict[str, Any]:
    """The sample row in the order of the columns; the database keeps no order of keys."""
    return {column.name: spec.sample[column.name] for column in spec.columns if column.name in spec.sample}


def curl(url: str, spec: ModelSpec, key_header: str = f'"x-api-key: ${KEY_VARIABLE}"') -> str:
    """For a POSIX shell. `key_header` is a shell word."""
    row = ordered_sample(spec)
    body = json.dumps({"rows": [row]}, ensure_ascii=False, indent=1 if len(row) > _FEW_COLUMNS else None)
    lines = [
        f"curl {shlex.quote(url)}",
        f"-H {key_header}",
        "-H 'content-type: application/json'",
        f"-d {shlex.quote(body)}",
    ]
    return " \\\n  ".join(lines)


def python(url: str, spec: ModelSpec) -> str:
    """Nothing but the standard library."""
    return "\n".join(
        [
            "import json, os, urllib.error, urllib.request",
            "",
            f"rows = [{_laid_out(ordered_sample(spec), repr)}]",
            "request = urllib.request.Request(",
            f"    {url!r},",
            '    data=json.dumps({"rows": rows}).encode(),',
            f'    headers={{"x-api-key": os.environ["{KEY_VARIABLE}"], "content-type": "application/json"}},',
            ")",
            "try:",
            "    with urllib.request.urlopen(request, timeout=10) as reply:",
            "        print(json.load(reply))",
            "except urllib.error.HTTPError as refusal:",
            "    raise SystemExit(refusal.read().decode())",
        ]
    )


def javascript(url: str, spec: ModelSpec) -> str:
    """`fetch`, as Node.js and browsers have it."""
    return "\n".join(
        [
            f"const rows = [{_laid_out(ordered_sample(spec), _js)}];",
            f"fetch({_js(url)}, {{",
            '  method: "POST",',
            f'  headers: {{ "x-api-key": process.env.{KEY_VARIABLE}, "content-type": "application/json" }},',
            "  body: JSON.stringify({ rows }),",
            "})",
            "  .then((reply) => reply.json())",
            "  .then((answer) => console.log(JSON.stringify(answer)));",
        ]
    )


def power_query(url: str, spec: ModelSpec) -> str:
    """The table's own columns, and beside them what is predicted."""
    columns = ", ".join(_m(column.name) for column in spec.columns)
    answer = _power_query_answer(answer_shape(spec))
    return "\n".join(
        [
            "let",
            '    Key = "…",',
            f"    Url = {_m(url)},",
            '    Source = Excel.CurrentWorkbook(){[Name = "Rows"]}[Content],',
            f"    Columns = {{{columns}}},",
            "    Rows = Table.ToRecords(Table.SelectColumns(Source, Columns, MissingField.UseNull)),",
            "    Reply = Json.Document(Web.Contents(Url, [",
            '        Headers = [#"x-api-key" = Key, #"Content-Type" = "application/json"],',
            "        Content = Json.FromValue([rows = Rows])",
            "    ])),",
            f"    Answers = Table.FromRecords(List.Transform(Reply[predictions], each {answer})),",
            "    Result = Table.FromColumns(",
            "        Table.ToColumns(Source) & Table.ToColumns(Answers),",
            "        Table.ColumnNames(Source) & Table.ColumnNames(Answers)",
            "    )",
            "in",
            "    Result",
        ]
    )


def _power_query_answer(shape: AnswerShape) -> str:
    """A record of one prediction: the columns that stand beside the table's own."""
    if shape.classes:
        numbers = {"probabilities": " & [probabilities]", "scores": " & [scores]", "score": " & [score = [score]]"}
        return f"[prediction = [class]]{numbers.get(shape.numbers, '')}"
    return "[prediction = [value]]" if shape.has_one_target else "[values]"


def _laid_out(row: dict[str, Any], literal: Callable[[Any], str]) -> str:
    cells = [f"{literal(name)}: {literal(value)}" for name, value in row.items()]
    if len(cells) <= _FEW_COLUMNS:
        return "{" + ", ".join(cells) + "}"
    return "{\n    " + ",\n    ".join(cells) + ",\n}"


def _js(value: object) -> str:
    """JSON is JavaScript; the two line separators are escaped for old engines."""
    return json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _m(text: str) -> str:
    """A text literal of Power Query's language."""
    escaped = text.replace("#(", "#(#)(").replace('"', '""')
    for character, code in (("\r", "#(cr)"), ("\n", "#(lf)"), ("\t", "#(tab)")):
        escaped = escaped.replace(character, code)
    return f'"{escaped}"'
