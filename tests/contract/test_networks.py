"""Whitelist notation: what is accepted, what it becomes, and what each refusal says."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.networks import NetworkError, parse_network


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("  192.0.2.7\t", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("0.0.0.0/0.0.0.0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("2001:0DB8:0000::/32", "2001:db8::/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:c000:207/128", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::1", "::1/128"),
    ],
)
def test_notations_become_canonical(text: str, canonical: str) -> None:
    assert parse_network(text) == canonical
    assert parse_network(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "code", "suggestion"),
    [
        ("", "empty", None),
        (" \n", "empty", None),
        ("192.0.2.7/24", "host_bits", "192.0.2.0/24"),
        ("2001:db8::1/64", "host_bits", "2001:db8::/64"),
        ("::ffff:192.0.2.7/120", "host_bits", "192.0.2.0/24"),
        ("10.0.0.1/0", "host_bits", "0.0.0.0/0"),
        ("010.0.0.1", "leading_zero", None),
        ("10.0.0.01", "leading_zero", None),
        ("10.0.0.0/08", "leading_zero", None),
        ("::ffff:010.0.0.1", "leading_zero", None),
        ("fe80::1%eth0", "zone", None),
        ("[2001:db8::1]:443", "address_with_port", "2001:db8::1/128"),
        ("192.0.2.7:8080", "address_with_port", "192.0.2.7/32"),
        ("192.0.2.0/33", "bad_length", None),
        ("2001:db8::/129", "bad_length", None),
        ("192.0.2.0/", "bad_length", None),
        ("192.0.2.0/-1", "bad_length", None),
        ("192.0.2.0/0.0.0.255", "bad_length", None),
        ("192.0.2.0/24/24", "bad_length", None),
        ("2001:db8::/255.255.255.0", "bad_length", None),
        ("192.0.2.0/" + "9" * 5000, "bad_length", None),
        ("::ffff:0:0/96", "everybody", "0.0.0.0/0"),
        ("192.0.2", "not_a_network", None),
        ("192.0.2.256", "not_a_network", None),
        ("0x7f.0.0.1", "not_a_network", None),
        ("2130706433", "not_a_network", None),
        ("192.0.2.1-192.0.2.9", "not_a_network", None),
        ("example.org", "not_a_network", None),
        ("١٩٢.0.2.1", "not_a_network", None),
        ("192.0.2.1\x00", "not_a_network", None),
    ],
)
def test_refusals_name_the_fault_and_offer_the_correction(text: str, code: str, suggestion: str | None) -> None:
    with pytest.raises(NetworkError) as refusal:
        parse_network(text)

    assert refusal.value.code == code
    assert refusal.value.suggestion == suggestion
    assert len(refusal.value.message) < 300


def test_host_bits_message_offers_the_network() -> None:
    with pytest.raises(NetworkError, match=r"Did you mean 192\.0\.2\.0/24\?"):
        parse_network("192.0.2.9/24")


@given(st.ip_addresses())
def test_every_address_is_a_network_of_one(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    network = ipaddress.ip_network(parse_network(str(address)))

    assert network.num_addresses == 1
    assert parse_network(str(network)) == str(network)


@given(st.text(max_size=80) | st.text(alphabet="0123456789abcdef:./%[]", max_size=45))
def test_any_text_is_canonical_or_refused(text: str) -> None:
    canonical = accepted(text)

    assert canonical is None or str(ipaddress.ip_network(canonical)) == canonical


def accepted(text: str) -> str | None:
    """The canonical text, or what the refusal suggests (which must itself be accepted as it stands)."""
    try:
        return parse_network(text)
    except NetworkError as refusal:
        return refusal.suggestion and parse_network(refusal.suggestion)
