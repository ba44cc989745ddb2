"""Every write that a person can ask for. Page, command line and admin site call these; the rules stand behind them.

Each takes the actor last, checks the actor's right and the transition table, and raises the errors of `apimgmt.errors`.
Work that takes time (building, waiting for gateways) is queued on commit.
"""

from __future__ import annotations

from apimgmt.lifecycle.services.callers import (
    Added,
    add_networks,
    describe_api,
    remove_network,
    reveal_key,
    roll_key,
)
from apimgmt.lifecycle.services.gateways import dismiss_worker
from apimgmt.lifecycle.services.launching import Launched, launch_api
from apimgmt.lifecycle.services.serving import (
    cancel_api,
    delete_api,
    lock_api,
    start_api,
    stop_api,
    unlock_api,
    update_api,
    upgrade_api,
)

__all__ = [
    "Added",
    "Launched",
    "add_networks",
    "cancel_api",
    "delete_api",
    "describe_api",
    "dismiss_worker",
    "launch_api",
    "lock_api",
    "remove_network",
    "reveal_key",
    "roll_key",
    "start_api",
    "stop_api",
    "unlock_api",
    "update_api",
    "upgrade_api",
]
