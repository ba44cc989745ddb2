"""What the console asks of an inspection child."""

from __future__ import annotations

from typing import Any

from contract.model_spec import ModelSpec
from inference.sandbox.protocol import Request, Response
from inference.signature import Signature


class SignatureRead(Response, frozen=True):
    """Everything the graph tells."""

    signature: Signature


class ReadSignature(Request[SignatureRead], frozen=True):
    """For a description that is still to be made."""

    path: str


class DescriptionFits(Response, frozen=True):
    """The file was loaded as it is described."""


class CheckDescription(Request[DescriptionFits], frozen=True):
    """Load the file and compare it with its description."""

    path: str
    spec: ModelSpec


class NullableColumns(Response, frozen=True):
    """Columns for which a missing value still gives a usable prediction."""

    names: tuple[str, ...]


class ProbeNullable(Request[NullableColumns], frozen=True):
    """Which of the columns called `names` may be missing: tried on the sample row."""

    path: str
    spec: ModelSpec
    names: tuple[str, ...]


class SelfTest(Response, frozen=True):
    """The sample row's prediction as the gateway would answer it, and the time of one row in the model."""

    prediction: dict[str, Any]
    row_us: float


class RunSelfTest(Request[SelfTest], frozen=True):
    """Predict the sample row and measure it."""

    path: str
    spec: ModelSpec
