"""A model that computes for ever, one that wants all memory, one that ends its process: other APIs go on at their pace,
the bad one's callers get a code that says so, and the console shows the incident with its reason."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from drills.client import Client, load
from drills.console import Person, words
from drills.ground import Ground, Site
from drills.report import Report, Scale, until
from drills.settle import close_books
from tests.gateway.model_files import Made, allocating, dividing, looping
from tests.gateway.serving import Api, Rows

NEIGHBOUR_P99_S = 0.02
CALLERS = 20
SHORT_LOOP = b'{"rows": [{"n": 3000000}]}'  # seconds
ENDLESS_LOOP = b'{"rows": [{"n": 1000000000000}]}'
ALL_MEMORY = b'{"rows": [{"n": 20000000000}]}'
LOWEST_BY_MINUS_ONE = b'{"rows": [{"a": -9223372036854775808, "b": -1}]}'


def bad_models(ground: Ground, report: Report, scale: Scale) -> None:
    with ground.site("gateway", "console") as site, Person(site) as operator:
        rows = Rows(site.env["DATABASE_URL"], site.environment.model_store_dir)
        slow, greedy, fatal = (_launched(rows, made) for made in (looping(), allocating(), dividing()))
        query = "SELECT count(*) FROM apimgmt_modelload WHERE is_loaded AND api_id = ANY(%s)"
        until(lambda: rows.one(query, [slow.id, greedy.id, fatal.id]) == 6, 60)
        with load(site.gateway_url, site.official, connections=4, pause_s=0.01) as client:
            until(lambda: client.answered > 100, 30)
            _disturb(report, site, client, slow, ENDLESS_LOOP if scale.is_long else SHORT_LOOP, _slow_codes(scale))
            _disturb(report, site, client, greedy, ALL_MEMORY, {"model_failed", "too_many_requests"})
            _crash(report, site, client, fatal)
        report.served(client, "a caller of another API")
        shown = [api for api in (slow, greedy, fatal) if scale.is_long or api is not slow]
        for api in shown:
            page = operator.page(rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id))
            report.must("The model disturbed the gateway." in words(page), "the console shows the incident")
        close_books(site, report)
        report.tally(site, site.official, client, is_killed=True)


def _slow_codes(scale: Scale) -> set[str]:
    codes = {"too_many_requests", "model_timeout"}
    return codes if scale.is_long else codes | {""}


def _launched(rows: Rows, made: Made) -> Api:
    """Published as the console would, in a workspace that the operator sees."""
    api = rows.api(made)
    rows.sql(
        "UPDATE apimgmt_model SET workspace_id = (SELECT id FROM apimgmt_workspace WHERE name = 'Demo'), name = %s"
        " WHERE id = (SELECT model_id FROM apimgmt_predictionapi WHERE id = %s)",
        *(api.id, api.id),
    )
    return api


@dataclass
class _Calls:
    """What many callers at once got. `codes`: "" for a 200."""

    codes: Counter[str] = field(default_factory=Counter)
    cut: int = 0

    def make(self, site: Site, api: Api, body: bytes, number: int) -> None:
        threads = [threading.Thread(target=self._call, args=(site, api, body)) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _call(self, site: Site, api: Api, body: bytes) -> None:
        try:
            answer = httpx.post(f"{site.gateway_url}{api.path}", content=body, headers=api.headers, timeout=120)
        except httpx.TransportError:
            self.cut += 1
            return
        self.codes["" if answer.status_code == 200 else json.loads(answer.content)["code"]] += 1


def _disturb(report: Report, site: Site, client: Client, api: Api, body: bytes, expected: set[str]) -> None:
    """Many callers of a bad model at once; how long the other API's callers wait meanwhile."""
    begun = time.time()
    calls = _Calls()
    calls.make(site, api, body, CALLERS)
    report.must(set(calls.codes) <= expected, f"callers of the bad model get {expected}: {dict(calls.codes)}")
    report.must(not calls.cut, f"each is answered: {calls.cut} were cut off")
    report.must(set(calls.codes) - {""}, f"some are refused: {dict(calls.codes)}")
    waits = sorted(answer.ended - answer.begun for answer in client.since(begun))
    if len(waits) > 50:
        report.within(waits[int(len(waits) * 0.99)], NEIGHBOUR_P99_S, "p99 of another API meanwhile")
    report.note(f"{dict(calls.codes)} while another API answered {len(waits)} times")


def _crash(report: Report, site: Site, client: Client, api: Api) -> None:
    """The first poisoned request ends a worker, the others end a process of the model's own."""
    cut = client.cut
    first = _Calls()
    first.make(site, api, LOWEST_BY_MINUS_ONE, 1)
    crashed = "SELECT count(*) FROM apimgmt_gatewayincident WHERE api_id = %s AND kind = 'worker_crashed'"
    found = until(lambda: site.psql(crashed, [api.id])[0][0] > 0, 30)
    report.must(found is not None, "the worker's end is held against the model")
    told = '"it crashed a gateway worker"'
    report.must(until(lambda: site.gateway.log().count(told) >= 2, 60), "each worker moves the model into a process")
    later = _Calls()
    later.make(site, api, LOWEST_BY_MINUS_ONE, 4)
    report.must(set(later.codes) == {"model_failed"} and not later.cut, f"from then on: {dict(later.codes)}")
    report.must(client.cut - cut <= 4, f"one worker's connections were cut, once: {client.cut - cut}")
    answered = client.answered
    report.must(until(lambda: client.answered > answered + 50, 20), "another API goes on")
