"""The stored meaning of a version, as the model's pages list it."""

from __future__ import annotations

from dataclasses import dataclass

from apimgmt.registry.meaning_sentences import note_sentence
from apimgmt.views.labels import ROLE_WORDS
from contract.model_spec import ModelSpec
from inference.meaning.classes import label_text


@dataclass(frozen=True)
class OutputLine:
    """One output with its role in words; `targets` where there are several numbers to tell apart."""

    name: str
    role: str
    targets: str


@dataclass(frozen=True)
class MeaningView:
    """`classes`: (what the model says, what callers see), none where both are the same."""

    outputs: list[OutputLine]
    classes: list[tuple[str, str]]
    notes: list[str]


def meaning_view(spec: ModelSpec) -> MeaningView | None:
    """None for a version that was stored before meanings were."""
    meaning = spec.meaning
    if meaning is None:
        return None
    pairs = [(label_text(one.label), one.name) for one in meaning.classes]
    return MeaningView(
        outputs=[
            OutputLine(output.name, str(ROLE_WORDS[output.role]), ", ".join(output.targets))
            for output in meaning.outputs
        ],
        classes=pairs if any(label != name for label, name in pairs) else [],
        notes=[note_sentence(note) for note in meaning.notes],
    )
