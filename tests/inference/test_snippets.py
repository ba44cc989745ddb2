"""The calls people copy: no name or value, however odd, breaks out of its place."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess

import pytest

from inference.formats.description.snippets import Snippet, snippets
from tests.model_files import spec_of

ODD = {"it's": "string", 'a "quoted" #(lf)': "string", "back\\slash": "float", "new\nline": "float", "名前": "string"}
SAMPLE = {
    "it's": "$(x) `y` %",
    'a "quoted" #(lf)': "</script>",
    "back\\slash": 1.5,
    "new\nline": -2.0,
    "名前": "\u2028東",
}
URL = "http://127.0.0.1:1/apis/x/predict"


@pytest.fixture(scope="module")
def calls() -> dict[str, Snippet]:
    return {call.name: call for call in snippets(URL, spec_of(ODD, SAMPLE))}  # type: ignore[arg-type]


def test_curl_is_one_command_with_the_row_as_its_data(calls: dict[str, Snippet]) -> None:
    words = shlex.split(calls["curl"].text)

    assert words[:2] == ["curl", URL]
    assert "x-api-key: $API_KEY" in words
    assert json.loads(words[words.index("-d") + 1]) == {"rows": [SAMPLE]}


def test_python_parses_and_holds_the_row(calls: dict[str, Snippet]) -> None:
    tree = ast.parse(calls["python"].text)

    rows = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(rows) == [SAMPLE]


def test_power_query_names_every_column(calls: dict[str, Snippet]) -> None:
    text = calls["powerquery"].text

    assert '{"it\'s", "a ""quoted"" #(#)(lf)", "back\\slash", "new#(lf)line", "名前"}' in text
    assert text.count("(") == text.count(")") or "#(" in text
    assert "[prediction = [value]]" in text
    classes = spec_of(ODD, SAMPLE, task="binary", classes=("a", "b"))  # type: ignore[arg-type]
    assert "each [prediction = [class]] & [probabilities]" in snippets(URL, classes)[3].text


def test_javascript_parses(calls: dict[str, Snippet]) -> None:
    script = calls["javascript"].text.replace(
        "fetch(", "(() => { console.log(JSON.stringify(rows)); return new Promise(() => {}); })("
    )

    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=30, check=True)

    assert json.loads(done.stdout) == [SAMPLE]
