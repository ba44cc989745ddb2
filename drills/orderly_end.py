"""The end of a drill: all counts are in the database, so that they can be compared with what callers saw."""

from __future__ import annotations

import time

from drills.report import Report, until
from drills.testbed import Site


def end_gateway(site: Site, report: Report) -> None:
    """End the gateway as an operator does, after it has taken over what killed workers left."""
    if not site.gateway.is_running:
        site.start("gateway")
    report.must(until(lambda: _are_dead_gone(site), 30), f"the dead are found to be gone: {_workers(site)}")
    begun, before = time.monotonic(), len(site.gateway.log())
    code = site.gateway.stop(timeout_s=20)
    report.within(time.monotonic() - begun, 10.5, "the gateway's orderly end")
    report.must(code == 0, f"the gateway ends in order: exit {code}: {site.gateway.log(before)[-1500:]}")
    open_ledgers = site.psql("SELECT count(*) FROM apimgmt_ledger WHERE state = 'open'")[0][0]
    report.must(not open_ledgers, f"every ledger is closed: {open_ledgers} are open")
    files = [path.name for path in site.environment.ledger_dir.iterdir() if path.suffix == ".ledger"]
    report.must(not files, f"no ledger is left over: {files}")


def _are_dead_gone(site: Site) -> bool:
    alive = site.psql("SELECT count(*) FROM apimgmt_gatewayworker WHERE gone_at IS NULL")[0][0]
    return bool(alive == site.environment.gateway_workers)


def _workers(site: Site) -> list[tuple[object, ...]]:
    return site.psql("SELECT slot, state, pid, gone_reason FROM apimgmt_gatewayworker ORDER BY started_at")
