"""Matching addresses against an API's networks."""

from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.networks import NetworkError, parse_network
from gateway.routing.whitelist import Whitelist


@pytest.mark.parametrize(
    ("networks", "address", "is_allowed"),
    [
        ([], "192.0.2.7", False),
        (["192.0.2.7/32"], "192.0.2.7", True),
        (["192.0.2.7/32"], "192.0.2.8", False),
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["0.0.0.0/0"], "192.0.2.7", True),
        (["0.0.0.0/0"], "2001:db8::1", True),
        (["::/0"], "2001:db8::1", True),
        (["::/0"], "192.0.2.7", False),
        (["2001:db8::/32"], "2001:db8:1::", True),
        (["2001:db8::/32"], "2001:db9::", False),
        (["::/96"], "0.0.0.7", False),
        (["0.0.0.0/0"], "not an address", False),
    ],
)
def test_matching(networks: list[str], address: str, is_allowed: bool) -> None:
    whitelist = Whitelist(networks)

    assert whitelist.allows(address) is is_allowed
    assert whitelist.allows(address) is is_allowed


def test_unreadable_entries_allow_nobody_and_are_named() -> None:
    whitelist = Whitelist(["junk", "192.0.2.0/99", "192.0.2.0/x", "192.0.2.7/32"])

    assert whitelist.unreadable == ["junk", "192.0.2.0/99", "192.0.2.0/x"]
    assert whitelist.allows("192.0.2.7")


def test_ten_thousand_networks_are_matched_as_one_by_one() -> None:
    randomness = random.Random(7)
    networks = [f"10.{n >> 8}.{n & 255}.{randomness.randrange(0, 256, 4)}/30" for n in range(10_000)]

    whitelist = Whitelist(networks)
    answers = [whitelist.allows(f"10.{n >> 8}.{n & 255}.{n % 256}") for n in range(10_000)]

    expected = [
        ipaddress.ip_address(f"10.{n >> 8}.{n & 255}.{n % 256}") in ipaddress.ip_network(networks[n])
        for n in range(10_000)
    ]
    assert answers == expected


def test_remembered_addresses_are_bounded() -> None:
    whitelist = Whitelist(["0.0.0.0/0"])

    for number in range(10_000):
        whitelist.allows(str(ipaddress.IPv4Address(number)))

    assert len(whitelist._answers) <= 4096


@given(
    st.lists(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), min_size=1, max_size=8),
    st.integers(0, 128),
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
)
def test_agrees_with_ipaddress(
    bases: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
    length: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    networks = [ipaddress.ip_network((base, min(length, base.max_prefixlen)), strict=False) for base in bases]
    texts = [canonical for network in networks if (canonical := _canonical(str(network)))]
    everybody = "0.0.0.0/0" in texts
    # An IPv4 caller in IPv6 clothes is an IPv4 caller before it gets here.
    address = getattr(address, "ipv4_mapped", None) or address

    expected = everybody or any(address in ipaddress.ip_network(text) for text in texts)

    assert Whitelist(texts).allows(str(address)) == expected


def _canonical(text: str) -> str | None:
    try:
        return parse_network(text)
    except NetworkError:
        return None
