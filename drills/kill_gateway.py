"""Gateway workers killed again and again: each is back within a second, and no answer is lost or counted twice."""

from __future__ import annotations

import os
import signal

from drills.client import load
from drills.ground import Ground, worker_pids
from drills.report import Report, Scale, until

BACK_S = 1.0
CONNECTIONS = 6


def kill_gateway(ground: Ground, report: Report, scale: Scale) -> None:
    kills = int(scale.pick(4, 20))
    back: list[float] = []
    with ground.site("gateway") as site:
        with load(site.gateway_url, site.official, connections=CONNECTIONS) as client:
            for number in range(kills):
                answered = client.answered
                report.must(until(lambda: client.answered > answered + 60, 10), "answers go on")  # noqa: B023
                os.kill(worker_pids(site.gateway)[number % 2], signal.SIGKILL)
                took_s = until(lambda: site.gateway.log().count("worker_serving") == 3 + number, 10)  # noqa: B023
                back.append(took_s if took_s is not None else 10)
        site.gateway.stop()
        # Those of the last killed worker may not have been adopted before the end: the next start does it.
        site.gateway.start()
        report.must(
            until(lambda: not site.psql("SELECT FROM apimgmt_gatewayworker WHERE gone_at IS NULL OFFSET 2"), 10),
            "the dead are found to be gone",
        )
        site.gateway.stop()
        report.must(set(client.answers) == {200}, f"every answer is a 200: {dict(client.answers)}")
        report.must(client.cut <= kills * CONNECTIONS, f"a kill cuts only what was in flight: {client.cut}")
        limit = BACK_S * scale.pick(3, 1)  # tests share their machine
        report.must(max(back) <= limit, f"a killed worker is back within {limit} s: {max(back):.2f} s")
        report.tally(site, site.official, client, is_killed=True)
        report.note(f"{kills} kills, {client.cut} requests cut off; back after at most {max(back):.2f} s")
