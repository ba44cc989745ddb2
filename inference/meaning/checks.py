"""What is checked before a model is saved: each check looks at rows that were tried, and says which row broke it.

Tolerances are those of docs/model-meaning.md; where they were measured, it is said there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from contract.meaning import Label
from inference.table import Array

RANGE_TOLERANCE: Final = 1e-4
SUM_TOLERANCE: Final = 1e-3
CLEAR_LEAD: Final = 0.05
LEAST_AGREEMENT: Final = 0.8
BATCH_TOLERANCE: Final = 1e-5
HALF_BATCH_TOLERANCE: Final = 2e-3

Outcome = Literal["passed", "told", "refused"]


@dataclass(frozen=True)
class Check:
    """`row`: the index of the first row that broke it. `params`: what the sentence about it needs."""

    code: str
    outcome: Outcome
    row: int | None = None
    params: dict[str, Any] = field(default_factory=dict)


def is_probability_rows(values: Array) -> bool:
    """Whether every row lies within [0, 1] and sums to 1, by the tolerances. One number a row need only lie within."""
    return first_improbable_row(values) is None


def first_improbable_row(values: Array) -> int | None:
    """The first row that is no distribution over classes; None if all are."""
    if values.dtype.kind not in "fiu" or values.shape[1] == 0:
        return 0
    rows = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_good = np.isfinite(rows).all(axis=1)
        is_good &= (rows >= -RANGE_TOLERANCE).all(axis=1) & (rows <= 1 + RANGE_TOLERANCE).all(axis=1)
        if rows.shape[1] > 1:
            is_good &= np.abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE
    return None if is_good.all() else int(np.argmin(is_good))


def check_probabilities(values: Array) -> Check:
    """A row that is no distribution makes the output scores: never shown as probabilities."""
    row = first_improbable_row(values)
    if row is None:
        return Check("probabilities", "passed", params={"rows": len(values)})
    numbers = [float(value) for value in values[row][:10]]
    return Check("probabilities", "refused", row, {"numbers": numbers, "sum": float(values[row].astype(float).sum())})


def check_finite(values: Array, *, n_owned: int) -> Check:
    """The first `n_owned` rows are the owner's own: they must give finite numbers. The rest were made up."""
    is_finite = np.isfinite(values.astype(np.float64)).reshape(len(values), -1).all(axis=1)
    bad = np.flatnonzero(~is_finite)
    if len(bad) == 0:
        return Check("finite", "passed", params={"rows": len(values)})
    row = int(bad[0])
    return Check("finite", "refused" if row < n_owned else "told", row, {"rows": len(bad), "of": len(values)})


def check_agreement(class_indexes: Sequence[int], probabilities: Array) -> Check:
    """Whether the model's own labels are the classes that its probabilities name.

    The threshold between two classes may be another than a half. A label that follows neither is told where most agree
    and no other order of the columns would fit better (Platt scaling honestly disagrees in some rows), else refused.
    """
    chosen = np.asarray(class_indexes)
    ordered = np.sort(probabilities, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] >= CLEAR_LEAD
    best = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(is_clear & (best != chosen))
    n_clear = int(is_clear.sum())
    if len(wrong) == 0:
        return Check("agreement", "passed", params={"rows": n_clear})
    if probabilities.shape[1] == 2 and (threshold := one_threshold(chosen, probabilities[:, 1])) is not None:
        return Check("threshold", "told", int(wrong[0]), {"threshold": round(threshold, 4), "rows": len(wrong)})
    agreeing = n_clear - len(wrong)
    params = {
        "rows": len(wrong),
        "of": n_clear,
        "label": int(chosen[wrong[0]]),
        "best": int(best[wrong[0]]),
    }
    is_honest = agreeing >= LEAST_AGREEMENT * n_clear and not _fits_better(chosen[is_clear], best[is_clear])
    return Check("agreement", "told" if is_honest else "refused", int(wrong[0]), params)


def one_threshold(chosen: Array, second: Array) -> float | None:
    """A threshold on the second class's probability that explains every label; None without one."""
    is_second = chosen == 1
    if is_second.all() or not is_second.any():
        return None
    low, high = float(second[~is_second].max()), float(second[is_second].min())
    return (low + high) / 2 if low <= high else None


