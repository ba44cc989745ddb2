"""A gateway worker frozen while Stop is pressed: the console names it and never says Stopped; an administrator may
dismiss it; and when it wakes up, it serves no old request."""

from __future__ import annotations

import os
import signal
import socket
import time
from urllib.parse import urlsplit

from drills.console import Person, state_word, words
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import load, request_to
from testkit.live_installation import worker_pids

HELD_CONNECTIONS = 12


def frozen_worker(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway", "worker", "console") as site, Person(site) as operator:
        held = _half_sent(site)
        frozen = worker_pids(site.gateway)[0]
        with load(site.gateway_url, site.official) as client:
            until(lambda: client.answered > 100, 30)
            os.kill(frozen, signal.SIGSTOP)
            try:
                operator.press(site.official, "stop")
                _watch(report, operator, site, seconds=scale.pick(5, 10))
                report.must(
                    until(lambda: "out of reach since" in words(operator.page(site.official)), 10),
                    "the page names the worker that is out of reach",
                )
                _dismiss(report, site, operator, frozen)
                for connection, rest in held:
                    connection.sendall(rest)
            finally:
                woken = time.time()
                os.kill(frozen, signal.SIGCONT)
            answers = [_answer(connection) for connection, _ in held]
            report.must(until(lambda: frozen not in worker_pids(site.gateway), 20), "a dismissed worker is replaced")
            until(lambda: len(client.since(woken)) > 50, 10)
        old = [answer for answer in client.log if answer.status == 200 and answer.ended > woken]
        report.must(not old, f"{len(old)} old answers after waking")
        statuses = [answer[9:12] for answer in answers]
        report.must(b"200" not in statuses, f"requests that waited in the frozen worker: {statuses}")
        end_gateway(site, report)
        # Those that were held are answered too, and count; 408 (the body took too long) is no request and does not.
        for status in statuses:
            if status not in {b"", b"408"}:
                client.answers[int(status)] += 1
        client.cut += statuses.count(b"")
        report.tally(site, site.official, client, is_killed=b"" in statuses)
        report.note(
            f"{len(held)} requests waited in the workers; answered {sorted({s.decode() or '-' for s in statuses})}"
        )


def _half_sent(site: Site) -> list[tuple[socket.socket, bytes]]:
    """Connections to both workers whose requests want their last bytes."""
    address = urlsplit(site.gateway_url)
    request = request_to(site.official)
    made = []
    for _ in range(HELD_CONNECTIONS):
        connection = socket.create_connection((address.hostname or "", address.port or 0), timeout=15)
        connection.sendall(request[:-5])
        made.append((connection, request[-5:]))
    time.sleep(0.3)
    return made


def _answer(connection: socket.socket) -> bytes:
    with connection:
        try:
            return connection.recv(65_536)
        except OSError:
            return b""


def _watch(report: Report, operator: Person, site: Site, *, seconds: float) -> None:
    """The page keeps the old word while a worker has not confirmed."""
    end = time.monotonic() + seconds
    told = set()
    while time.monotonic() < end:
        page = operator.page(site.official)
        told.add(state_word(page))
        report.must("1 of 2 workers" in words(page), "the page says how many have confirmed")
        time.sleep(0.25)
    report.must("Stopped" not in told, f"the page must not say Stopped: {told}")
    report.note(f"while a worker was frozen the page said {', '.join(sorted(told))}")


def _dismiss(report: Report, site: Site, operator: Person, pid: int) -> None:
    worker = site.psql("SELECT id FROM apimgmt_gatewayworker WHERE pid = %s AND gone_at IS NULL", [pid])[0][0]
    refused = operator.press(site.official, f"workers/{worker}/dismiss")
    report.must(refused.status_code == 403, f"an operator may not dismiss: {refused.status_code}")
    with Person(site, "administrator") as administrator:
        administrator.press(site.official, f"workers/{worker}/dismiss")
        told = until(lambda: state_word(administrator.page(site.official)) == "Stopped", 15)
        report.must(told is not None, "after the dismissal the page says Stopped")
