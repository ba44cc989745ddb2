"""What a trial showed that only the owner can vouch for: each is confirmed by name before the model is saved."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apimgmt.registry.agreement import in_words_of_sample, proposed_names
from apimgmt.registry.meaning import Findings
from apimgmt.registry.meaning_sentences import check_sentence
from apimgmt.registry.metadata import DescriptionRefused
from contract.meaning import Meaning
from inference.sandbox.inspection_messages import Agreement

Code = Literal["agreement", "names", "sample"]
CODES: Final[tuple[Code, ...]] = get_args(Code)

TICKS: Final = {
    "agreement": gettext_lazy("The model's own label is right, also where its probabilities name another class"),
    "names": gettext_lazy("These names stand beside the right labels"),
    "sample": gettext_lazy("The model is right, although its answers don't fit the sample"),
}
"""By code: what the owner says with the tick."""


FEWEST_ROWS: Final = 10
"""Of a labelled sample: fewer say nothing about a model."""


@dataclass(frozen=True)
class Confirmable:
    """`told`: what was found, in a sentence."""

    code: Code
    told: str


def confirmables_of(findings: Findings, meaning: Meaning | None) -> list[Confirmable]:
    """Labels that honestly differ from the probabilities, proposed names, and a sample that the answers don't fit.

    What is told and certain needs nobody's word: a threshold in the graph, rows that are computed one by one.
    """
    found = [
        Confirmable("agreement", check_sentence(check))
        for check in findings.checks
        if check.code == "agreement" and check.outcome == "told"
    ]
    agreement = findings.agreement
    if agreement is None:
        return found
    if names := proposed_names(findings, meaning):
        found.append(Confirmable("names", _proposal(names)))
    if sentence := misfit_sentence(agreement, meaning):
        found.append(Confirmable("sample", sentence))
    return found


def _proposal(names: dict[str, str]) -> str:
    pairs = ", ".join(f"{label} → {name}" for label, name in names.items())
    return _("The sample has names for the classes: %s.") % pairs


def misfit_sentence(agreement: Agreement, meaning: Meaning | None) -> str:
    """Where a constant answer would fit the labelled sample better than the model does; else ""."""
    if agreement.rows < FEWEST_ROWS:
        return ""
    if agreement.agreeing is None:
        is_worse = agreement.r2 is not None and agreement.r2 < 0
        return _("The mean of the sample's target would fit it better than the model's answers.") if is_worse else ""
    found = in_words_of_sample(agreement, meaning)
    commonest = max(map(sum, found.counts), default=0)
    if found.agreeing is None or found.agreeing >= commonest:
        return ""
    words = {"agreeing": found.agreeing, "rows": found.rows, "commonest": commonest}
    return (
        _(
            "%(agreeing)d of %(rows)d answers agree with the sample; always answering its most frequent class would "
            "agree in %(commonest)d."
        )
        % words
    )


def refuse_unconfirmed(findings: Findings, meaning: Meaning | None, confirmed: Collection[str]) -> None:
    """What was found, and the option that confirms it: for who can't tick. Raises `DescriptionRefused`."""
    missing = [one for one in confirmables_of(findings, meaning) if one.code not in confirmed]
    if missing:
        lines = [line for one in missing for line in (one.told, f"    --confirm {one.code}    ({TICKS[one.code]})")]
        sentence = _("Nothing was registered. Only you can know whether this is right; if it is, confirm it:")
        raise DescriptionRefused("confirm", ["\n".join([sentence, *lines])])
