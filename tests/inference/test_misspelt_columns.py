"""A column that may be missing but was sent under a name nearly the same: a typo, not a missing value."""

from __future__ import annotations

import json
from difflib import get_close_matches

import pytest

from contract.model_spec import spec_from_json
from contract.problems import Problem
from contract.settings import PROJECT_DIR
from inference.formats import cells, choose
from inference.predictor import Predictor

MODELS = PROJECT_DIR / "demo" / "models"


@pytest.fixture(scope="module")
def penguins() -> Predictor:
    """All of its columns may be missing."""
    document = json.loads((MODELS / "penguins.json").read_text())
    return Predictor(MODELS / "penguins.onnx", spec_from_json(document), "onnx")


def decode(predictor: Predictor, body: bytes, content_type: bytes):
    request_format = choose("predict", {b"content-type": content_type})
    return request_format.decode(body, predictor)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"rows": [{"island": "Dream", "bill_lenght_mm": 46.5}]}', b"application/json"),
        (b"island,bill_lenght_mm\nDream,46.5\n", b"text/csv"),
    ],
)
def test_a_misspelt_column_is_refused_though_the_model_could_do_without(penguins, body, content_type):
    with pytest.raises(Problem) as refused:
        decode(penguins, body, content_type)

    (error,) = refused.value.errors
    assert (error.row, error.column, error.nearest) == (1, "bill_lenght_mm", "bill_length_mm")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"rows": [{"island": "Dream", "customer": "x", "bill_length_mm": null}]}', b"application/json"),
        (b'{"rows": [{}]}', b"application/json"),
        (b"customer,island\nx,Dream\n", b"text/csv"),
    ],
)
def test_an_extra_column_that_resembles_none_is_ignored(penguins, body, content_type):
    assert decode(penguins, body, content_type).table.n_rows == 1


def test_looking_for_typos_is_bounded_for_the_whole_request(penguins, monkeypatch):
    """Rows that each send other names would have them all compared, on the event loop."""
    compared: list[tuple[str, str]] = []

    def noted(word, possibilities, **options):
        compared.extend((word, name) for name in possibilities)
        return get_close_matches(word, possibilities, **options)

    monkeypatch.setattr(cells, "get_close_matches", noted)
    rows = [{"island": "Dream"} | {f"column_{row}_{number}": 1 for number in range(50)} for row in range(100)]

    assert decode(penguins, json.dumps({"rows": rows}).encode(), b"application/json").table.n_rows == 100
    assert 0 < len(compared) <= 500


def test_very_long_names_are_compared_with_nothing(penguins, monkeypatch):
    monkeypatch.setattr(cells, "get_close_matches", lambda *_, **__: pytest.fail("compared"))

    assert (
        decode(
            penguins, json.dumps({"rows": [{"island": "Dream", "x" * 65: 1}]}).encode(), b"application/json"
        ).table.n_rows
        == 1
    )
