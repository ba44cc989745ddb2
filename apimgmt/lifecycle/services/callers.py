"""Who may call an API, and who learns of its columns: whitelist, key, description settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from apimgmt.access.keys import decrypted_key, fresh_key
from apimgmt.access.whitelist import MAX_ENTRIES, add_entries, networks_in
from apimgmt.actors import Actor
from apimgmt.errors import Refused, WhitelistRefused
from apimgmt.lifecycle import transitions
from apimgmt.lifecycle.enqueue import RECONCILE, enqueue_on_commit
from apimgmt.lifecycle.events import record, record_change
from apimgmt.lifecycle.transitions import allowed_api, ask_if_locked
from apimgmt.models import PredictionAPI
from apimgmt.roles import OPERATE
from contract.charsets import DEFAULTS


@dataclass(frozen=True)
class Added:
    """What became of the networks of one text: `added` are new, `known` were on the list already."""

    added: list[str]
    known: list[str]


@transaction.atomic
def add_networks(api_id: str, text: str, *, note: str = "", actor: Actor) -> Added:
    """Add every network of a text to the whitelist, or none. Raises WhitelistRefused with each bad line."""
    actor.require(OPERATE)
    networks = networks_in(text)
    api = allowed_api(api_id, "whitelist", actor=actor)
    before = api.revision
    added = add_entries(api, networks, note=note.strip()[:200], actor=actor)
    if api.whitelist.count() > MAX_ENTRIES:
        raise WhitelistRefused(_("Nothing was added: a whitelist holds up to %d networks.") % MAX_ENTRIES, text)
    if added:
        detail = {"added": added[:20], "count": len(added)}
        record_change(api, "allow", actor, before_revision=before, before=api.status, detail=detail)
        enqueue_on_commit(RECONCILE, api_id)
    return Added(added, [network for network in networks if network not in set(added)])


@transaction.atomic
def remove_network(api_id: str, entry_id: int, *, actor: Actor, confirmed: bool = False) -> str:
    """Take one entry off the whitelist; its callers are refused from the commit on. Returns the network."""
    api = allowed_api(api_id, "whitelist", actor=actor)
    before = api.revision
    entry = api.whitelist.filter(pk=entry_id).first()
    if entry is None:
        raise Refused(_("That entry is not on the whitelist any more."))
    if api.whitelist.count() == 1:
        ask_if_locked(api, "whitelist", confirmed=confirmed)
    entry.delete()
    detail = {"removed": entry.network}
    record_change(api, "disallow", actor, before_revision=before, before=api.status, detail=detail)
    enqueue_on_commit(RECONCILE, api_id)
    return entry.network


@transaction.atomic
def describe_api(
    api_id: str,
    *,
    hides_schema: bool | None = None,
    has_public_description: bool | None = None,
    csv_charset: str | None = None,
    seen: Mapping[str, bool | str] | None = None,
    actor: Actor,
) -> PredictionAPI:
    """Change who learns of the columns: callers from refusals, everybody from the description. None: as it is.

    `csv_charset`: one of `DEFAULTS` for CSVs that are no UTF-8, or "" to recognise it. Raises `Refused` for another.

    `seen`: the settings that somebody saw who decided so. Raises `Refused` where they are others by now.
    """
    api = allowed_api(api_id, "describe", actor=actor)
    if any(value != getattr(api, name) for name, value in (seen or {}).items()):
        raise Refused(_("These settings were changed after this window was opened. Nothing was saved."))
    if csv_charset and csv_charset not in DEFAULTS:
        raise Refused(_("The charset %(name)s is not known. Known are: %(known)s.") % _charset_words(csv_charset))
    wanted: dict[str, bool | str | None] = {
        "hides_schema": hides_schema,
        "has_public_description": has_public_description,
        "csv_charset": csv_charset,
    }
    changes = {name: value for name, value in wanted.items() if value is not None and value != getattr(api, name)}
    if changes:
        transitions.write(api, "describe", actor, detail=dict(changes), **changes)
        enqueue_on_commit(RECONCILE, api_id)
    return api


def _charset_words(name: str) -> dict[str, str]:
    return {"name": name[:80], "known": ", ".join(DEFAULTS)}


@transaction.atomic
def reveal_key(api_id: str, *, actor: Actor) -> str:
    """The key in full. Who looked is an event."""
    api = allowed_api(api_id, "key", actor=actor)
    key = decrypted_key(api)
    record(api, "show key", actor)
    return key


@transaction.atomic
def roll_key(api_id: str, *, actor: Actor, confirmed: bool = False) -> str:
    """Replace the key; the old one is refused from the commit on. Returns the new one in full."""
    api = allowed_api(api_id, "roll-key", actor=actor)
    ask_if_locked(api, "roll-key", confirmed=confirmed)
    key, key_fields = fresh_key()
    transitions.write(
        api,
        "roll key",
        actor,
        key_digest=key_fields["key_digest"],
        key_encrypted=key_fields["key_encrypted"],
    )
    enqueue_on_commit(RECONCILE, api_id)
    return key
