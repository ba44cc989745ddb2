"""What a model answered to its owner's rows, as the review shows it: answers, checks, agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from apimgmt.registry.agreement import in_words_of_sample, words_of_sample
from apimgmt.registry.drafts import Found
from apimgmt.registry.meaning_sentences import check_sentence, check_title
from apimgmt.registry.review.classes import ClassRow
from apimgmt.templatetags.console import figure
from contract.model_spec import Cell
from inference.meaning.expected import ExpectedClasses
from inference.sandbox.inspection_messages import CheckFound

MOST_CLASS_COLUMNS = 6
"""With more classes a row shows its three highest numbers only."""
MOST_CONFUSED = 20


@dataclass(frozen=True)
class Shown:
    """A cell, or a heading. `own_label`: what the model itself says, where callers see another name."""

    text: str
    own_label: str = ""
    is_number: bool = False


@dataclass(frozen=True)
class TriedRow:
    """One row. `expected`: what the sample says; `is_other`: the model says otherwise."""

    number: int
    answers: list[Shown]
    expected: str
    is_other: bool
    cells: list[Shown]


@dataclass(frozen=True)
class TriedTable:
    """Answers first: in a wide table they stay in sight."""

    answer_names: list[Shown]
    column_names: list[Shown]
    has_target: bool
    rows: list[TriedRow]

    @property
    def has_own_labels(self) -> bool:
        return any(
            shown.own_label for shown in [*self.answer_names, *(answer for row in self.rows for answer in row.answers)]
        )


def tried_table(found: Found, classes: Sequence[ClassRow]) -> TriedTable:
    """The rows that were tried, at most as many as the findings have. `classes`: as the form names them."""
    shown = {one.found: _class_shown(one) for one in classes}
    findings = found.findings
    columns = [Shown(column.name, is_number=column.type in {"float", "int"}) for column in found.spec.columns]
    names = _answer_names(findings.predictions)
    targets = found.owned.fitting(found.spec).targets[: len(findings.rows)]
    rows = [
        TriedRow(
            number=index + 1,
            answers=[_answer(prediction, name, shown) for name in names],
            expected=targets[index] if targets else "",
            is_other=bool(targets) and _is_other(found, prediction, targets[index]),
            cells=[Shown(cell_shown(row.get(column.text)), is_number=column.is_number) for column in columns],
        )
        for index, (row, prediction) in enumerate(zip(findings.rows, findings.predictions, strict=False))
    ]
    headings = [_heading(name, found, shown) for name in names]
    if rows:  # a heading stands over its numbers
        headings = [replace(one, is_number=cell.is_number) for one, cell in zip(headings, rows[0].answers, strict=True)]
    return TriedTable(headings, columns, bool(targets), rows)


def _class_shown(one: ClassRow) -> Shown:
    name = one.name or one.found
    return Shown(name, one.label if one.label != name else "")


def _answer_names(predictions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(member of a prediction, key within it) for each column of answers."""
    if not predictions:
        return []
    names = []
    for member, value in predictions[0].items():
        if not isinstance(value, dict):
            names.append((member, ""))
        elif member == "values" or len(value) <= MOST_CLASS_COLUMNS:
            names += [(member, key) for key in value]
        else:
            names.append((member, ""))
    return names


def _heading(name: tuple[str, str], found: Found, shown: Mapping[str, Shown]) -> Shown:
    member, key = name
    if key:
        return Shown(key) if member == "values" else shown.get(key, Shown(key))
    return Shown(found.spec.target if member in {"class", "value"} else member)


def _answer(prediction: Mapping[str, Any], name: tuple[str, str], shown: Mapping[str, Shown]) -> Shown:
    member, key = name
    value = prediction.get(member)
    if member == "class":
        said = cell_shown(value)
        return shown.get(said, Shown(said))
    if not isinstance(value, dict):
        return _cell(value)
    if key:
        return _cell(value.get(key))
    highest = sorted(value.items(), key=lambda pair: -pair[1])[:3]
    return Shown(", ".join(f"{shown.get(label, Shown(label)).text}: {number:.4g}" for label, number in highest))


def _cell(value: Cell) -> Shown:
    return Shown(cell_shown(value), is_number=isinstance(value, int | float) and not isinstance(value, bool))


def cell_shown(value: Cell) -> str:
    """A cell or a number as the page shows it."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if abs(value) < 1 else figure(value)


def _is_other(found: Found, prediction: Mapping[str, Any], expected: str) -> bool:
    answered: str | None = prediction.get("class")
    agreement, meaning = found.findings.agreement, found.spec.meaning
    words = words_of_sample(agreement, meaning) if agreement and meaning else {}
    said = ExpectedClasses(found.spec.classes).read(expected)
    return answered is not None and said is not None and words.get(answered, answered) != said


@dataclass(frozen=True)
class CheckLine:
    """One check. `broken`: the sentence of what broke it, "" if it passed."""

    title: str
    broken: str
    code: str = ""

    @property
    def is_agreement(self) -> bool:
        return self.code == "agreement"


def check_lines(checks: Sequence[CheckFound]) -> list[CheckLine]:
    """Each check once, although it may have looked at several outputs; what is told stands apart."""
    told = [
        CheckLine(check_title(check), check_sentence(check), check.code)
        for check in checks
        if check.outcome != "passed"
    ]
    titles = dict.fromkeys(check_title(check) for check in checks if check.outcome == "passed")
    return [CheckLine(title, "") for title in titles if title not in {line.title for line in told}] + told


@dataclass(frozen=True)
class ConfusionLine:
    """One class of the sample. `cells`: (count, the answer is this class)."""

    name: str
    cells: list[tuple[int, bool]]


@dataclass(frozen=True)
class AgreementView:
    """How the answers agree with the sample's target."""

    rows: int
    agreeing: int | None
    r2: float | None
    mean_error: float | None
    names: list[str]
    lines: list[ConfusionLine]
    n_left_out: int


def agreement_view(found: Found) -> AgreementView | None:
    """None without a labelled sample."""
    if found.findings.agreement is None:
        return None
    agreement = in_words_of_sample(found.findings.agreement, found.spec.meaning)
    names = list(agreement.names[:MOST_CONFUSED])
    lines = [_confusion_line(name, row, agreement.counts[row][: len(names)]) for row, name in enumerate(names)]
    return AgreementView(
        rows=agreement.rows,
        agreeing=agreement.agreeing,
        r2=agreement.r2,
        mean_error=agreement.mean_error,
        names=names,
        lines=lines,
        n_left_out=max(0, len(agreement.names) - MOST_CONFUSED),
    )


def _confusion_line(name: str, row: int, counts: Sequence[int]) -> ConfusionLine:
    return ConfusionLine(name, [(count, column == row) for column, count in enumerate(counts)])
