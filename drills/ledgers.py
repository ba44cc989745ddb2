"""Killed between every two steps of counting, writing out, recovering, closing and folding; files that were damaged;
no room for another; two workers that recover at once: nothing is counted twice, and nothing is dropped in silence."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

from drills.orderly_end import end_gateway
from drills.report import Report, Scale, until
from drills.testbed import Site, Testbed
from gateway.usage.ledger_file import FILE_BYTES, SUFFIX
from testkit.client import load
from testkit.live_installation import worker_pids

BY_ITSELF = ("quota.sent", "quota.committed", "count.before", "count.after", "write-out.sent", "write-out.committed")
AT_A_START = ("file.drafted", "file.named", "cell.labelled")
AT_A_RECOVERY = ("recover.locked", "recover.sent", "recover.committed", "recover.removed")
AT_AN_END = ("close.sent", "close.committed")
FOLDING = ("fold.summed", "fold.marked", "fold.committed")
SHORT = {"quota.committed", "count.after", "write-out.sent", "cell.labelled", "recover.committed", "fold.summed"}

# More than a log of a drill, less than a ledger: what a full disk is to the gateway.
SMALL_FILES_BYTES = FILE_BYTES - 50_000


def ledgers(testbed: Testbed, report: Report, scale: Scale) -> None:
    with testbed.site("gateway") as site:
        with (
            load(site.gateway_url, site.official, pause_s=0.01) as client,
            load(site.gateway_url, site.trial, connections=2, pause_s=0.05) as trial,
        ):
            until(lambda: client.answered > 50 and trial.answered > 5, 30)
            for step in (*BY_ITSELF, *AT_A_START, *AT_A_RECOVERY, *AT_AN_END):
                if scale.is_long or step in SHORT:
                    _die_at(report, site, step)
            _no_room(report, site)
            until(lambda: b"has used all" in trial.last_body, 60)
        _damaged(report, site)
        end_gateway(site, report)
        _fold(report, site, [step for step in FOLDING if scale.is_long or step in SHORT])
        report.tally(site, site.official, client, is_killed=True)
        report.tally(site, site.trial, trial, is_killed=True)
        used = site.psql("SELECT used FROM apimgmt_trialquota WHERE api_id = %s", [site.trial.id])[0][0]
        successes = trial.answers[200]
        report.must(used == 100, f"in the end the trial is used up: {used}")
        report.must(100 - trial.cut <= successes <= 100, f"never more than 100: {successes} and {trial.cut} cut off")


def _die_at(report: Report, site: Site, step: str) -> None:
    """A gateway worker dies at that step; then both serve again."""
    site.arm(step)
    if step in AT_A_START or step in AT_A_RECOVERY:
        os.kill(worker_pids(site.gateway)[0], signal.SIGKILL)
    elif step in AT_AN_END:
        os.kill(site.gateway.pid, signal.SIGHUP)
    has_struck = until(lambda: not site.is_armed(step), 15)
    if not has_struck:  # each caller keeps its connection, and none of them needs what is new: let all come again
        os.kill(site.gateway.pid, signal.SIGHUP)
        has_struck = until(lambda: not site.is_armed(step), 30)
    report.must(has_struck, f"a worker came by {step}")
    site.disarm(step)
    report.must(until(lambda: _serving(site) == 2, 40), f"both workers serve after {step}")


def _serving(site: Site) -> int:
    query = (
        "SELECT count(*), count(*) FILTER (WHERE state = 'serving') FROM apimgmt_gatewayworker WHERE gone_at IS NULL"
    )
    counting, serving = site.psql(query)[0]
    return int(serving) if counting == serving else 0


def _no_room(report: Report, site: Site) -> None:
    """No file of a ledger's size can be made: a killed worker stays away, nothing is answered uncounted."""
    master = site.gateway.pid
    _, hard = resource.prlimit(master, resource.RLIMIT_FSIZE)
    resource.prlimit(master, resource.RLIMIT_FSIZE, (SMALL_FILES_BYTES, hard))
    start = len(site.gateway.log())
    os.kill(worker_pids(site.gateway)[0], signal.SIGKILL)
    report.must(until(lambda: "no_ledger" in site.gateway.log(start), 20), "the worker says that it has no ledger")
    resource.prlimit(master, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    report.must(until(lambda: _serving(site) == 2, 40), "both workers serve once there is room")


def _damaged(report: Report, site: Site) -> None:
    """Everything killed at once, then one ledger cut short and one made older; four workers want to recover them."""
    time.sleep(2.5)  # all is written out, so that even an unreadable file loses nothing
    site.gateway.kill_all()
    cut, older, *_ = sorted(site.environment.ledger_dir.glob(f"*{SUFFIX}"))
    os.truncate(cut, FILE_BYTES - 1000)
    with older.open("r+b") as file:
        file.seek(8)
        file.write(b"\0\0\0\0")  # the format's number: a release before the first
    start = len(site.gateway.log())
    with site.second_gateway(shares_ledgers=True) as second:
        site.start("gateway")
        log = Path(second.gateway.log_path)
        reasons = ("bytes instead of", "it has format 0")
        is_told = until(lambda: all(reason in log.read_text() for reason in reasons), 20)
        report.must(is_told is not None, f"each damaged file is told in the log: {site.gateway.log(start)[-2000:]}")
    kept = sorted(path.name for path in site.environment.ledger_dir.glob("*.quarantine"))
    report.must(len(kept) == 2, f"damaged files are kept: {kept}")


def _fold(report: Report, site: Site, steps: list[str]) -> None:
    """Folding killed at each step, then two folds at once: the sums stay what they are."""
    before = [site.counts(api) for api in (site.official, site.trial)]
    for step in steps:
        site.arm(step)
        code = _folding(site).wait()
        report.must(code == -signal.SIGKILL, f"folding came by {step}: exit {code}")
    codes = [folding.wait() for folding in [_folding(site), _folding(site)]]
    report.must(codes == [0, 0], f"folding ends: {codes}")
    after = [site.counts(api) for api in (site.official, site.trial)]
    report.must(after == before, f"folding changes no sum: {before}, then {after}")
    left = site.psql("SELECT count(*) FROM apimgmt_requeststat WHERE ledger <> 0")[0][0]
    report.must(not left, f"all closed ledgers are folded: {left} rows are left")


def _folding(site: Site) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "drills.fold"], env=site.process_env)
