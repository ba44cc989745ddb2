"""The signed-in person's own address, as entries of a whitelist."""

from __future__ import annotations

from apimgmt.actors import Actor
from contract.networks import NetworkError, parse_network

LOOPBACK_NETWORKS = ["127.0.0.1/32", "::1/128"]


def my_networks(actor: Actor) -> list[str]:
    """From this machine both loopback addresses; none where the address can't be made out."""
    try:
        network = parse_network(actor.address)
    except NetworkError:
        return []
    return LOOPBACK_NETWORKS if network in LOOPBACK_NETWORKS else [network]
