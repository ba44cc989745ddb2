"""PostgreSQL killed, back after ten seconds: official APIs go on and are counted, trials wait, the console says so."""

from __future__ import annotations

import json
import time

import httpx

from drills.console import Person
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import Answer, load

# What was under way when the server died may still be answered by what the database had said.
GRACE_S = 1.0


def kill_database(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway", "console") as site, Person(site) as operator:
        with (
            load(site.gateway_url, site.official) as official,
            load(site.gateway_url, site.trial, connections=2, pause_s=0.2) as trial,
        ):
            until(lambda: official.answered > 100 and trial.answered > 5, 30)
            testbed.kill_postgres()
            killed = time.time()
            pages = _while_it_is_away(report, site, operator, scale.pick(4, 10))
            started = time.time()
            before = official.answered
            testbed.servers.restart_dead()
            report.must(until(lambda: official.answered > before + 100, 20), "official answers go on after")
            took_s = until(lambda: operator.page(site.official).status_code == 200, 20)
            report.within(took_s, 5, "the console is back")
            report.must(until(lambda: _is_exhausted(trial.refusals[-1:]), 60), "the trial is used up in the end")
        away = [answer for answer in trial.log if killed + GRACE_S < answer.begun and answer.ended < started]
        _check_trial(report, away, trial.answers[200])
        report.served(official, "a caller of the official API")
        end_gateway(site, report)
        report.tally(site, site.official, official)
        report.tally(site, site.trial, trial)
        report.note(
            f"away for {time.time() - killed:.0f} s; {len(away)} trial calls meanwhile; {pages} console pages said so"
        )


def _while_it_is_away(report: Report, site: Site, operator: Person, seconds: float) -> int:
    """Reads the console as a person would; returns how many pages said that the database is away."""
    end = time.monotonic() + seconds
    pages: list[httpx.Response] = []
    while time.monotonic() < end:
        pages.append(operator.page(site.official))
        time.sleep(0.5)
    said = [page for page in pages if page.status_code == 503 and "The database is away" in page.text]
    report.must(len(said) == len(pages), f"pages without the database: {[page.status_code for page in pages]}")
    report.must(all("Traceback" not in page.text for page in pages), "no page shows a traceback")
    return len(said)


def _check_trial(report: Report, away: list[Answer], successes: int) -> None:
    codes = {(answer.status, _code(answer)) for answer in away}
    report.must(away, "the trial was called while the database was away")
    report.must(codes <= {(503, "quota_unavailable")}, f"a trial without the database answers 503: {codes}")
    report.must(successes == 100, f"the trial gave exactly 100 answers: {successes}")


def _is_exhausted(refusals: list[Answer]) -> bool:
    return any(_code(answer) == "quota_exhausted" and b"has used all" in answer.body for answer in refusals)


def _code(answer: Answer) -> str:
    return str(json.loads(answer.body).get("code", ""))
