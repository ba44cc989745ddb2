"""What the console asks of an inspection child."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from contract.meaning import Label, Meaning, Note, Role
from contract.model_spec import Cell, ModelSpec, Task
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


class QuestionFound(msgspec.Struct, frozen=True):
    """See `inference.meaning.roles.Question`."""

    code: str
    output: str
    choices: tuple[Role, ...] = ()
    tasks: tuple[Task, ...] = ()
    seen: tuple[Label, ...] = ()
    n_classes: int | None = None


class CheckFound(msgspec.Struct, frozen=True):
    """See `inference.meaning.checks.Check`. `row`: the row that broke it."""

    code: str
    outcome: Literal["passed", "told", "refused"]
    row: dict[str, Cell] | None = None
    params: dict[str, Any] = {}


class ModelStudied(Response, frozen=True, kw_only=True):
    """What was found out, or the `refusal`: what is stated contradicts the graph, or it can't be served.

    `n_rows` were tried; `failures` says what the model said of made-up rows that it could not compute.
    """

    refusal: Note | None = None
    task: Task = "regression"
    meaning: Meaning | None = None
    class_origin: str = ""
    questions: tuple[QuestionFound, ...] = ()
    checks: tuple[CheckFound, ...] = ()
    n_rows: int = 0
    failures: tuple[str, ...] = ()


class StudyModel(Request[ModelStudied], frozen=True, kw_only=True):
    """Try the file to find out what its outputs mean. `spec`: columns, layout and sample row; the rest is stated.

    `class_list`: names in the graph's own order; `class_names`: by label. `labels`: the graph's lists, by output.
    """

    path: str
    spec: ModelSpec
    task: Task | None = None
    roles: dict[str, Role] = {}
    class_list: tuple[str, ...] = ()
    class_names: dict[str, str] = {}
    targets: tuple[str, ...] = ()
    labels: dict[str, tuple[Label, ...]] = {}
    rows: tuple[dict[str, Cell], ...] = ()


class FileConverted(Response, frozen=True):
    """The ONNX file was written."""

    size_bytes: int


class ConvertFile(Request[FileConverted], frozen=True):
    """Make one ONNX file of a file of another format, into the open file that comes with the request.

    `kind`: see `inference.conversion.conversion.converted`. `rows`: the owner's, to compare the two models on.
    """

    path: str
    kind: str
    rows: tuple[dict[str, Cell], ...] = ()


class MeaningFrozen(Response, frozen=True):
    """What the rules by name have always picked."""

    meaning: Meaning


class FreezeMeaning(Request[MeaningFrozen], frozen=True):
    """Write down what a version without a meaning means. `signature`: the file's."""

    path: str
    spec: ModelSpec
    signature: Signature


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The model's answers held against the target of a labelled sample of `rows` rows.

    Of a classification: how many agree, the confusion table (lines: the target, columns: the answer, by `names`), and
    where the target has other names, the mapping that it suggests. Of a regression: R² and the mean absolute error.
    """

    rows: int
    agreeing: int | None = None
    names: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    proposal: dict[str, str] = {}
    r2: float | None = None
    mean_error: float | None = None


class RowsTried(Response, frozen=True):
    """Each row's prediction as the gateway would answer it."""

    predictions: tuple[dict[str, Any], ...]
    agreement: Agreement | None


class TryRows(Request[RowsTried], frozen=True):
    """Predict rows with the finished description. `targets`: what each of them should be, as text, if it is known.

    The first `shown` predictions come back.
    """

    path: str
    spec: ModelSpec
    rows: tuple[dict[str, Cell], ...]
    targets: tuple[str, ...]
    shown: int
