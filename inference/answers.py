"""What an answer consists of, by the model's description alone. Formats, reasons and descriptions all ask here."""

from __future__ import annotations

from typing import Literal

import msgspec

from contract.meaning import Meaning
from contract.model_spec import ModelSpec

Numbers = Literal["", "probabilities", "scores", "score"]
"""What stands beside the class: a number a class, one score, or nothing. Scores are never called probabilities."""


class AnswerShape(msgspec.Struct, frozen=True):
    """A classification has `classes`, as callers see them; a regression has `targets`, the numbers it predicts."""

    classes: tuple[str, ...] = ()
    numbers: Numbers = ""
    targets: tuple[str, ...] = ()

    @property
    def has_one_target(self) -> bool:
        """A single predicted number goes without its name."""
        return len(self.targets) == 1

    @property
    def number_names(self) -> tuple[str, ...]:
        """Of the numbers beside the class, left to right, as a table heads them."""
        if self.numbers == "score":
            return ("score",)
        word = {"probabilities": "probability", "scores": "score"}.get(self.numbers)
        return tuple(f"{word}_{name}" for name in self.classes) if word else ()


def answer_shape(spec: ModelSpec) -> AnswerShape:
    """Of a version without a meaning: as all were, a value or a class with its probabilities."""
    if spec.meaning is not None:
        return _by_meaning(spec.meaning)
    if spec.task == "regression":
        return AnswerShape(targets=(spec.target,))
    return AnswerShape(spec.classes, "probabilities")


def can_explain(shape: AnswerShape) -> bool:
    """Whether there is a number whose change can be told: a class alone has none."""
    return bool(shape.targets or shape.numbers)


def _by_meaning(meaning: Meaning) -> AnswerShape:
    if meaning.values:
        return AnswerShape(targets=meaning.targets)
    classes = tuple(one.name for one in meaning.classes)
    if meaning.output("probabilities") is not None:
        return AnswerShape(classes, "probabilities")
    scores = next((one for one in meaning.outputs if one.role == "scores"), None)
    if scores is None:
        return AnswerShape(classes)
    return AnswerShape(classes, "score" if scores.is_single else "scores")
