"""Gateway workers killed again and again: each is back within a second, and no answer is lost or counted twice."""

from __future__ import annotations

import os
import signal

from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Testbed
from testkit.client import load
from testkit.live_installation import worker_pids

BACK_S = 1.0
CONNECTIONS = 6


def kill_gateway(testbed: Testbed, report: Report, scale: Scale) -> None:
    kills = int(scale.pick(4, 20))
    back: list[float] = []
    with testbed.site("gateway") as site:
        with load(site.gateway_url, site.official, connections=CONNECTIONS) as client:
            for number in range(kills):
                answered = client.answered
                report.must(until(lambda: client.answered > answered + 60, 20), "answers go on")  # noqa: B023
                os.kill(worker_pids(site.gateway)[number % 2], signal.SIGKILL)
                took_s = until(lambda: site.gateway.log().count("worker_serving") == 3 + number, 20)  # noqa: B023
                back.append(20 if took_s is None else took_s)
        end_gateway(site, report)
        report.served(client, "every caller")
        report.must(client.cut <= kills * CONNECTIONS, f"a kill cuts only what was in flight: {client.cut}")
        report.within(max(back), BACK_S, "a killed worker is back")
        report.tally(site, site.official, client, is_killed=True)
        report.note(f"{kills} kills, {client.cut} requests cut off; back after at most {max(back):.2f} s")
