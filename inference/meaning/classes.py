"""Classes as pairs: the graph's own label, and the name that callers see; in the order of the probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from contract.meaning import ClassLabel, Label, Meaning, Note
from inference.meaning.checks import CLEAR_LEAD
from inference.names import fold
from inference.table import Array

FEWEST: Final = 2
MOST: Final = 2000

Names = Mapping[str, str] | Sequence[str]
"""What a metadata file says of classes: label -> name, or names in the graph's own order."""


class ClassesRefused(Exception):
    """What is stated contradicts the graph. `note` says how."""

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(code)
        self.note = Note(code, params)


class ClassesUnknown(Exception):
    """The graph does not say which number belongs to which class, and the rows tried did not show it: ask the owner.

    `seen`: labels that came, in ascending order. `n_classes`: None where only the labels could tell.
    """

    def __init__(self, seen: Sequence[Label], n_classes: int | None) -> None:
        super().__init__("classes_unknown")
        self.seen = tuple(seen)
        self.n_classes = n_classes


Origin = Literal["graph", "learnt", "position", "stated"]


@dataclass(frozen=True)
class Labels:
    """The graph's labels in the order of the probabilities, and how they were found out."""

    values: tuple[Label, ...]
    origin: Origin


def label_text(label: Label) -> str:
    """As a mapping's keys have it: decimal integers, true and false, or the exact text."""
    return ("true" if label else "false") if isinstance(label, bool) else str(label)


def labels_in_order(
    graph_labels: tuple[Label, ...] | None,
    labels: Sequence[Label] | None,
    numbers: Array | None,
    *,
    n_classes: int | None,
    stated: Names | None = None,
) -> Labels:
    """`labels`: one a row that was tried, `numbers`: probabilities or scores `(n_rows, k)`; None if there are none.

    `n_classes`: by the width of the numbers. Raises `ClassesUnknown`.
    """
    if graph_labels is not None and (n_classes is None or len(graph_labels) == n_classes):
        return Labels(graph_labels, "graph")
    if labels is None:
        return Labels(tuple(range(n_classes or len(stated or ()))), "position")
    seen = sorted(set(labels), key=_rank)
    if numbers is not None and numbers.shape[1] > 1:
        learnt = _by_winner(labels, numbers) or _by_winner(labels, -numbers)  # the least distance wins, too
        if learnt is not None:
            return learnt
    elif n_classes == 2 and len(seen) == 2:  # one number: of the second class, or rising with it
        return Labels(tuple(seen), "learnt")
    if isinstance(stated, Mapping):
        return _by_mapping(stated, seen, n_classes)
    raise ClassesUnknown(seen, n_classes)


def _rank(label: Label) -> tuple[bool, Label]:
    return isinstance(label, str), label


def _by_winner(labels: Sequence[Label], numbers: Array) -> Labels | None:
    """From the rows with a clear winner. Each column must have won at least once, or each label be its position."""
    ordered = np.sort(numbers, axis=1)
    clear = np.flatnonzero(ordered[:, -1] - ordered[:, -2] >= CLEAR_LEAD)
    best = numbers.argmax(axis=1)
    beside: dict[int, set[Label]] = {}
    for row in clear.tolist():
        beside.setdefault(int(best[row]), set()).add(labels[row])
    width = numbers.shape[1]
    is_paired = all(len(found) == 1 for found in beside.values())
    if is_paired and len(beside) == width:
        found = tuple(next(iter(beside[column])) for column in range(width))
        if len(set(found)) == width:
            return Labels(found, "learnt")
    if all(isinstance(label, int) and not isinstance(label, bool) for label in labels) and _is_position(labels, width):
        agreeing = sum(labels[row] == best[row] for row in clear.tolist())
        if len(clear) and agreeing > len(clear) // 2:
            return Labels(tuple(range(width)), "position")
    if set(map(type, labels)) == {bool} and width == 2:
        return Labels((False, True), "position")
    return None


def _is_position(labels: Sequence[Label], width: int) -> bool:
    return all(isinstance(label, int) and 0 <= label < width for label in labels)


