"""The IP whitelist: what a person typed into its box (many lines, all or none), and its rows."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apimgmt.actors import Actor
from apimgmt.errors import BadLine, WhitelistRefused
from apimgmt.models import PredictionAPI, WhitelistEntry
from contract.networks import NetworkError, parse_network

MAX_ENTRIES = 10_000
# Enough to hold MAX_ENTRIES IPv6 networks, and a bound on what is parsed at all.
MAX_TEXT_LENGTH = 1_000_000
MAX_LISTED_LINES = 100

# One sentence a code of `contract.networks.NetworkError`, in the console's language.
_MESSAGES = {
    "host_bits": lambda: _("has host bits set"),
    "leading_zero": lambda: _("has leading zeros, which some systems read as octal"),
    "empty": lambda: _("is empty"),
}


def networks_in(text: str) -> list[str]:
    """The networks of a text, canonical, each once, in order. Raises WhitelistRefused naming every bad line.

    Lines may hold several networks separated by commas or spaces; empty lines are skipped.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise WhitelistRefused(_("The text is too long. Up to %d networks fit.") % MAX_ENTRIES, text[:MAX_TEXT_LENGTH])
    found: dict[str, None] = {}
    bad: list[BadLine] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for item in line.replace(",", " ").split():
            try:
                found[parse_network(item)] = None
            except NetworkError as error:
                bad.append(_bad_line(number, item, error))
    if bad:
        raise WhitelistRefused(_summary(len(bad)), text, bad[:MAX_LISTED_LINES])
    if not found:
        raise WhitelistRefused(_("Enter at least one address or network, such as 192.0.2.7 or 198.51.100.0/24."), text)
    return list(found)


def _bad_line(number: int, item: str, error: NetworkError) -> BadLine:
    message = _MESSAGES[error.code]() if error.code in _MESSAGES else error.message
    return BadLine(number=number, text=item[:60], message=message, suggestion=error.suggestion)


def _summary(count: int) -> str:
    return ngettext(
        "Nothing was added: %(count)d entry is not a network.",
        "Nothing was added: %(count)d entries are not networks.",
        count,
    ) % {"count": count}


def add_entries(api: PredictionAPI, networks: list[str], *, note: str, actor: Actor) -> list[str]:
    """Add those networks that are not on the list yet, and return them. The caller records the change."""
    known = set(api.whitelist.values_list("network", flat=True))
    fresh = [network for network in networks if network not in known]
    WhitelistEntry.objects.bulk_create(
        [WhitelistEntry(api=api, network=network, note=note, created_by=actor.name) for network in fresh]
    )
    return fresh
