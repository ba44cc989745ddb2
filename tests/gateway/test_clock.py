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
    pulse = ServingLease(lease_s)
    pulse.renew_lease(serving_lease.boot_ns())
    pulse.catch_up(pulse.generation)
    return pulse


def test_nothing_is_valid_before_the_first_read(boot: BootClock) -> None:
    pulse = ServingLease()
    pulse.tick()

    assert not pulse.is_valid


def test_ticks_keep_it_valid(boot: BootClock) -> None:
    pulse = in_step()

    for _ in range(10):
        boot.pass_(1)
        pulse.tick()

    assert pulse.check()


def test_a_request_that_comes_before_any_timer_notices_the_sleep(boot: BootClock) -> None:
    pulse = in_step()

    boot.pass_(2.5)

    assert not pulse.check()
    pulse.tick()
    assert not pulse.is_valid


def test_a_timer_that_comes_before_any_request_notices_the_sleep_too(boot: BootClock) -> None:
    pulse = in_step()

    boot.pass_(2.5)
    pulse.tick()

    assert not pulse.check()


def test_a_read_that_began_before_the_sleep_does_not_end_it(boot: BootClock) -> None:
    pulse = in_step()
    generation = pulse.generation

    boot.pass_(60)
    pulse.catch_up(generation)

    assert not pulse.is_valid
    pulse.catch_up(pulse.generation)
    assert pulse.is_valid


def test_falling_asleep_asks_for_a_read(boot: BootClock) -> None:
    asked: list[bool] = []
    pulse = ServingLease(on_asleep=lambda: asked.append(True))

    boot.pass_(5)
    pulse.tick()

    assert asked == [True]


def test_the_lease_counts_from_the_sending_of_the_heartbeat(boot: BootClock) -> None:
    pulse = in_step(lease_s=3)

    sent = serving_lease.boot_ns()
    for _ in range(2):
        boot.pass_(1)
        pulse.tick()
    pulse.renew_lease(sent)
    boot.pass_(0.9)
    pulse.tick()
    before = pulse.is_valid
    boot.pass_(0.2)
    pulse.tick()

    assert before
    assert not pulse.is_valid
    pulse.renew_lease(serving_lease.boot_ns())
    assert pulse.is_valid
