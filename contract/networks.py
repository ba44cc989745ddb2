"""The notation of whitelist entries: what a person may type, and the one canonical text that is stored.

`parse_network` is the only reader of that notation; the console asks it before it stores an entry, so two notations
of one network become one entry and the gateway meets canonical text only.
"""

from __future__ import annotations

import ipaddress
import re

EVERYBODY = "0.0.0.0/0"

_SHOWN_CHARACTERS = 60
_LEADING_ZERO = re.compile(r"(?:^|[.:])0[0-9]+(?=\.)|\.0[0-9]")
_V4_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+")

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NetworkError(ValueError):
    """A text that is no whitelist entry. `suggestion` is an entry that would be accepted, where one is obvious."""

    def __init__(self, code: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion


def parse_network(text: str) -> str:
    """The canonical notation of an address or network, such as `192.0.2.7/32` or `2001:db8::/64`.

    A bare address is a network of one. IPv4 addresses in IPv6 clothes (`::ffff:192.0.2.7`) become IPv4.
    Raises `NetworkError`.
    """
    entry = text.strip()
    _refuse_what_is_no_address(entry)
    address, slash, length = entry.partition("/")
    prefix = _prefix_length(entry, address, length) if slash else None
    return _canonical(entry, _parsed_address(entry, address), prefix)


def _refuse_what_is_no_address(entry: str) -> None:
    if not entry:
        raise NetworkError("empty", "Enter an IP address or a network.")
    if "%" in entry:
        raise NetworkError("zone", f"“{_shown(entry)}” has a zone (%…), which means nothing outside one machine.")
    bare = entry.removeprefix("[").partition("]")[0] if entry.startswith("[") else None
    with_port = _V4_WITH_PORT.fullmatch(entry)
    candidate = bare or (with_port and with_port[1])
    if candidate:
        message = f"“{_shown(entry)}” has brackets or a port: enter the address alone."
        raise NetworkError("address_with_port", message, _suggested(candidate))


def _suggested(text: str) -> str | None:
    try:
        return parse_network(text)
    except NetworkError:
        return None


def _prefix_length(entry: str, address: str, length: str) -> int:
    """The number behind the slash; IPv4 also takes its old netmask notation (/255.255.255.0)."""
    if not length.isascii() or not length.isdigit():
        return _netmask_length(entry, address, length)
    if len(length) > 1 and length.startswith("0"):
        raise NetworkError("leading_zero", f"“{_shown(entry)}”: write the length without leading zeros.")
    return int(length[:4])


def _netmask_length(entry: str, address: str, mask: str) -> int:
    try:
        bits = int(ipaddress.IPv4Address(mask))
    except ValueError:
        bits = None
    inverted = None if bits is None else bits ^ 0xFFFFFFFF
    if ":" in address or inverted is None or inverted & (inverted + 1):
        raise NetworkError("bad_length", f"“{_shown(entry)}”: “/{_shown(mask)}” is not the length of a network.")
    return 32 - inverted.bit_length()


def _parsed_address(entry: str, address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        if _LEADING_ZERO.search(address):
            message = (
                f"“{_shown(entry)}” has leading zeros, which some programs read as octal numbers: write it without."
            )
            raise NetworkError("leading_zero", message) from None
        message = f"“{_shown(entry)}” is not an IP address or a network such as 192.0.2.0/24 or 2001:db8::/32."
        raise NetworkError("not_a_network", message) from None


def _canonical(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int | None) -> str:
    if prefix is not None and prefix > address.max_prefixlen:
        message = (
            f"“{_shown(entry)}”: the length of an IPv{address.version} network is at most {address.max_prefixlen}."
        )
        raise NetworkError("bad_length", message)
    length = address.max_prefixlen if prefix is None else prefix
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None and length >= 96:
        address, length = mapped, length - 96
        if length == 0:
            # ::ffff:0:0/96 means all of IPv4, but its canonical text would let everybody in, IPv6 too.
            message = f"“{_shown(entry)}” would allow every address, IPv6 too. If you mean that, enter {EVERYBODY}."
            raise NetworkError("everybody", message, EVERYBODY)
    network: _Network = ipaddress.ip_network((address, length), strict=False)
    if network.network_address != address:
        message = f"“{_shown(entry)}” is an address inside a network. Did you mean {network}?"
        raise NetworkError("host_bits", message, str(network))
    return str(network)


def _shown(text: str) -> str:
    """At most a line's worth of what was typed, without control characters."""
    printable = "".join(character if character.isprintable() else "·" for character in text)
    return printable if len(printable) <= _SHOWN_CHARACTERS else printable[: _SHOWN_CHARACTERS - 1] + "…"
