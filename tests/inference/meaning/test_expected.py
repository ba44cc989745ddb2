"""A target is read as its owner means it: as a class's name, its number, or a gap."""

from __future__ import annotations

import numpy as np
import pytest

from inference.meaning.expected import ExpectedClasses, expected_numbers


@pytest.mark.parametrize(
    ("names", "text", "read"),
    [
        (["1", "2"], "1.0", "1"),
        (["1", "2"], "2e0", "2"),
        (["1", "2"], "1.5", "1.5"),
        (["1", "2"], "3.0", "3.0"),
        (["-1", "1"], "-1.0", "-1"),
        (["0", "1.0"], "1.0", "1.0"),
        (["a", "b"], "", None),
        (["a", "b"], "NA", None),
        (["a", "NA"], "NA", "NA"),
        ([" Private", "State"], "Private", " Private"),
        (["a", "b"], "c", "c"),
        (["0", "1"], "inf", "inf"),
        (["0", "1"], "nan", None),
        (["0", "1"], "1e400", "1e400"),
    ],
)
def test_a_target_is_a_class(names: list[str], text: str, read: str | None) -> None:
    assert ExpectedClasses(names).read(text) == read


def test_a_target_is_a_number() -> None:
    assert np.array_equal(expected_numbers(["1", "", "2.5"]), [1, np.nan, 2.5], equal_nan=True)
    assert expected_numbers(["1", "x"]) is None
    assert expected_numbers(["", "NA"]) is None
    assert expected_numbers(["1", "inf"]) is None
