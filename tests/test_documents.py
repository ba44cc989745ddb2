"""Files and modules that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ["architecture.md", "gateway.md", "console.md", "life-cycle.md", "model-meaning.md", "request-formats.md"]
PATH = re.compile(
    r"`((?:apimgmt|console|contract|gateway|inference|runtime|testkit|drills|benchmarks|demo)/[\w/]+\.py)\b"
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_a_document_names_is_there(name: str) -> None:
    named = set(PATH.findall((ROOT / "docs" / name).read_text()))

    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_the_three_journeys_are_lists_of_files() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    journeys = text[text.index("## Three journeys") : text.index("## How a change reaches")]

    steps = re.findall(r"^\d+\. `([^`]+)`", journeys, re.MULTILINE)

    assert len(steps) > 30
    assert all((ROOT / step).is_file() for step in steps)