def _fits_better(chosen: Array, best: Array) -> bool:
    """Whether pairing each column with its most frequent label agrees in more rows than the order does."""
    pairs: dict[int, Counter[int]] = {}
    for column, label in zip(best.tolist(), chosen.tolist(), strict=True):
        pairs.setdefault(column, Counter())[label] += 1
    favourites = {column: counts.most_common(1)[0] for column, counts in pairs.items()}
    labels = [label for label, _ in favourites.values()]
    if len(set(labels)) < len(labels):
        return False  # no pairing of its own
    return sum(count for _, count in favourites.values()) > int((chosen == best).sum())


def check_batches(alone: Array, together: Array, *, is_half: bool = False) -> Check:
    """Numbers of each row computed alone and among others, line by line."""
    tolerance = HALF_BATCH_TOLERANCE if is_half else BATCH_TOLERANCE
    one, other = alone.astype(np.float64).reshape(len(alone), -1), together.astype(np.float64).reshape(len(alone), -1)
    if one.shape != other.shape:
        return Check("batches", "told", 0, {"rows": len(alone), "of": len(alone)})
    with np.errstate(invalid="ignore"):
        is_near = np.abs(one - other) <= tolerance * np.maximum(1, np.abs(one))
    is_near |= (np.isnan(one) & np.isnan(other)) | (one == other)
    bad = np.flatnonzero(~is_near.all(axis=1))
    if len(bad) == 0:
        return Check("batches", "passed", params={"rows": len(alone)})
    return Check("batches", "told", int(bad[0]), {"rows": len(bad), "of": len(alone)})


def check_batch_labels(alone: Sequence[Label], together: Sequence[Label], lead: Array) -> Check:
    """Labels of each row alone and among others. `lead`: of its best number over the next; at a tie they may differ."""
    bad = [
        row
        for row, (one, other) in enumerate(zip(alone, together, strict=True))
        if one != other and not lead[row] <= BATCH_TOLERANCE
    ]
    if not bad:
        return Check("batch_labels", "passed", params={"rows": len(alone)})
    return Check("batch_labels", "told", bad[0], {"rows": len(bad), "of": len(alone)})


# --- against a labelled sample ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Confusion:
    """`counts[i][j]`: rows of class i, by the target, that were answered with class j, in the order of `names`."""

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def agreeing(self) -> int:
        return sum(row[index] for index, row in enumerate(self.counts))

    @property
    def total(self) -> int:
        return sum(sum(row) for row in self.counts)


def confusion_of(answered: Sequence[str], expected: Sequence[str], names: Sequence[str]) -> Confusion:
    """Rows whose target is none of the classes get a line of their own at the end."""
    known = {name: index for index, name in enumerate(names)}
    others = sorted({name for name in expected if name not in known})
    lines = {name: index for index, name in enumerate([*names, *others])}
    counts = [[0] * len(lines) for _ in lines]
    for answer, target in zip(answered, expected, strict=True):
        counts[lines[target]][known[answer]] += 1
    return Confusion(tuple(lines), tuple(tuple(row) for row in counts))


@dataclass(frozen=True)
class Fit:
    """How a regression fits its target. `r2`: None where the target never changes."""

    r2: float | None
    mean_error: float
    rows: int


def fit_of(values: Array, expected: Array) -> Fit:
    errors = values.astype(np.float64) - expected.astype(np.float64)
    spread = float(((expected - expected.mean()) ** 2).sum())
    r2 = None if spread == 0 else 1 - float((errors**2).sum()) / spread
    return Fit(r2, float(np.abs(errors).mean()), len(values))


def proposed_names(labels: Sequence[Label], expected: Sequence[str]) -> dict[Label, str] | None:
    """For labels like 0, 1, 2 beside names in the sample: the name each label nearly always stands beside.

    None where the target has other names than one for each label, or they don't pair up.
    """
    beside: dict[Label, Counter[str]] = {}
    for label, name in zip(labels, expected, strict=True):
        beside.setdefault(label, Counter())[name] += 1
    names = {label: counts.most_common(1)[0][0] for label, counts in beside.items()}
    is_clear = all(counts.most_common(1)[0][1] > 0.5 * counts.total() for counts in beside.values())
    return names if is_clear and len(set(names.values())) == len(names) == len(set(expected)) else None
