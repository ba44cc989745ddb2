"""The interactive page of one API, as HTML: columns, a form that sends a real request, calls to copy, errors.

Plain text with everything escaped; scripts and styles are files of their own, because the page forbids inline ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Final

from contract.model_spec import Column, ModelSpec
from contract.problems import PROBLEM_TYPES
from inference.answers import answer_shape
from inference.formats.description.answers import sample_json
from inference.formats.description.columns import ColumnNote, describe_columns
from inference.formats.description.info import ApiInfo, FormatInfo
from inference.formats.description.schemas import WARNINGS_HEADER
from inference.formats.description.snippets import Snippet, ordered_sample, snippets

_KINDS: Final = {"float": "number", "int": "whole number", "string": "text", "bool": "true or false"}
_MOST_FIELDS: Final = 200  # beyond that the form is one text box


def page(info: ApiInfo, formats: Sequence[FormatInfo]) -> str:
    """The whole document."""
    spec = info.spec
    name = info.name or info.api_id
    url = f"{info.base_url}/predict"
    calls = snippets(url, spec)
    contents = [
        ("columns", "Columns"),
        ("try", "Try it"),
        ("answer", "Answer"),
        *((call.name, call.title) for call in calls),
    ]
    contents += [("formats", "Formats"), ("errors", "Errors")]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)} · prediction API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/tokens.css">
<link rel="stylesheet" href="docs/base.css">
<link rel="stylesheet" href="docs/docs.css">
<script src="docs/docs.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<main class="main" id="content">
<div class="page-head"><div class="page-title"><h1>{escape(name)}</h1>
<p class="muted">Version {escape(info.version)}. {escape(_purpose(spec))}</p></div></div>
<div class="docs">
<nav class="contents" aria-label="On this page"><ul>{"".join(_link(*item) for item in contents)}</ul></nav>
<div class="docs-text">
{_address(url)}
{_columns(spec)}
{_form(spec)}
{_answer(spec)}
{"".join(_snippet(call) for call in calls)}
{_formats(info, name, formats)}
{_errors(info)}
</div>
</div>
</main>
</body>
</html>
"""


def _purpose(spec: ModelSpec) -> str:
    said = f"{spec.description.rstrip('.')}. " if spec.description else ""
    classes = f": {', '.join(spec.classes)}" if spec.classes else ""
    return f"{said}Predicts {spec.target}{classes}."


def _link(anchor: str, title: str) -> str:
    return f'<li><a href="#{anchor}">{escape(title)}</a></li>'


def _section(anchor: str, title: str, content: str) -> str:
    return f'<section class="doc" id="{anchor}"><h2>{escape(title)}</h2>\n{content}\n</section>'


def _code(anchor: str, text: str, label: str) -> str:
    button = (
        f'<button class="button small" type="button" data-copy="{anchor}" hidden aria-label="Copy {escape(label)}">'
        "Copy</button>"
    )
    return f'<div class="code copyable">{button}<pre id="{anchor}" tabindex="0">{escape(text)}</pre></div>'


def _address(url: str) -> str:
    return _section(
        "address",
        "Address",
        f"{_code('address-url', f'POST {url}', 'the address')}"
        "<p>The key goes in the header <code>x-api-key</code>. The caller's address must be on the IP whitelist.</p>",
    )


def _columns(spec: ModelSpec) -> str:
    notes = describe_columns(spec)
    has_unit = any(note.unit for note in notes)
    heads = ["Column", *_column_heads(has_unit=has_unit)]
    head = "".join(f'<th scope="col">{title}</th>' for title in heads)
    rows = "".join(_column_row(note, has_unit=has_unit) for note in notes)
    return _section(
        "columns",
        "Columns",
        "<p>Columns are found by name, in any order. Others are ignored, unless one looks like a misspelt name. "
        "A column that is not required may be left out or null.</p>"
        f'<div class="table-wrap"><table class="table cards"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>",
    )


def _column_heads(*, has_unit: bool) -> list[str]:
    return ["Type", "Required", "In training", *(["Unit"] if has_unit else []), "Example"]


def _column_row(note: ColumnNote, *, has_unit: bool) -> str:
    example = "" if note.example is None else json.dumps(note.example, ensure_ascii=False).strip('"')
    cells = [
        note.expected,
        "yes" if note.is_required else "no",
        note.values,
        *([note.unit] if has_unit else []),
        example,
    ]
    heads = _column_heads(has_unit=has_unit)
    shown = "".join(f'<td data-label="{head}">{escape(cell)}</td>' for head, cell in zip(heads, cells, strict=True))
    return f'<tr><th scope="row" class="mono">{escape(note.name)}</th>{shown}</tr>'


# --- the form -------------------------------------------------------------------------------------------------------


