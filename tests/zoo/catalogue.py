"""The entries of the zoo, as `make.py` wrote them."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

MODELS = Path(__file__).parent / "models"

Row = dict[str, Any]


class Refusal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`code`: as `DescriptionRefused` has it; "" where it is the file itself: `words` of the sentence then."""

    field: str
    code: str = ""
    words: str = ""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model, and what its own library predicts for `rows`. See `making.Entry`, which writes it."""

    made: str
    rows: list[Row]
    metadata: dict[str, Any] | None = None
    labels: list[str] | None = None
    classes: list[str] = []
    probabilities: list[list[float]] | None = None
    scores: list[list[float] | float] | None = None
    values: dict[str, list[float]] | None = None
    refused: Refusal | None = None
    tolerance: float = 1e-4
    is_row_wise: bool = False
    confirmed: list[str] = []
    """What only its owner can say, and does."""
    ending: str = ".onnx"

    @property
    def is_converted(self) -> bool:
        """By the console: the file is in another format."""
        return self.ending != ".onnx"

    @property
    def sample_csv(self) -> bytes:
        return table_csv(self.rows)

    @property
    def metadata_json(self) -> bytes | None:
        return None if self.metadata is None else json.dumps(self.metadata).encode()

    @property
    def kind(self) -> str:
        """What stands on the wire beside the class, if anything; of a regression, its values."""
        if self.values is not None:
            return "values"
        return "probabilities" if self.probabilities is not None else "scores" if self.scores is not None else "label"


@cache
def entry(name: str) -> Entry:
    return msgspec.json.decode((MODELS / f"{name}.json").read_bytes(), type=Entry)


def path_of(name: str) -> Path:
    return MODELS / f"{name}{entry(name).ending}"


ALL = sorted(path.stem for path in MODELS.glob("*.json"))
SERVED = [name for name in ALL if entry(name).refused is None]
REFUSED = [name for name in ALL if entry(name).refused is not None]


def table_csv(rows: list[Row]) -> bytes:
    """Missing values are empty cells; a number has the digits that bring it back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: "" if cell is None else cell for key, cell in row.items()} for row in rows)
    return text.getvalue().encode()
