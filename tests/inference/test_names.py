"""No column is lost because another system spells its name differently."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.names import Names, fold


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("âge", "a\u0302ge"),
        ("ガス", "ｶﾞｽ"),
        ("pH", "\uff50\uff28"),
        ("hr", " hr "),
        ("hr", "\ufeffhr"),
        ("body mass", "body\u00a0mass"),
        ("body mass", "body\u3000mass"),
        ("hr", "h\u200br"),
        ("한국", unicodedata.normalize("NFD", "한국")),
    ],
)
def test_what_looks_the_same_is_the_same(name: str, spelt: str) -> None:
    assert Names([name, "other"]).find(spelt) == name
    assert Names([spelt, "other"]).find(name) == spelt


@pytest.mark.parametrize(("name", "other"), [("pH", "ph"), ("x²", "x2"), ("ﬁt", "fit"), ("a  b", "a b"), ("a", "b")])
def test_what_looks_different_is_different(name: str, other: str) -> None:
    assert Names([name]).find(other) is None


def test_names_that_would_collide_are_matched_exactly_only() -> None:
    names = Names(["a", " a", "b"])

    assert (names.find("a"), names.find(" a"), names.find("a "), names.find("b ")) == ("a", " a", None, "b")


@given(st.text(max_size=12), st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", " ", "\u3000", "\u200b"]))
def test_every_spelling_of_a_name_finds_it(name: str, form: str, blank: str) -> None:
    spelt = blank + unicodedata.normalize(form, name) + blank  # type: ignore[arg-type]

    assert Names([name]).find(spelt) == name


@given(st.text(max_size=12))
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
