"""What an Accept header prefers, and that a long one costs nothing."""

from __future__ import annotations

import pytest

from inference.formats.media import prefers

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        ("application/json", True),
        ("text/csv", False),
        ("", False),
        ("*/*", False),
        ("application/json;q=0.5, text/csv", False),
        ("text/csv;q=0.5, application/*", True),
        ("application/json;q=high", False),
        ("APPLICATION/JSON", True),
        ("application/json" + "," * 30_000, True),
        ("," * 30_000 + "application/json", False),  # nobody reads that far
    ],
)
def test_json_is_preferred_over_csv(accept: str, is_preferred: bool) -> None:
    assert prefers(accept, JSON, over=CSV) == is_preferred
