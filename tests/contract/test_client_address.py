"""Who is believed about the client's address, and what forging does."""

from __future__ import annotations

import ipaddress

import pytest

from contract.client_address import BadForwardedFor, ClientAddresses

TRUSTED = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "2001:db8:ffff::/48")]


@pytest.fixture
def addresses() -> ClientAddresses:
    return ClientAddresses(TRUSTED)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.7", ("192.0.2.7", False)),
        ("::ffff:192.0.2.7", ("192.0.2.7", False)),
        ("::ffff:10.1.2.3", ("10.1.2.3", True)),
        ("10.1.2.3", ("10.1.2.3", True)),
        ("fe80::1%eth0", ("fe80::1", False)),
        ("2001:DB8:ffff::1", ("2001:db8:ffff::1", True)),
    ],
)
def test_peer_in_normal_form(addresses: ClientAddresses, host: str, expected: tuple[str, bool]) -> None:
    assert addresses.of_peer(host) == expected
    assert addresses.of_peer(host) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"192.0.2.7"], "192.0.2.7"),
        ([b"198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        ([b"198.51.100.1", b"192.0.2.7, 10.9.9.9"], "192.0.2.7"),
        ([b"198.51.100.1", b"192.0.2.7", b"10.9.9.9"], "192.0.2.7"),
        ([b"192.0.2.7:4711, 10.0.0.2:80"], "192.0.2.7"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"2001:db8::1"], "2001:db8::1"),
        ([b"::ffff:192.0.2.7"], "192.0.2.7"),
        ([b"10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ([b"junk, 192.0.2.7"], "192.0.2.7"),
        ([b"192.0.2.7" + b", 10.0.0.2" * 31], "192.0.2.7"),
        ([b"10.0.0.2, " * 3000 + b"192.0.2.7"], "192.0.2.7"),
        ([b"192.0.2.7\t, 10.0.0.2"], "192.0.2.7"),
    ],
)
def test_rightmost_untrusted_element(addresses: ClientAddresses, lines: list[bytes], expected: str) -> None:
    assert addresses.of_forwarded("10.0.0.1", lines) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"192.0.2.7,",
        b"unknown",
        b"192.0.2.7, junk",
        b"192.0.2.7, junk, 10.0.0.2",
        b"192.0.2.07",
        b"192.0.2.7:",
        b"192.0.2.7:99999",
        b"192.0.2.7:http",
        b"[192.0.2.7]:80",
        b"[2001:db8::1",
        b"[2001:db8::1]x",
        b"fe80::1%eth0",
        b'"192.0.2.7"',
        b"for=192.0.2.7",
        b"\xff\xfe",
        b"192.0.2.7" + b", 10.0.0.2" * 32,
        b"10.0.0.2," * 3000,
    ],
)
def test_unparsable_element_refuses_the_request(addresses: ClientAddresses, line: bytes) -> None:
    with pytest.raises(BadForwardedFor):
        addresses.of_forwarded("10.0.0.1", [line])


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert ClientAddresses([]).of_peer("127.0.0.1") == ("127.0.0.1", False)


def test_memory_of_peers_is_bounded() -> None:
    addresses = ClientAddresses([])

    for number in range(10_000):
        addresses.of_peer(str(ipaddress.IPv4Address(number)))

    assert len(addresses._peers) <= 4096
