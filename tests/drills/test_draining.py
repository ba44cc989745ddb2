"""The gateway's orderly end when the database does not answer."""

from __future__ import annotations

import pytest

from drills.orderly_end import end_gateway
from drills.report import Report, until
from drills.testbed import Testbed
from testkit.client import load

pytestmark = pytest.mark.long


def test_a_frozen_database_does_not_hold_up_the_end_and_loses_no_count(testbed: Testbed) -> None:
    report = Report("draining", is_timed=False)
    with testbed.site("gateway") as site:
        with load(site.gateway_url, site.official) as client:
            until(lambda: client.answered > 200, 30)
            with testbed.frozen_postgres():
                code = site.gateway.stop()  # what is not over by the supervisor's limit is killed
        end_gateway(site, report)
        report.tally(site, site.official, client, is_killed=True)  # connections that nobody had accepted are reset

    assert code == 0
    assert not report.broken, report.broken
    assert report.answers == report.counted
