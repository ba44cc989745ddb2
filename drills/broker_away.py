"""Valkey killed, then frozen, for ten seconds: callers do not notice; what is asked for meanwhile is carried out when
it is back, once, and the page says what it waits for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from drills.console import Person, state_word, words
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import load


def broker_away(testbed: Testbed, report: Report, scale: Scale) -> None:
    seconds = scale.pick(5, 10)
    with testbed.site("gateway", "worker", "beat", "console") as site, Person(site) as operator:
        with load(site.gateway_url, site.official, pause_s=0.01) as client:
            until(lambda: client.answered > 100, 30)
            with _killed(testbed):
                launched = _ask(report, site, operator, "Breast cancer", site.trial.model_id, seconds)
            _ends(report, site, operator, launched)
            if scale.is_long:
                with _frozen(testbed):
                    launched = _ask(report, site, operator, "Diabetes progression", site.neighbour.model_id, seconds)
                _ends(report, site, operator, launched)
        report.served(client, "a caller who notices nothing")
        end_gateway(site, report)
        report.tally(site, site.official, client)


@contextmanager
def _killed(testbed: Testbed) -> Iterator[None]:
    os.kill(testbed.valkey_pid, signal.SIGKILL)
    try:
        yield
    finally:
        testbed.servers.restart_dead()


@contextmanager
def _frozen(testbed: Testbed) -> Iterator[None]:
    os.kill(testbed.valkey_pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(testbed.valkey_pid, signal.SIGCONT)


def _ask(report: Report, site: Site, operator: Person, name: str, stopped_id: int, seconds: float) -> int:
    """Launch one API and stop another. Returns the model of the launched one."""
    end = time.monotonic() + seconds
    model_id: int = site.psql(
        "SELECT m.id FROM apimgmt_model m JOIN apimgmt_workspace w ON w.id = m.workspace_id"
        " WHERE w.name = 'Demo trial' AND m.name = %s",
        [name],
    )[0][0]
    _timed(report, lambda: operator.press(model_id, "launch", type="trial", callers="everybody").status_code, "launch")
    _timed(report, lambda: operator.press(stopped_id, "stop").status_code, "stop")
    is_stopped = until(lambda: state_word(operator.page(stopped_id)) == "Stopped", 10, 0.1)
    report.must(is_stopped is not None, "a stop needs no broker: gateways confirm it to the database")
    is_told = until(lambda: "Waiting for the build worker" in words(operator.page(model_id)), 10, 0.1)
    report.must(is_told is not None, f"the page says what the launch waits for: {state_word(operator.page(model_id))}")
    time.sleep(max(0.0, end - time.monotonic()))
    return model_id


def _timed(report: Report, press: Callable[[], int], what: str) -> None:
    begun = time.monotonic()
    status = press()
    report.must(status == 200, f"{what} is accepted without the broker: {status}")
    report.within(time.monotonic() - begun, 8, f"{what} is answered without the broker")


def _ends(report: Report, site: Site, operator: Person, model_id: int) -> None:
    took_s = until(lambda: state_word(operator.page(model_id)) == "Operating", 120, 0.1)
    report.within(took_s, 15, "a launch asked for meanwhile operates after the broker is back")
    events = dict(
        site.psql(
            "SELECT verb, count(*) FROM apimgmt_apievent e JOIN apimgmt_predictionapi a ON a.id = e.api_id"
            " WHERE a.model_id = %s GROUP BY verb",
            [model_id],
        )
    )
    report.must(events == {"launch": 1, "publish": 1, "operating": 1}, f"nothing is done twice: {events}")
    builds = site.psql(
        "SELECT count(*) FROM apimgmt_build b JOIN apimgmt_predictionapi a ON a.id = b.api_id WHERE a.model_id = %s",
        [model_id],
    )[0][0]
    report.must(builds == 1, f"one build: {builds}")
