"""When a worker may answer: in step, awake, and within its lease."""

from __future__ import annotations

import pytest

from gateway.routing import serving_lease
from gateway.routing.serving_lease import ServingLease

SECOND = 1_000_000_000


class BootClock:
    """The boot clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND

    def pass_(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> BootClock:
    made = BootClock()
    monkeypatch.setattr(serving_lease, "boot_ns", lambda: made.now)
    return made


def in_step(lease_s: float | None = None) -> ServingLease:
    lease = ServingLease(lease_s)
    lease.renew_lease(serving_lease.boot_ns())
    lease.catch_up(lease.generation)
    return lease


def test_nothing_is_valid_before_the_first_read(boot: BootClock) -> None:
    lease = ServingLease()
    lease.tick()

    assert not lease.is_valid


def test_ticks_keep_it_valid(boot: BootClock) -> None:
    lease = in_step()

    for _ in range(10):
        boot.pass_(1)
        lease.tick()

    assert lease.check()


def test_a_request_that_comes_before_any_timer_notices_the_sleep(boot: BootClock) -> None:
    lease = in_step()

    boot.pass_(2.5)

    assert not lease.check()
    lease.tick()
    assert not lease.is_valid


def test_a_timer_that_comes_before_any_request_notices_the_sleep_too(boot: BootClock) -> None:
    lease = in_step()

    boot.pass_(2.5)
    lease.tick()

    assert not lease.check()


def test_a_read_that_began_before_the_sleep_does_not_end_it(boot: BootClock) -> None:
    lease = in_step()
    generation = lease.generation

    boot.pass_(60)
    lease.catch_up(generation)

    assert not lease.is_valid
    lease.catch_up(lease.generation)
    assert lease.is_valid


def test_falling_asleep_asks_for_a_read(boot: BootClock) -> None:
    asked: list[bool] = []
    lease = ServingLease(on_asleep=lambda: asked.append(True))

    boot.pass_(5)
    lease.tick()

    assert asked == [True]


def test_the_lease_counts_from_the_sending_of_the_heartbeat(boot: BootClock) -> None:
    lease = in_step(lease_s=3)

    sent = serving_lease.boot_ns()
    for _ in range(2):
        boot.pass_(1)
        lease.tick()
    lease.renew_lease(sent)
    boot.pass_(0.9)
    lease.tick()
    before = lease.is_valid
    boot.pass_(0.2)
    lease.tick()

    assert before
    assert not lease.is_valid
    lease.renew_lease(serving_lease.boot_ns())
    assert lease.is_valid
