"""A model that computes for ever, one that wants all memory, one that ends its process: other APIs go on at their pace,
the bad one's callers get a code that says so, and the console shows the incident with its reason."""

from __future__ import annotations

import json
import time
from collections import Counter

import httpx

from drills.console import Person, words
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import Client, load
from testkit.graphs import Made
from testkit.harmful import POISON, allocating, dividing, looping
from testkit.seeder import Api, Seeder

NEIGHBOUR_P99_S = 0.02
CALLERS = 20
ENDLESS_LOOP = b'{"rows": [{"n": 1000000000000}]}'
ALL_MEMORY = b'{"rows": [{"n": 20000000000}]}'
REFUSALS = {"too_many_requests", "model_timeout", "model_failed"}


def bad_models(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway", "console") as site, Person(site) as operator:
        rows = Seeder(site.env["DATABASE_URL"], site.environment.model_store_dir)
        slow, greedy, fatal = (_launched(rows, made) for made in (looping(), allocating(), dividing()))
        query = "SELECT count(*) FROM apimgmt_modelload WHERE is_loaded AND api_id = ANY(%s)"
        until(lambda: rows.one(query, [slow.id, greedy.id, fatal.id]) == 6, 60)
        with load(site.gateway_url, site.official, connections=4, pause_s=0.01) as client:
            until(lambda: client.answered > 100, 30)
            some_seconds = b'{"rows": [{"n": %d}]}' % scale.pick(300_000, 1_500_000)
            disturbance = _Disturbance(report, site, client, scale)
            disturbance.make(slow, some_seconds, "too_many_requests")
            if scale.is_long:
                disturbance.make(slow, ENDLESS_LOOP, "model_timeout")
            disturbance.make(greedy, ALL_MEMORY, "model_failed")
            _crash(report, site, client, fatal)
        report.served(client, "a caller of another API")
        if scale.is_long:
            _is_shown(report, rows, operator, slow, "took longer than 30 seconds")
        _is_shown(report, rows, operator, greedy, "needs more memory than it may have")
        _is_shown(report, rows, operator, fatal, "Floating point exception")
        end_gateway(site, report)
        report.tally(site, site.official, client, is_killed=True)


def _launched(rows: Seeder, made: Made) -> Api:
    """Published as the console would, in a workspace that the operator sees."""
    api = rows.api(made)
    rows.sql(
        "UPDATE apimgmt_model SET workspace_id = (SELECT id FROM apimgmt_workspace WHERE name = 'Demo'), name = %s"
        " WHERE id = (SELECT model_id FROM apimgmt_predictionapi WHERE id = %s)",
        *(api.id, api.id),
    )
    return api


class _Disturbance:
    """Many callers of a bad model at once; how long the other API's callers wait meanwhile."""

    def __init__(self, report: Report, site: Site, client: Client, scale: Scale) -> None:
        self._report = report
        self._site = site
        self._client = client
        self._scale = scale

    def make(self, api: Api, body: bytes, expected: str) -> None:
        """Until some callers were refused with that code, and for some seconds at least."""
        report, begun = self._report, time.time()
        with load(self._site.gateway_url, api, connections=CALLERS, body=body, pause_s=0.25) as callers:
            is_refused = until(lambda: _codes(callers)[expected], 90, 0.1)
            time.sleep(max(0.0, begun + self._scale.pick(2, 10) - time.time()))
            waits = sorted(answer.ended - answer.begun for answer in self._client.since(begun))
        codes = _codes(callers)
        report.must(is_refused is not None, f"callers of the bad model get {expected}: {dict(codes)}")
        report.must(set(codes) <= REFUSALS | {"200"}, f"callers of the bad model get nothing else: {dict(codes)}")
        report.must(not callers.cut, f"each is answered: {callers.cut} were cut off")
        p99_s = waits[int(len(waits) * 0.99)]
        if self._scale.is_long:  # of fewer answers it says little
            report.within(p99_s, NEIGHBOUR_P99_S, "p99 of another API meanwhile")
        report.note(f"{dict(codes)} while another API answered {len(waits)} times, p99 {p99_s * 1000:.1f} ms")


def _codes(callers: Client) -> Counter[str]:
    return Counter("200" if one.status == 200 else str(json.loads(one.body)["code"]) for one in list(callers.log))


def _crash(report: Report, site: Site, client: Client, api: Api) -> None:
    """The first poisoned request ends a worker, the others end a process of the model's own."""
    cut = client.cut
    _poison(site, api)
    crashed = "SELECT count(*) FROM apimgmt_gatewayincident WHERE api_id = %s AND kind = 'worker_crashed'"
    found = until(lambda: site.psql(crashed, [api.id])[0][0] > 0, 30)
    report.must(found is not None, "the worker's end is held against the model")
    told = '"it crashed a gateway worker"'
    report.must(until(lambda: site.gateway.log().count(told) >= 2, 60), "each worker moves the model into a process")
    later = Counter(_poison(site, api) for _ in range(4))
    report.must(set(later) == {"model_failed"}, f"from then on: {dict(later)}")
    report.must(client.cut - cut <= 4, f"one worker's connections were cut, once: {client.cut - cut}")
    answered = client.answered
    report.must(until(lambda: client.answered > answered + 50, 20), "another API goes on")


def _poison(site: Site, api: Api) -> str:
    """What the caller of a deadly request gets."""
    try:
        answer = httpx.post(f"{site.gateway_url}{api.path}", content=POISON, headers=api.headers, timeout=60)
    except httpx.TransportError:
        return "cut off"
    return str(answer.json().get("code", answer.status_code))


def _is_shown(report: Report, rows: Seeder, operator: Person, api: Api, reason: str) -> None:
    model_id = rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id)
    until(lambda: rows.sql("SELECT 1 FROM apimgmt_gatewayincident WHERE api_id = %s", api.id), 10)
    page = words(operator.page(model_id))
    report.must(
        "The model disturbed the gateway." in page and reason in page, f"the console shows the incident: {reason}"
    )
