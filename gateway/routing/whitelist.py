"""Who may call one API: up to 10,000 networks, asked about in a microsecond."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from contract.networks import EVERYBODY

_REMEMBERED_ADDRESSES = 4096
_BITS = {socket.AF_INET: 32, socket.AF_INET6: 128}


class Whitelist:
    """The networks of one API. An empty one allows nobody; `0.0.0.0/0` allows everybody, IPv6 too; `::/0` all IPv6.

    `unreadable` are entries that got into the database by another way than the console: they allow nobody.
    """

    __slots__ = ("_allows_everybody", "_answers", "_networks", "networks", "unreadable")

    def __init__(self, networks: Iterable[str]) -> None:
        self.networks = tuple(networks)
        self.unreadable: list[str] = []
        self._allows_everybody = EVERYBODY in self.networks
        self._networks: dict[socket.AddressFamily, dict[int, set[int]]] = {socket.AF_INET: {}, socket.AF_INET6: {}}
        self._answers: dict[str, bool] = {}
        for network in self.networks:
            self._add(network)

    def allows(self, address: str) -> bool:
        """Whether a caller from this address (in normal form) may call. Remembered for the last few thousand."""
        answer = self._answers.get(address)
        if answer is None:
            answer = self._look_up(address)
            if len(self._answers) >= _REMEMBERED_ADDRESSES:
                self._answers.clear()
            self._answers[address] = answer
        return answer

    def _add(self, network: str) -> None:
        # Written out instead of `ipaddress`, which takes 20 times as long: a worker reads 10,000 entries between two
        # requests. What is canonical was decided by `contract.networks` when the entry was stored.
        address, _, length = network.partition("/")
        try:
            family, number = _number(address)
            prefix = int(length)
        except (OSError, ValueError):
            self.unreadable.append(network)
            return
        if 0 <= prefix <= _BITS[family]:
            shift = _BITS[family] - prefix
            self._networks[family].setdefault(shift, set()).add(number >> shift)
        else:
            self.unreadable.append(network)

    def _look_up(self, address: str) -> bool:
        try:
            family, number = _number(address)
        except (OSError, ValueError):
            return False
        if self._allows_everybody:
            return True
        return any(number >> shift in networks for shift, networks in self._networks[family].items())


def _number(address: str) -> tuple[socket.AddressFamily, int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, int.from_bytes(socket.inet_pton(family, address), "big")
