"""Two groups of gateway workers against one database: a trial gives exactly 100, and a stop is confirmed by all."""

from __future__ import annotations

import time

from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Testbed
from testkit.client import load


def two_groups(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway") as site, site.second_gateway() as second:
        urls = (site.gateway_url, second.gateway_url)
        connections = int(scale.pick(4, 16))
        with (
            load(urls[0], site.trial, connections=connections, pause_s=0) as first_trial,
            load(urls[1], site.trial, connections=connections, pause_s=0) as second_trial,
        ):
            trials = (first_trial, second_trial)
            is_over = until(lambda: all(b"has used all" in one.last_body for one in trials), 60)
            report.must(is_over is not None, "both groups find the trial used up")
        successes = sum(one.answers[200] for one in trials)
        report.must(successes == 100, f"the trial gave exactly 100 answers: {successes}")
        with (
            load(urls[0], site.official, connections=3) as first,
            load(urls[1], site.official, connections=3) as other,
        ):
            until(lambda: first.answered > 50 and other.answered > 50, 30)
            told = site.manage_json("api", "stop", site.official.id, "--wait", "--json")
            stopped = time.time()
            until(lambda: first.since(stopped) and other.since(stopped), 10)
            time.sleep(0.3)
        report.must(told["status"] == "stopped" and told["confirmed"], f"the stop is confirmed: {told}")
        report.must(told["workers"] == {"confirmed": 4, "counted": 4}, f"by all four workers: {told['workers']}")
        late = [answer for client in (first, other) for answer in client.since(stopped) if answer.status == 200]
        report.must(not late, f"{len(late)} answers of a stopped API")
        report.must(second.gateway.stop() == 0, "the second group ends in order")
        end_gateway(site, report)
        report.tally(site, site.trial, *trials)
        report.tally(site, site.official, first, other)
        report.note(f"{first_trial.answers[200]} + {second_trial.answers[200]} = {successes} trial answers")
