"""The database restored from an older backup under running workers, an entry changed by plain SQL, and a rolling
restart, all under load: what the database says is obeyed, and every answer is counted once."""

from __future__ import annotations

import os
import signal
import time

from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from testkit.client import Client, load
from testkit.live_installation import worker_pids


def restored(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway") as site, load(site.gateway_url, site.official) as client:
        with load(site.gateway_url, site.neighbour, connections=2, pause_s=0.01) as neighbour:
            until(lambda: client.answered > 100 and neighbour.answered > 20, 30)
            _restore(report, site)
            report.must(until(lambda: _is_in_step(site), 20), "every worker obeys the restored database")
            restored_at = time.time()
            until(lambda: len(neighbour.since(restored_at)) > 20, 20)
            after = {answer.status for answer in neighbour.since(restored_at)}
            report.must(after == {200}, f"what was stopped after the backup operates again: {after}")
            changed = _change_by_sql(report, site)
        for _ in range(int(scale.pick(1, 4))):
            _roll(report, site)
        seen = client.answered
        until(lambda: client.answered > seen + 100, 20)
        refused = {answer.status for answer in neighbour.refusals}
        report.must(refused <= {503, 403}, f"the neighbour was refused by the rules of the moment only: {refused}")
        report.served(client, "a caller of the official API")
        client.stop()
        time.sleep(0.5)
        end_gateway(site, report)
        report.tally(site, site.official, client)
        report.tally(site, site.neighbour, neighbour, changed)


def _restore(report: Report, site: Site) -> None:
    """Take a backup, stop an API, count on; then put the backup back and write a new epoch."""
    with site.database_away():
        site.copy_database("backup")
    report.must(until(lambda: _is_in_step(site), 20), "workers are in step after the backup")
    for _ in range(3):  # the restored database's revision is to be a lower one
        site.psql(
            "UPDATE apimgmt_predictionapi SET target = 'operating', revision = -1 WHERE id = %s", [site.neighbour.id]
        )
    site.psql("UPDATE apimgmt_predictionapi SET target = 'stopped' WHERE id = %s", [site.neighbour.id])
    report.must(until(lambda: _is_in_step(site), 20), "workers obey the stop")
    time.sleep(1.5)
    with site.database_away():
        site.restore_database("backup")
    told = site.manage("new_epoch", check=False)
    report.must("Every gateway worker has read" in told.stdout, f"new_epoch: {told.stdout} {told.stderr}")


def _is_in_step(site: Site) -> bool:
    """Both workers count, and have applied the present revision of the present epoch."""
    counting, in_step = site.psql(
        "SELECT count(*), count(*) FILTER (WHERE w.epoch = i.epoch AND w.applied_revision = i.revision"
        " AND w.heartbeat_at > clock_timestamp() - interval '2 seconds')"
        " FROM apimgmt_gatewayworker w CROSS JOIN apimgmt_installation i WHERE w.gone_at IS NULL"
    )[0]
    return bool(counting == in_step == site.environment.gateway_workers)


def _change_by_sql(report: Report, site: Site) -> Client:
    """Without the console: the trigger numbers it, gateways obey it. Returns who called afterwards."""
    site.psql(
        "UPDATE apimgmt_whitelistentry SET network = '192.0.2.1/32' WHERE api_id = %s AND network = '0.0.0.0/0'",
        [site.neighbour.id],
    )
    took_s = until(lambda: _is_in_step(site), 20, 0.01)
    report.within(took_s, 1, "an entry changed by plain SQL is obeyed")
    with load(site.gateway_url, site.neighbour, connections=4, pause_s=0.01) as client:
        until(lambda: client.answered > 20, 20)
    report.must(set(client.answers) == {403}, f"an entry changed by plain SQL is obeyed: {dict(client.answers)}")
    return client


def _roll(report: Report, site: Site) -> None:
    """Every worker replaced by a fresh one, under load."""
    before = worker_pids(site.gateway)
    ended = site.gateway.log().count("rolling_restart_ended")
    os.kill(site.gateway.pid, signal.SIGHUP)
    took_s = until(lambda: site.gateway.log().count("rolling_restart_ended") > ended, 60)
    report.must(took_s is not None, "the rolling restart ends")
    report.must(not set(before) & set(worker_pids(site.gateway)), "every worker was replaced")
