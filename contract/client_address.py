"""The address a request comes from, as whitelists see it.

Only a peer in TRUSTED_PROXIES is believed about who is behind it, and only through `X-Forwarded-For`; a forged
header from anybody else changes nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from contract.settings import IPNetwork

_REMEMBERED_PEERS = 4096
_MOST_PROXIES = 32  # reading an address takes microseconds, and a header has room for thousands


class BadForwardedFor(Exception):
    """X-Forwarded-For can't be believed, `str()` says why: the whole request is refused."""


class ClientAddresses:
    """Finds the client's address in normal form: IPv4 without IPv6 clothes, no zone, no port."""

    def __init__(self, trusted_proxies: Sequence[IPNetwork]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._peers: dict[str, tuple[str, bool]] = {}

    def of_peer(self, host: str) -> tuple[str, bool]:
        """The normal form of the socket's peer, and whether it is a trusted proxy."""
        known = self._peers.get(host)
        if known is None:
            address = _address(host.partition("%")[0])
            known = (host, False) if address is None else (str(address), self._is_trusted(address))
            if len(self._peers) >= _REMEMBERED_PEERS:
                self._peers.clear()
            self._peers[host] = known
        return known

    def of_forwarded(self, peer: str, lines: Iterable[bytes]) -> str:
        """The right-most address that is not a trusted proxy, of all X-Forwarded-For lines joined in order.

        All trusted: the left-most. Without a line: the peer. Raises `BadForwardedFor` at the first element that is
        no address, because what stands left of it can't be told from a forgery.
        """
        client = peer
        elements = b",".join(lines).decode("latin-1").rsplit(",", _MOST_PROXIES)
        for number, element in enumerate(reversed(elements)):
            if number == _MOST_PROXIES:
                raise BadForwardedFor(f"with more than {_MOST_PROXIES} proxies")
            address = _forwarded_address(element.strip(" \t"))
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded_address(element: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = _address(_without_port(element))
    if address is None:
        raise BadForwardedFor(f"with “{element[:60]}”, which is no IP address")
    return address


def _without_port(element: str) -> str:
    """`192.0.2.7:4711` and `[2001:db8::1]:4711` without their ports; anything else as it is."""
    if element.startswith("["):
        host, bracket, rest = element[1:].partition("]")
        return host if ":" in host and bracket and (not rest or _is_port(rest)) else ""
    host, colon, port = element.partition(":")
    return host if "." in host and colon and _is_port(colon + port) else element


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text.startswith(":") and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) < 65536


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return None if address.scope_id else address.ipv4_mapped or address
    return address