def _form(spec: ModelSpec) -> str:
    if len(spec.columns) > _MOST_FIELDS:
        row = escape(json.dumps(ordered_sample(spec), ensure_ascii=False, indent=1))
        fields = (
            '<div class="field"><label for="row">Row, as JSON</label>'
            f'<textarea class="textarea mono" id="row" name="row" rows="12">{row}</textarea></div>'
        )
    else:
        made = "".join(_field(index, column, spec) for index, column in enumerate(spec.columns))
        fields = f'<div class="try-fields">{made}</div>'
    return _section(
        "try",
        "Try it",
        "<p>Sends one real request from this browser. It is counted, and a trial's quota is charged for it.</p>"
        '<p id="try-without">This form needs JavaScript. The calls below do not.</p>'
        '<form id="try-form" data-url="predict" autocomplete="off" hidden>'
        '<div class="field"><label for="key">API key</label>'
        '<input class="input mono" id="key" type="password" autocomplete="off" spellcheck="false">'
        '<p class="field-help">The key stays on this page. Leave it empty if the browser asked for it when you '
        "opened the page.</p></div>"
        f"{fields}"
        '<div class="form-actions"><button class="button primary" type="submit">Send</button></div>'
        '<div id="try-reply" class="stack-s" role="status" aria-live="polite"></div></form>',
    )


def _field(index: int, column: Column, spec: ModelSpec) -> str:
    value = spec.sample.get(column.name)
    help_text = " · ".join(
        word for word in (_KINDS[column.type], column.unit or "", "" if column.nullable else "required") if word
    )
    common = f'id="c{index}" data-column="{escape(column.name)}" data-type="{column.type}"'
    if column.type == "bool":
        options = [("", ""), ("true", "true"), ("false", "false")]
        chosen = {True: "true", False: "false"}.get(value, "") if isinstance(value, bool) else ""
        listed = "".join(f'<option value="{v}"{" selected" * (v == chosen)}>{t}</option>' for v, t in options)
        control = f'<select class="select" {common}>{listed}</select>'
    else:
        shown = "" if value is None else escape(str(value))
        mode = "" if column.type == "string" else ' inputmode="decimal"'
        suggestions = f' list="l{index}"' if column.categories else ""
        control = f'<input class="input" {common}{mode}{suggestions} value="{shown}">'
        if column.categories:
            options_html = "".join(f'<option value="{escape(name)}"></option>' for name in column.categories)
            control += f'<datalist id="l{index}">{options_html}</datalist>'
    label = f'<label for="c{index}">{escape(column.name)} <span class="optional">{escape(help_text)}</span></label>'
    return f'<div class="field">{label}{control}</div>'


# --- the rest -------------------------------------------------------------------------------------------------------


_SAYS: Final = {
    "probabilities": "The class that the model names, and the probability of each class.",
    "scores": "The class that the model names, and the score of each class. Scores are no probabilities.",
    "score": "The class that the model names, and its score, which is no probability.",
    "": "The class that the model names.",
}


def _answer(spec: ModelSpec) -> str:
    shape = answer_shape(spec)
    words = _SAYS[shape.numbers]
    if shape.targets:
        words = "The predicted value." if shape.has_one_target else "The predicted values, by name."
    return _section(
        "answer",
        "Answer",
        f"<p>{words} One prediction a row, in the order of the rows. The numbers here are made up.</p>"
        f"{_code('answer-json', sample_json(spec), 'the answer')}"
        f"<p>The header <code>{WARNINGS_HEADER}</code> says how many values the model was not made for: unknown "
        "categories, numbers out of range or too long. With JSON rows <code>warnings</code> lists them. "
        "Neither is there where there is nothing to tell.</p>",
    )


def _snippet(call: Snippet) -> str:
    return _section(
        call.name, call.title, f"<p>{escape(call.before)}</p>{_code(f'{call.name}-call', call.text, call.title)}"
    )


def _formats(info: ApiInfo, name: str, formats: Sequence[FormatInfo]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.title)}<span class="path">POST /{escape(one.path.format(model=name))}</span>'
        f'</th><td data-label="Body">{escape(one.body)}</td>'
        f'<td data-label="Answer">{escape(one.answer(answer_shape(info.spec)))}</td></tr>'
        for one in formats
        if one.is_for(info.spec)
    )
    return _section(
        "formats",
        "Formats",
        f"<p>One key, one count and one quota for all of them. Paths are below <code>{escape(info.base_url)}</code>; "
        '<a href="openapi.json">openapi.json</a> has every path with its schema.</p>'
        '<div class="table-wrap"><table class="table cards formats"><thead><tr><th scope="col">Format</th>'
        f'<th scope="col">Body</th><th scope="col">Answer</th></tr></thead><tbody>{rows}</tbody></table></div>',
    )


def _errors(info: ApiInfo) -> str:
    rows = "".join(
        f'<tr id="{kind.code}"><th scope="row" class="mono">{kind.code}</th>'
        f'<td class="number" data-label="Status">{kind.status}</td>'
        f'<td data-label="When">{escape(kind.when.replace("`", ""))}</td></tr>'
        for kind in PROBLEM_TYPES.values()
    )
    return _section(
        "errors",
        "Errors",
        '<div class="table-wrap"><table class="table cards"><thead><tr><th scope="col">code</th>'
        '<th scope="col" class="number">Status</th>'
        f'<th scope="col">When</th></tr></thead><tbody>{rows}</tbody></table></div>',
    )
