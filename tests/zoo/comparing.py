"""Holds answers against a library's own predictions, by the tolerances of docs/model-meaning.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from contract.model_spec import ModelSpec
from tests.zoo.asking import FORMATS, Answers, Send
from tests.zoo.catalogue import Entry

BATCHES = (1, 2, 7, 32)
TIE = 1e-4
"""Where the library's best two lie this near, the class may be the other one."""


def check(entry: Entry, spec: ModelSpec, send: Send, *, n_rows: int | None = None) -> None:
    """Every row in every format, alone and in batches."""
    rows = entry.rows[:n_rows]
    for ask in FORMATS:
        for size in BATCHES:
            for start in range(0, len(rows), size):
                places = range(start, min(start + size, len(rows)))
                answers = ask(send, spec, rows[start : start + size])
                faults = list(differences(entry, answers, places))
                assert not faults, f"{ask.__name__}, {len(places)} rows from {start}: {faults[:3]}"


def differences(entry: Entry, answers: Answers, places: Sequence[int]) -> Iterator[str]:
    """What is wrong with the answers to these rows of the entry."""
    if entry.labels is not None:
        expected = [entry.labels[place] for place in places]
        if answers.labels is None or len(answers.labels) != len(expected):
            yield f"classes {answers.labels}, not {expected}"
            return
        for place, given, wanted in zip(places, answers.labels, expected, strict=True):
            if given != wanted and not _is_tie(entry, place):
                yield f"row {place}: {given!r}, not {wanted!r}"
    elif answers.labels is not None:
        yield f"classes of a regression: {answers.labels[:3]}"
    if answers.kind == "class":  # a format that tells no more
        return
    if answers.kind != entry.kind:
        yield f"{answers.kind}, not {entry.kind}"
        return
    wanted_numbers = _numbers(entry)
    if set(answers.numbers) != set(wanted_numbers):
        yield f"numbers of {list(answers.numbers)}, not of {list(wanted_numbers)}"
        return
    for name, numbers in answers.numbers.items():
        wanted_line = np.array([wanted_numbers[name][place] for place in places])
        tolerance = entry.tolerance * np.maximum(1, np.abs(wanted_line))
        if answers.digits is not None:
            tolerance += 10.0**-answers.digits
        bad = np.flatnonzero(~(np.abs(np.array(numbers) - wanted_line) <= tolerance))
        for index in bad[:3].tolist():
            yield f"row {places[index]}, {name}: {numbers[index]}, not {wanted_line[index]}"


def _numbers(entry: Entry) -> dict[str, list[float]]:
    if entry.values is not None:
        return entry.values
    lines = entry.probabilities if entry.probabilities is not None else entry.scores
    if not lines:
        return {}
    if not isinstance(lines[0], list):
        return {"": lines}  # type: ignore[dict-item]
    return {name: [line[index] for line in lines] for index, name in enumerate(entry.classes)}  # type: ignore[index]


def _is_tie(entry: Entry, place: int) -> bool:
    lines = entry.probabilities if entry.probabilities is not None else entry.scores
    if not lines:
        return False
    line = lines[place]
    if not isinstance(line, list):
        return abs(line) <= TIE
    first, second = sorted(line)[-2:]
    return second - first <= TIE
