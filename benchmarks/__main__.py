"""`make bench`: every figure of the gateway's speed in one run, beside servers it is compared with.

`--quick` makes it short: fewer and shorter runs, smaller variants, and only references that are installed already.
`--beside PATH` lets the gateway of another working tree take its turns with heavy models: before and after in one run.
All servers are the bench's own, on free ports of the loopback interface, and are stopped at its end.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bench_models
from benchmarks.benched_gateway import BenchApi, BenchedGateway, DatabaseServer
from benchmarks.changing import changing_route
from benchmarks.heavy import measure_heavy
from benchmarks.hostile import measure_hostile
from benchmarks.load import HERE
from benchmarks.machine import describe_machine
from benchmarks.measure import CONNECTIONS, Series, Subject, interleaved, run_once
from benchmarks.neighbour import measure_neighbour
from benchmarks.references import CannotInstall, Reference, References
from benchmarks.report import Results, Variants, render
from contract.settings import PROJECT_DIR

WORKERS = 2

# Measured in a process of their own, which prints a table.
IN_PROCESS = {
    "Where the time of one request goes, in µs of CPU, without the network": "benchmarks.request_path",
    "What prediction reasons cost, without the network": "benchmarks.reasons",
}


@dataclass(frozen=True)
class Size:
    """How long, how often, how many."""

    rounds: int
    seconds: float
    variant_rounds: int
    apis: int
    networks: int
    csv_rows: int
    idle_connections: int
    bomb_bytes: int
    may_install: bool


FULL = Size(
    rounds=3,
    seconds=5,
    variant_rounds=5,
    apis=1000,
    networks=10_000,
    csv_rows=500_000,
    idle_connections=10_000,
    bomb_bytes=1_000_000_000,
    may_install=True,
)
QUICK = Size(
    rounds=1,
    seconds=1,
    variant_rounds=1,
    apis=100,
    networks=1000,
    csv_rows=50_000,
    idle_connections=1000,
    bomb_bytes=100_000_000,
    may_install=False,
)


class Bench:
    """One run, step by step; what is started is in `_stops`, to be stopped whatever happens."""

    def __init__(self, size: Size, work_dir: Path, beside: Path | None) -> None:
        self._size = size
        self._beside = beside
        self._dir = work_dir
        self._stops: list[Callable[[], None]] = []
        self._matrix = bench_models.train("matrix")
        self._columns = bench_models.train("columns")

    def run(self) -> Results:
        database = DatabaseServer(self._dir)
        self._stops.append(database.stop)
        database.start()
        say("Installation with one API ...")
        base = self._installation("base", database.create("base"))
        base.migrate()
        api, columns_api = base.add_api(self._matrix), base.add_api(self._columns)
        self._start(base)
        results = Results(machine=describe_machine(), size=self._size, workers=WORKERS)
        self._servers(results, base, api, columns_api)
        self._spread(results, base, api)
        self._variants(results, base, api, database)
        say("A large CSV beside small requests ...")
        assert base.gateway is not None
        results.neighbour = measure_neighbour(base.add_api(self._matrix), api, base.gateway, rows=self._size.csv_rows)
        say("Clients that mean harm ...")
        results.hostile = measure_hostile(
            api, base.gateway, connections=self._size.idle_connections, inflated_bytes=self._size.bomb_bytes
        )
        base.stop()
        say("Heavy models ...")
        results.heavy = measure_heavy(
            database,
            self._dir,
            workers=WORKERS,
            rounds=self._size.rounds,
            seconds=self._size.seconds,
            may_install=self._size.may_install,
            beside=self._beside,
        )
        say("In one process: where the time goes, what reasons cost ...")
        results.tables = {title: _table_of(module) for title, module in IN_PROCESS.items()}
        return results

    def stop(self) -> None:
        for stop in reversed(self._stops):
            stop()

    def _installation(self, name: str, url: str) -> BenchedGateway:
        installation = BenchedGateway(name, url, self._dir, workers=WORKERS)
        self._stops.append(installation.stop)
        return installation

    def _start(self, installation: BenchedGateway) -> float:
        seconds = installation.start()
        installation.wait_loaded()
        return seconds

    # --- beside other servers ---

    def _servers(self, results: Results, base: BenchedGateway, api: BenchApi, columns_api: BenchApi) -> None:
        subjects = [_subject("gateway", base, api), _subject("gateway, one input a column", base, columns_api)]
        for reference in self._references(results):
            subjects.append(Subject(reference.name, reference.server, reference.target))
        say(f"{len(subjects)} servers, {CONNECTIONS} connections ...")
        size = self._size
        counted = base.counted(api)
        results.many = interleaved(subjects, rounds=size.rounds, connections=CONNECTIONS, seconds=size.seconds)
        say("One connection ...")
        results.one = interleaved(subjects, rounds=size.rounds, connections=1, seconds=min(size.seconds, 3))
        results.memory = {subject.name: subject.server.rss_mib() for subject in subjects}
        self._at_their_rates(results, subjects[0])
        time.sleep(2)  # counts are written out once a second
        results.counted = base.counted(api) - counted

    def _references(self, results: Results) -> list[Reference]:
        references = References(self._matrix, self._dir, workers=WORKERS, may_install=self._size.may_install)
        self._stops.append(references.stop)
        found = [references.bare()]
        for name, start in (
            ("FastAPI, tuned", references.fastapi_tuned),
            ("FastAPI, usual", references.fastapi_usual),
            ("MLServer", references.mlserver),
        ):
            try:
                found.append(start())
            except CannotInstall as error:
                results.missing[name] = str(error)
                say(f"Without {name}: {error}")
        return found

    def _at_their_rates(self, results: Results, gateway: Subject) -> None:
        """The gateway's p99 where each connection pauses as long as gives about the other server's rate."""
        for name, series in results.many.items():
            if name in {"bare", *(name for name in results.many if name.startswith("gateway"))}:
                continue
            pause_ms = max(1, int(CONNECTIONS / series.rate * 1000))
            paced = Series()
            for _ in range(self._size.rounds):
                paced.runs.append(
                    run_once(gateway, connections=CONNECTIONS, seconds=self._size.seconds, pause_ms=pause_ms)
                )
            results.at_their_rate[name] = paced

    def _spread(self, results: Results, base: BenchedGateway, api: BenchApi) -> None:
        say("Spread over the workers ...")
        for connections in (CONNECTIONS, 4 * CONNECTIONS):
            before = base.requests_by_worker(api)
            run_once(_subject("gateway", base, api), connections=connections, seconds=self._size.seconds)
            after = base.requests_by_worker(api)
            results.spread[connections] = {slot: number - before.get(slot, 0) for slot, number in after.items()}

    # --- variants ---

    def _variants(self, results: Results, base: BenchedGateway, api: BenchApi, database: DatabaseServer) -> None:
        size = self._size
        say(f"{size.apis} APIs, {size.networks} networks ...")
        many = self._installation("many", database.create("many", template=None))
        many.migrate()
        many_api = many.add_apis(self._matrix, size.apis)[size.apis // 2]
        results.start_s = many.start()
        results.load_s = many.wait_loaded()
        results.many_memory = many.gateway.rss_mib() if many.gateway else 0.0
        wide = self._installation("wide", database.create("wide"))
        wide.migrate()
        wide_api = wide.add_api(self._matrix, networks=[*_networks(size.networks - 1), "127.0.0.0/8"])
        self._start(wide)
        subjects = {
            "base": _subject("base", base, api),
            "apis": _subject("apis", many, many_api),
            "networks": _subject("networks", wide, wide_api),
            "changing": _subject("changing", base, api),
        }
        series = {name: Series() for name in subjects}
        changes = 0
        for subject in subjects.values():
            run_once(subject, connections=CONNECTIONS, seconds=1)
        for _ in range(size.variant_rounds):
            for name, subject in subjects.items():
                if name == "changing":
                    with changing_route(base, api) as done:
                        run = run_once(subject, connections=CONNECTIONS, seconds=size.seconds)
                    changes += done[0]
                else:
                    run = run_once(subject, connections=CONNECTIONS, seconds=size.seconds)
                series[name].runs.append(run)
        results.variants = Variants(series, changes)
        many.stop()
        wide.stop()


def _subject(name: str, installation: BenchedGateway, api: BenchApi) -> Subject:
    assert installation.gateway is not None
    return Subject(name, installation.gateway, api.target())


def _networks(number: int) -> list[str]:
    """Networks of different lengths that do not hold the loopback addresses."""
    return [f"10.{index // 256}.{index % 256}.0/{24 if index % 3 else 25}" for index in range(number)]


def _table_of(module: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", module], cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=600
    )
    return done.stdout.strip()


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    arguments = argparse.ArgumentParser(prog="make bench")
    arguments.add_argument("--quick", action="store_true", help="a short run, for looking whether all of it works")
    arguments.add_argument("--output", type=Path, default=HERE / "results.md", help="where the report is written")
    arguments.add_argument("--beside", type=Path, help="a working tree of another commit, measured with heavy models")
    given = arguments.parse_args()
    began = time.monotonic()
    work_dir = Path(tempfile.mkdtemp(prefix="bench-"))
    bench = Bench(QUICK if given.quick else FULL, work_dir, given.beside.resolve() if given.beside else None)
    try:
        results = bench.run()
    finally:
        bench.stop()
        shutil.rmtree(work_dir, ignore_errors=True)
    results.seconds = time.monotonic() - began
    text = render(results)
    given.output.write_text(text)
    say(f"\n{text}\nWritten to {given.output.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
