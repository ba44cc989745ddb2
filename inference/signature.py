"""What a model file takes and gives, in words that no engine owns: engines make these, everybody else reads them."""

from __future__ import annotations

from typing import Literal

import msgspec

from contract.meaning import Label

Kind = Literal["float", "int", "string", "bool", "map", "other"]
"""What one element is; "map": one mapping a row, from class to probability, as converters' ZipMap makes."""


class NotServable(Exception):
    """The model can't be served here. `str()` is the sentence for its owner; it names the input or output at fault."""


class Port(msgspec.Struct, frozen=True):
    """One input or output of a model.

    `type`: the engine's own name for it, for messages. `dims`: None for a size that is left open; no dims at all for
    what is no tensor.
    """

    name: str
    type: str
    dims: tuple[int | None, ...] | None
    kind: Kind

    @property
    def width(self) -> int | None:
        """Columns of a matrix; None if it is none, or leaves its width open."""
        return self.dims[1] if self.dims is not None and len(self.dims) == 2 else None

    def shape(self) -> str:
        return "[" + ", ".join("n" if size is None else str(size) for size in self.dims or ()) + "]"


class InputCategories(msgspec.Struct, frozen=True):
    """What the model itself lists for one column: an input's, or that at a position of a matrix.

    `takes_others`: it computes with a value that is in no list; else it fails on it.
    """

    input: str
    position: int
    values: tuple[str | int, ...]
    takes_others: bool


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The model as it is. `labels` are its own class labels, in the order of the probabilities, behind each output
    that has such a list.

    `likely_width`: columns of a matrix whose width is left open, as its first users tell. `metadata`: the text of a
    metadata file that the model carries in itself, as converted ones do; "" without one.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    labels: dict[str, tuple[Label, ...]] = {}
    likely_width: int | None = None
    treats_missing: bool = False
    categories: tuple[InputCategories, ...] = ()
    metadata: str = ""

    @property
    def width(self) -> int | None:
        """Columns of the one matrix; None if there is none, or its width is left open."""
        return self.inputs[0].width if len(self.inputs) == 1 else None
