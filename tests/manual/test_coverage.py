"""docs/manual-coverage.md names, for each sentence of the manual, the tests that keep it true: it is checked here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SENTENCES = 53
_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.*) \|$", re.MULTILINE)


def rows() -> list[tuple[int, str, list[str]]]:
    """Number, sentence and tests of each row."""
    text = (ROOT / "docs" / "manual-coverage.md").read_text()
    return [(int(number), sentence, re.findall("`([^`]+)`", tests)) for number, sentence, tests in _ROW.findall(text)]


@cache
def collected_in(file: str) -> frozenset[str]:
    """The tests that pytest collects from the file."""
    path = ROOT / file
    assert path.name.startswith("test_"), f"{file} is not collected"
    assert path.is_file(), f"{file} is not there"
    body = ast.parse(path.read_text()).body
    functions = (node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_no_sentence_is_left_out():
    assert [number for number, _sentence, _tests in rows()] == list(range(1, SENTENCES + 1))


def test_each_sentence_has_a_test():
    assert [number for number, _sentence, tests in rows() if not tests] == []


def test_each_test_that_is_named_exists():
    named = {test for _number, _sentence, tests in rows() for test in tests}
    missing = sorted(test for test in named if test.partition("::")[2] not in collected_in(test.partition("::")[0]))

    assert missing == []
