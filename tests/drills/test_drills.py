"""The short form of each drill: what happens, not how soon; `make drill` runs the long one and prints the table."""

from __future__ import annotations

import pytest

from drills.catalogue import DRILLS
from drills.report import Report, Scale
from drills.testbed import Testbed

pytestmark = pytest.mark.long


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", DRILLS)
def test_drill(testbed: Testbed, name: str) -> None:
    report = Report(name, is_timed=False)

    DRILLS[name](testbed, report, Scale(is_long=False))

    assert not report.broken, "\n".join(report.broken)
    assert report.answers > 0
    assert (report.lost, report.double) == (0, 0)
