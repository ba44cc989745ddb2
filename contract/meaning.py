"""What a model's outputs and classes mean: decided once, at registration, stored with the version, obeyed by everybody.

Nothing here looks at the name of an output. How it is decided: `inference.meaning`; why: docs/model-meaning.md.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Role = Literal["value", "label", "probabilities", "scores", "ignored"]
Label = bool | int | str
"""A class as the graph itself names it."""

ROLES: tuple[Role, ...] = ("value", "label", "probabilities", "scores", "ignored")
SINGLE_ROLES: frozenset[Role] = frozenset({"label", "probabilities", "scores"})
"""Roles that at most one output may have."""


OPEN_NOTES: frozenset[str] = frozenset({"open_question", "open_refusal", "open_check", "open_other", "frozen_by_label"})
"""Notes of a version of an earlier release that its owner should look at: today's rules would ask, refuse or differ."""


_DEPENDENT_NOTES: frozenset[str] = frozenset({"check_batches", "check_batch_labels"})


class Note(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Something that the owner is told. The sentence is made where it is shown, from the code and its parameters."""

    code: str
    params: dict[str, Any] = {}


class Output(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One output of the graph.

    `targets`: of a value, the name of each of its columns, left to right. `is_single`: of scores, that there is one
    number a row and not one a class. `dtype`: of numbers, their type as numpy names it; "" where it was not noted.
    """

    name: str
    role: Role
    targets: tuple[str, ...] = ()
    is_single: bool = False
    dtype: str = ""


class ClassLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One class: as the graph says it, and as callers see it."""

    label: Label
    name: str


class Meaning(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """`outputs` are all of the graph's, in its order; `classes` are in the order of the probabilities or scores.

    `is_row_wise`: a row's answer depends on the rows beside it, so each is computed alone.
    `notes`: what its owner was told and has confirmed.
    """

    outputs: tuple[Output, ...]
    classes: tuple[ClassLabel, ...] = ()
    is_row_wise: bool = False
    notes: tuple[Note, ...] = ()

    @property
    def may_join_rows(self) -> bool:
        """Whether rows of several requests may be computed at once: what a row is answered does not depend on others.

        Of a version of an earlier release that may not be known.
        """
        return not self.is_row_wise and not any(note.code in OPEN_NOTES | _DEPENDENT_NOTES for note in self.notes)

    def output(self, role: Role) -> str | None:
        """The output that has a role which only one may have; None without one."""
        return next((output.name for output in self.outputs if output.role == role), None)

    @property
    def values(self) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.role == "value")

    @property
    def targets(self) -> tuple[str, ...]:
        """The predicted numbers of a regression, in the order of outputs and columns."""
        return tuple(target for output in self.values for target in output.targets)


def meaning_from_json(document: object) -> Meaning:
    """Decode what `meaning_to_json` made. Raises `msgspec.ValidationError`."""
    return msgspec.convert(document, Meaning)


def meaning_to_json(meaning: Meaning) -> dict[str, Any]:
    """Plain dicts and lists, fit for a jsonb column."""
    document: dict[str, Any] = msgspec.to_builtins(meaning)
    return document
