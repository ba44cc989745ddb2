"""All drills, in the order in which they are run. One file a drill."""

from __future__ import annotations

from collections.abc import Callable

from drills.bad_models import bad_models
from drills.broker_away import broker_away
from drills.closing import closing
from drills.frozen_worker import frozen_worker
from drills.kill_builder import kill_builder
from drills.kill_database import kill_database
from drills.kill_gateway import kill_gateway
from drills.ledgers import ledgers
from drills.report import Report, Scale
from drills.restored import restored
from drills.testbed import Testbed
from drills.two_groups import two_groups

Drill = Callable[[Testbed, Report, Scale], None]

DRILLS: dict[str, Drill] = {
    "kill-gateway": kill_gateway,
    "broker-away": broker_away,
    "kill-database": kill_database,
    "kill-builder": kill_builder,
    "ledgers": ledgers,
    "bad-models": bad_models,
    "frozen-worker": frozen_worker,
    "two-groups": two_groups,
    "closing": closing,
    "restored": restored,
}
