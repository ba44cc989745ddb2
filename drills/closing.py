"""A network removed, a key rolled, an API stopped, under full load and beside slow requests: how long the old rule
is still answered by, on every worker; and that nothing is, once the console has said that it is confirmed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx

from drills.apis import DrillApi
from drills.console import Person, state_word, words
from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import Client, load

OBEYED_S = 0.25
SLOW_ROWS = 2000
_KEY = re.compile(r"pak_[0-9A-Za-z]{20,}")


@dataclass
class ConsoleAction:
    """One closing change: how it is asked for and what its page then says."""

    name: str
    press: Callable[[], httpx.Response]
    look: Callable[[], httpx.Response]
    is_told: Callable[[httpx.Response], bool]


@dataclass
class Seen:
    """What the clients of all actions noted. `delays`: seconds from a commit to each worker's last old answer."""

    clients: list[Client]
    delays: list[float]
    late: int = 0


def closing(testbed: Testbed, report: Report, scale: Scale) -> None:
    seen = Seen([], [])
    with testbed.site("gateway", "console", "worker") as site, Person(site) as operator:
        slow = load(site.gateway_url, site.neighbour, connections=2, body=site.neighbour.rows(SLOW_ROWS))
        with slow as neighbour:
            api = site.official
            for round_number in range(int(scale.pick(1, 10))):
                if round_number:
                    _open_again(site, operator, report, api)
                _carry_out(site, report, api, seen, _network(operator, site, api))
                operator.press(api, "whitelist", text="0.0.0.0/0", add="text")
                _carry_out(site, report, api, seen, _key(operator, api))
                api = replace(api, key=_key_on(operator.page(api)))
                _carry_out(site, report, api, seen, _stop(operator, api))
        report.served(neighbour, "the slow API")
        end_gateway(site, report)
        report.tally(site, site.official, *seen.clients)
        report.tally(site, site.neighbour, neighbour)
    seen.delays.sort()
    report.within(seen.delays[int(len(seen.delays) * 0.99)], OBEYED_S, "from commit to the last old answer, p99")
    report.must(not seen.late, f"{seen.late} answers by the old rule after the console had said it was confirmed")
    report.note(
        f"{len(seen.delays)} worker changes; from commit to the last old answer: median "
        f"{seen.delays[len(seen.delays) // 2] * 1000:.0f} ms, most {seen.delays[-1] * 1000:.0f} ms; "
        f"{seen.late} after the confirmation"
    )


def _network(operator: Person, site: Site, api: DrillApi) -> ConsoleAction:
    entry = site.psql("SELECT id FROM apimgmt_whitelistentry WHERE api_id = %s", [api.id])[0][0]
    return ConsoleAction(
        "network removed",
        lambda: operator.press(api, "whitelist", remove=str(entry)),
        lambda: operator.page(api),
        _is_confirmed,
    )


def _key(operator: Person, api: DrillApi) -> ConsoleAction:
    return ConsoleAction(
        "key rolled", lambda: operator.press(api, "key/roll"), lambda: operator.page(api), _is_confirmed
    )


def _stop(operator: Person, api: DrillApi) -> ConsoleAction:
    return ConsoleAction(
        "stopped",
        lambda: operator.press(api, "stop"),
        lambda: operator.page(api),
        lambda page: state_word(page) == "Stopped",
    )


def _is_confirmed(page: httpx.Response) -> bool:
    text = words(page).lower()
    return "confirmed by 2 of 2 workers" in text and "not confirmed yet" not in text


def _carry_out(site: Site, report: Report, api: DrillApi, seen: Seen, action: ConsoleAction) -> None:
    """Ask for the change under load, look until the console says it is done, and call on a little longer."""
    with load(site.gateway_url, api, pause_s=0.002) as client:
        report.must(until(lambda: client.answers[200] > 100, 30), f"{action.name}: answers before")
        page = action.press()
        end = time.monotonic() + 30
        while not (is_told := action.is_told(page)) and time.monotonic() < end:
            page = action.look()
        shown = time.time()
        report.must(is_told, f"{action.name}: the console never said so: {words(page)[:400]}")
        time.sleep(0.3)
    seen.clients.append(client)
    asked = site.psql(
        "SELECT extract(epoch FROM requested_at) FROM apimgmt_receipt WHERE api_id = %s ORDER BY id DESC LIMIT 1",
        [api.id],
    )
    committed = float(asked[0][0])
    workers: dict[str, float] = {}
    for answer in client.log:
        if answer.status == 200:
            workers[answer.worker] = max(workers.get(answer.worker, 0), answer.ended - committed)
            seen.late += answer.ended > shown
    seen.delays += [max(0.0, delay) for delay in workers.values()]
    report.must(client.since(shown), f"{action.name}: calls after the confirmation")


def _open_again(site: Site, operator: Person, report: Report, api: DrillApi) -> None:
    operator.press(api, "start")
    report.must(until(lambda: state_word(operator.page(api)) == "Operating", 60, 0.1), "the API operates again")


def _key_on(page: httpx.Response) -> str:
    found = _KEY.search(page.text)
    if found is None:
        raise RuntimeError(f"the page shows no key: {words(page)[:400]}")
    return found[0]
