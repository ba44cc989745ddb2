"""The model's answers beside the target of a labelled sample, in the words of the sample."""

from __future__ import annotations

from typing import Final

import msgspec

from apimgmt.registry.meaning import Findings
from contract.meaning import Meaning
from inference.meaning.classes import label_text
from inference.sandbox.inspection_messages import Agreement

MOST_PROPOSED: Final = 200
"""Of more classes nobody looks through the names."""


def proposed_names(findings: Findings, meaning: Meaning | None) -> dict[str, str]:
    """By label: what the sample calls the classes, where their owner has named none and the sample names all apart."""
    agreement = findings.agreement
    if agreement is None or meaning is None or findings.are_names_stated or len(meaning.classes) > MOST_PROPOSED:
        return {}
    names = [agreement.proposal.get(label_text(one.label), one.name) for one in meaning.classes]
    is_news = any(label_text(one.label) != name for one, name in zip(meaning.classes, names, strict=True))
    return agreement.proposal if is_news and len(set(names)) == len(names) else {}


def words_of_sample(agreement: Agreement, meaning: Meaning) -> dict[str, str]:
    """What the sample calls each class, by the name it has so far; {} where it says the same."""
    return {
        one.name: agreement.proposal[label_text(one.label)]
        for one in meaning.classes
        if label_text(one.label) in agreement.proposal
    }


def in_words_of_sample(agreement: Agreement, meaning: Meaning | None) -> Agreement:
    """With each class under the sample's name for it: "0" beside "setosa" is one class, not two."""
    words = words_of_sample(agreement, meaning) if meaning is not None else {}
    if not words:
        return agreement
    columns = [words.get(name, name) for name in agreement.names]
    lines = [name if name in words.values() else words.get(name, name) for name in agreement.names]
    names = tuple(dict.fromkeys([*columns, *lines]))
    position = {name: index for index, name in enumerate(names)}
    counts = [[0] * len(names) for _ in names]
    for line, row in zip(lines, agreement.counts, strict=True):
        for column, count in zip(columns, row, strict=True):
            counts[position[line]][position[column]] += count
    return msgspec.structs.replace(
        agreement,
        agreeing=sum(row[index] for index, row in enumerate(counts)),
        names=names,
        counts=tuple(map(tuple, counts)),
    )
