"""What fuzzing found, each a file in `fuzzing/cases`, and honest bodies as a fuzzer begins with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inference.fuzzing.target import FORMATS, predictors, read_body, seeds

CASES = sorted((Path(__file__).parent / "fuzzing" / "cases").iterdir())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_a_body_that_was_found_is_answered_or_refused(path: Path) -> None:
    assert read_body(path.read_bytes()) in {"answered", "malformed_body", "invalid_rows", "model_failed"}


def test_honest_bodies_are_answered() -> None:
    """Else a fuzzer would begin far from where it has to go."""
    assert len(seeds()) == len(FORMATS) * len(predictors())
    assert {read_body(seed) for seed in seeds()} == {"answered"}
