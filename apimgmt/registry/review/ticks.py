"""What the owner confirms on the review page: a tick of its own beside each finding that nobody else can vouch for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from apimgmt.registry.confirmables import TICKS, Code, confirmables_of
from apimgmt.registry.drafts import Found


@dataclass
class Tick:
    """`told`: what was found; `label`: what ticking says."""

    code: Code
    told: str
    label: str
    is_ticked: bool = False
    error: str = ""

    @property
    def key(self) -> str:
        return f"confirm-{self.code}"


def ticks_of(found: Found) -> list[Tick]:
    """One for each finding to be confirmed. Names that were proposed are so also after a trial took them."""
    told = {one.code: one.told for one in confirmables_of(found.findings, found.spec.meaning)}
    if found.proposed and found.spec.meaning is not None and found.spec.meaning.classes:
        told.setdefault("names", "")
    return [Tick(code, sentence, str(TICKS[code])) for code, sentence in told.items()]


def take_ticks(ticks: Sequence[Tick], posted: Mapping[str, str]) -> None:
    """Put in what was ticked."""
    for tick in ticks:
        tick.is_ticked = tick.key in posted


def check_ticks(ticks: Sequence[Tick]) -> None:
    """Write beside each tick that is missing that it is."""
    for tick in ticks:
        if not tick.is_ticked:
            tick.error = _("Tick this if it is right: nothing is saved without it.")


def ticked_codes(ticks: Sequence[Tick]) -> set[Code]:
    """What the owner has confirmed."""
    return {tick.code for tick in ticks if tick.is_ticked}