def _by_mapping(stated: Mapping[str, str], seen: Sequence[Label], n_classes: int | None) -> Labels:
    """Where only the owner knows: the stated labels, if what came is among them. Positions, or the order as stated."""
    kind = type(seen[0]) if seen else str
    values = tuple(typed_label(key, kind) for key in stated)
    if n_classes not in {None, len(values)}:
        raise ClassesRefused("classes_count", stated=len(values), count=n_classes)
    if any(label not in values for label in seen):
        missing = [label_text(label) for label in seen if label not in values]
        raise ClassesRefused("classes_label_missing", labels=missing)
    if kind is int and set(values) == set(range(len(values))):
        return Labels(tuple(range(len(values))), "position")
    return Labels(values, "stated")


def typed_label(key: str, kind: type) -> Label:
    """A mapping's key as a label of the graph's type: bool, int or str. Raises `ClassesRefused`."""
    if kind is bool and key in {"true", "false"}:
        return key == "true"
    if kind is int and (key.lstrip("-").isdecimal() and key.isascii() and str(int(key)) == key):
        return int(key)
    if kind is str:
        return key
    raise ClassesRefused("classes_label_type", label=key, expected={bool: "bool", int: "int"}[kind])


def names_as_stated(meaning: Meaning) -> dict[str, str] | tuple[str, ...]:
    """How a metadata file would say the names: by label; by position where no output gives a label."""
    names = tuple(one.name for one in meaning.classes)
    is_by_position = [one.label for one in meaning.classes] == list(range(len(names)))
    if meaning.output("label") is None and is_by_position:
        return names
    return {label_text(one.label): one.name for one in meaning.classes}


def pair_names(labels: Labels, stated: Names | None) -> tuple[ClassLabel, ...]:
    """The labels with the names stated for them, or their own text. Raises `ClassesRefused`."""
    values = labels.values
    if stated is None:
        names: Sequence[str] = [label_text(label) for label in values]
    elif isinstance(stated, Mapping):
        names = _mapped(values, stated)
    else:
        names = _listed(values, stated)
    if not FEWEST <= len(values) <= MOST:
        raise ClassesRefused("classes_number", count=len(values), fewest=FEWEST, most=MOST)
    if twice := sorted(names_alike([(label_text(label), name) for label, name in zip(values, names, strict=True)])):
        raise ClassesRefused("classes_same_name", names=twice[:10])
    return tuple(ClassLabel(label, name) for label, name in zip(values, names, strict=True))


def names_alike(pairs: Sequence[tuple[str, str]]) -> set[str]:
    """Of labels with their names, the names that are another's too, or look like it and are not the labels themselves.

    What a model itself tells apart, as " Private" and "Private", stays apart.
    """
    looks = Counter(fold(name) for _label, name in pairs)
    exact = Counter(name for _label, name in pairs)
    return {name for label, name in pairs if exact[name] > 1 or (looks[fold(name)] > 1 and name != label)}


def _mapped(values: Sequence[Label], stated: Mapping[str, str]) -> list[str]:
    texts = [label_text(label) for label in values]
    known = set(texts)
    if missing := [text for text in texts if text not in stated]:
        strangers = [key for key in stated if key not in known]
        raise ClassesRefused("classes_label_missing", labels=missing[:10], strangers=strangers[:10])
    if extra := [key for key in stated if key not in known]:
        raise ClassesRefused("classes_label_extra", labels=extra[:10], known=texts[:10])
    return [stated[text] for text in texts]


def _listed(values: Sequence[Label], stated: Sequence[str]) -> Sequence[str]:
    """By position. The graph's own labels in another order contradict it, and text is renamed by a mapping only."""
    own = [label_text(label) for label in values]
    if len(stated) != len(own):
        raise ClassesRefused("classes_count", stated=len(stated), count=len(own))
    if list(stated) == own:
        return own
    if set(stated) == set(own):
        raise ClassesRefused("classes_order", labels=own[:10], mapping=dict(zip(own[:10], own[:10], strict=True)))
    if isinstance(values[0], str):
        example = dict(zip(own[:10], list(stated)[:10], strict=True))
        raise ClassesRefused("classes_text_by_list", labels=own[:10], mapping=example)
    return stated
