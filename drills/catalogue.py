"""All drills, in the order in which they are run. One file a drill."""

from __future__ import annotations

from collections.abc import Callable

from drills.ground import Ground
from drills.kill_gateway import kill_gateway
from drills.report import Report, Scale

Drill = Callable[[Ground, Report, Scale], None]

DRILLS: dict[str, Drill] = {
    "kill-gateway": kill_gateway,
}
