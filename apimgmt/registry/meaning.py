"""What a model's outputs mean, between the owner and the trial: what is stated goes in, what was found comes out.

The trial itself is `inference.meaning`, in the confined child. Here are the request for it, and what becomes of its
answer: the finished description, the questions that are left, or a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from django.utils.translation import gettext as _

from apimgmt.registry.meaning_sentences import check_sentence, question_sentence, refusal_sentence
from apimgmt.registry.metadata import DescriptionRefused, Metadata, StatedOutputs
from apimgmt.registry.sample_table import Learnt
from apimgmt.registry.spec_builder import Description
from contract.meaning import Meaning, Note, Role
from contract.model_spec import Cell, ModelSpec
from inference.sandbox.inspection_messages import Agreement, CheckFound, ModelStudied, QuestionFound, StudyModel
from inference.signature import Signature

MOST_COMPARED = 1000
"""Rows of a labelled sample that are held against their target; of more, a spread of so many."""
MOST_SHOWN = 20
"""Rows whose answers the owner sees before saving."""


@dataclass(frozen=True)
class Findings:
    """What was found out beside the description. With questions, the description can't be saved.

    `are_names_stated`: the owner has said what callers see of the classes.
    """

    questions: tuple[QuestionFound, ...] = ()
    checks: tuple[CheckFound, ...] = ()
    notes: tuple[Note, ...] = ()
    n_rows: int = 0
    predictions: tuple[dict[str, Any], ...] = ()
    rows: tuple[dict[str, Cell], ...] = ()
    agreement: Agreement | None = None
    are_names_stated: bool = False

    @property
    def are_classes_unknown(self) -> bool:
        return any(question.code == "classes" for question in self.questions)


class SampleRows(msgspec.Struct, frozen=True):
    """Rows of the owner's, and the target of each as text, where the sample has it."""

    rows: tuple[dict[str, Cell], ...] = ()
    targets: tuple[str, ...] = ()

    def fitting(self, spec: ModelSpec) -> SampleRows:
        """Those without a gap in a column that has to be there."""
        required = [column.name for column in spec.columns if not column.nullable]
        kept = [index for index, row in enumerate(self.rows) if all(row.get(name) is not None for name in required)]
        targets = tuple(self.targets[index] for index in kept) if self.targets else ()
        return SampleRows(tuple(self.rows[index] for index in kept), targets)

    def renamed(self, names: Mapping[str, str]) -> SampleRows:
        """With columns that were given other names since."""
        return SampleRows(tuple({names[name]: cell for name, cell in row.items()} for row in self.rows), self.targets)


def sample_rows(learnt: Learnt | None) -> SampleRows:
    """A spread of the sample's rows; those that are shown come first, and are a spread of all, too.

    Files are often sorted by what is predicted: their first twenty rows would have one class.
    """
    if learnt is None:
        return SampleRows()
    order = _spread(range(len(learnt.rows)), MOST_COMPARED)
    first = _spread(order, MOST_SHOWN)
    shown = set(first)
    order = [*first, *(index for index in order if index not in shown)]
    targets = tuple(learnt.targets[index] for index in order) if learnt.targets else ()
    return SampleRows(tuple(learnt.rows[index] for index in order), targets)


def _spread(indexes: Sequence[int], most: int) -> list[int]:
    """At most so many, evenly from the first to the last."""
    if len(indexes) <= most:
        return list(indexes)
    last = len(indexes) - 1
    return [indexes[round(position * last / (most - 1))] for position in range(most)]


def study_request(path: str, spec: ModelSpec, signature: Signature, metadata: Metadata, rows: SampleRows) -> StudyModel:
    """Raises `DescriptionRefused` for an output that is to have two roles."""
    roles, targets = _roles_and_targets(signature, metadata.outputs or StatedOutputs())
    classes = metadata.classes
    return StudyModel(
        path=path,
        spec=spec,
        task=metadata.task or ("regression" if targets else None),  # who names targets says that numbers are predicted
        roles=roles,
        class_list=classes if isinstance(classes, tuple) else (),
        class_names=classes if isinstance(classes, dict) else {},
        targets=targets,
        labels=signature.labels,
        rows=rows.fitting(spec).rows,
    )


def _roles_and_targets(signature: Signature, stated: StatedOutputs) -> tuple[dict[str, Role], tuple[str, ...]]:
    """`value` lists outputs, or the names of the numbers that are predicted."""
    names = {port.name for port in signature.outputs}
    single: dict[Role, str | None] = {
        "label": stated.label,
        "probabilities": stated.probabilities,
        "scores": stated.scores,
    }
    pairs: list[tuple[str, Role]] = [(name, role) for role, name in single.items() if name is not None]
    pairs += [(name, "ignored") for name in stated.ignored]
    targets = stated.targets
    if targets or set(stated.values) <= names or len(stated.values) == 1:
        pairs += [(name, "value") for name in stated.values]
    else:
        targets = stated.values
    given = [name for name, _role in pairs]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise DescriptionRefused("outputs", [_("outputs: %s has two roles.") % ", ".join(twice)])
    return dict(pairs), targets


def with_meaning(description: Description, found: ModelStudied, metadata: Metadata) -> tuple[Description, Findings]:
    """The description with task, classes and meaning. Raises `DescriptionRefused`."""
    if found.refusal is not None:
        about = found.refusal.params.get("output", "")
        raise DescriptionRefused(
            _field_of(found.refusal), [refusal_sentence(found.refusal)], about=about, code=found.refusal.code
        )
    if refused := [check for check in found.checks if check.outcome == "refused"]:
        raise DescriptionRefused("outputs", [check_sentence(check) for check in refused], code=refused[0].code)
    meaning = found.meaning or Meaning(outputs=())
    told = tuple(
        Note(f"check_{check.code}", {**check.params, "row": check.row})
        for check in found.checks
        if check.outcome == "told"
    )
    spec = msgspec.structs.replace(
        description.spec,
        task=found.task,
        classes=tuple(one.name for one in meaning.classes),
        meaning=msgspec.structs.replace(meaning, notes=(*meaning.notes, *told)),
    )
    sources = dict(description.sources)
    sources["task"] = metadata.origin_of("task") if metadata.task else _("tried out")
    sources["classes"] = metadata.origin_of("classes") if metadata.classes else _origin_words(found.class_origin)
    findings = Findings(
        questions=found.questions,
        checks=found.checks,
        notes=meaning.notes,
        n_rows=found.n_rows,
        are_names_stated=metadata.classes is not None,
    )
    return replace(description, spec=spec, sources=sources), findings


def _origin_words(origin: str) -> str:
    if origin == "graph":
        return _("model file")
    return _("tried out") if origin == "learnt" else _("positions in the model's output")


def _field_of(refusal: Note) -> str:
    return "classes" if refusal.code.startswith("classes") else "outputs"


def refuse_questions(findings: Findings) -> None:
    """For who can't be asked: the sentence, and the lines that would settle it. Raises `DescriptionRefused`."""
    if findings.questions:
        asked = [question_sentence(question) for question in findings.questions]
        raise DescriptionRefused("outputs", asked, code=findings.questions[0].code)
