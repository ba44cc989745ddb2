"""Results as a page of Markdown: tables with ratios, and each goal beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.heavy import BESIDE, FOREST, QUICK_NETWORK, SLOW_NETWORK, Heavy
from benchmarks.hostile import Hostile
from benchmarks.measure import CONNECTIONS, Series
from benchmarks.neighbour import Neighbour

GATEWAY = "gateway"
BARE = "bare"

# (name, limit, more is better): see docs/performance.md for where they come from.
CPU_RATIO = 2.0
RATE_RATIO = 0.6
P50_ABOVE_US = 60.0
FASTAPI_RATIO = 2.8
MLSERVER_CPU_RATIO = 6.0
MLSERVER_RATE_RATIO = 8.0
VARIANT_SHARE = 0.15
NEIGHBOUR_P99_US = 20_000.0
START_S = 2.0
HEAVY_RATIOS = {QUICK_NETWORK: 2.0, FOREST: 1.4}  # by the commit before requests were joined
SLOW_NETWORK_BY_TRITON = 1.4

_VARIANT_NAMES = {
    "base": "one API, one network",
    "apis": "{apis} operating APIs",
    "networks": "a whitelist of {networks} networks",
    "changing": "its route changing every 100 ms",
}


@dataclass
class Variants:
    """Series by name (`base` is what the others are compared with), and how many changes were made."""

    series: dict[str, Series]
    changes: int


@dataclass
class Results:
    """Everything one bench has measured. Parts that were not reached are empty."""

    machine: dict[str, str]
    size: Any
    workers: int
    many: dict[str, Series] = field(default_factory=dict)
    one: dict[str, Series] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    at_their_rate: dict[str, Series] = field(default_factory=dict)
    counted: int = 0
    spread: dict[int, dict[str, int]] = field(default_factory=dict)
    variants: Variants | None = None
    start_s: float = 0.0
    load_s: float = 0.0
    many_memory: float = 0.0
    neighbour: Neighbour | None = None
    hostile: Hostile | None = None
    heavy: Heavy | None = None
    tables: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def render(results: Results) -> str:
    """The whole page."""
    parts = [
        "# Results of `make bench`",
        "",
        f"Single rows as JSON, 30 numbers, gradient boosting with 100 trees in ONNX; {results.workers} processes a"
        f" server; {results.size.seconds:g} s a run, interleaved, medians of {results.size.rounds}. CPU is utime +"
        " stime of all of the server's processes over the requests answered. docs/performance.md explains the figures.",
        "",
        *_table(("", ""), results.machine.items()),
        *_goals(results),
        *_servers(results),
        *_paced(results),
        *_variants(results),
        *_spread(results),
        *_neighbour(results),
        *_hostile(results),
        *_heavy(results),
        *(line for title, table in results.tables.items() for line in ("", f"## {title}", "", table)),
        "",
        f"The whole run took {results.seconds / 60:.1f} minutes.",
    ]
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


# --- goals ---


def _goals(results: Results) -> list[str]:
    rows = [(text, said, "yes" if is_kept else "**no**") for text, said, is_kept in goals(results)]
    return ["", "## Goals", "", *_table(("goal", "measured", "reached"), rows)]


def goals(results: Results) -> list[tuple[str, str, bool]]:
    """Each goal, what was measured, and whether it is reached; those that could not be measured are left out."""
    found: list[tuple[str, str, bool]] = []

    def at_most(text: str, value: float, limit: float, unit: str = "") -> None:
        found.append((f"{text} at most {limit:g}{unit}", f"{value:.2f}{unit}", value <= limit))

    def at_least(text: str, value: float, limit: float, unit: str = "") -> None:
        found.append((f"{text} at least {limit:g}{unit}", f"{value:.2f}{unit}", value >= limit))

    many, one = results.many, results.one
    ours, bare = many[GATEWAY], many[BARE]
    at_most("CPU a request, by that of a bare reply,", ours.cpu_us / bare.cpu_us, CPU_RATIO, " ×")
    at_least("rate, by that of a bare reply,", ours.rate / bare.rate, RATE_RATIO, " ×")
    at_most("p50 at 1 connection above a bare reply", one[GATEWAY].p50_us - one[BARE].p50_us, P50_ABOVE_US, " µs")
    if tuned := many.get("FastAPI, tuned"):
        at_least("CPU of tuned FastAPI, by ours,", tuned.cpu_us / ours.cpu_us, FASTAPI_RATIO, " ×")
    if mlserver := many.get("MLServer"):
        at_least("CPU of MLServer, by ours,", mlserver.cpu_us / ours.cpu_us, MLSERVER_CPU_RATIO, " ×")
        at_least("rate, by MLServer's,", ours.rate / mlserver.rate, MLSERVER_RATE_RATIO, " ×")
    for name, paced in results.at_their_rate.items():
        found.append(
            (
                f"p99 below that of {name} at its rate",
                f"{paced.p99_us:.0f} µs and {many[name].p99_us:.0f} µs",
                paced.p99_us < many[name].p99_us,
            )
        )
    found += _variant_goals(results)
    if results.start_s:
        at_most(f"start with {results.size.apis} APIs", results.start_s, START_S, " s")
    if results.neighbour:
        said = results.neighbour
        is_kept = said.status == 200 and said.answer_rows == said.rows and said.beside.p99_us <= NEIGHBOUR_P99_US
        text = f"p99 of another API beside a CSV of {said.rows} rows at most {NEIGHBOUR_P99_US / 1000:g} ms"
        found.append((text, f"{said.beside.p99_us / 1000:.1f} ms", is_kept))
    found += _heavy_goals(results)
    own = [ours, one[GATEWAY], *results.at_their_rate.values()]
    answered = sum(series.requests for series in own)
    # The client leaves when its time is over, whatever its connections wait for.
    left = sum((len(series.runs) + bool(series.discarded)) * CONNECTIONS for series in own)
    text = f"each answer counted once; the client left at most {left} requests behind"
    words = f"{answered} answered, {results.counted} counted"
    found.append((text, words, answered <= results.counted <= answered + left))
    variants = results.variants.series.values() if results.variants else []
    errors = sum(series.errors for series in (*own, *variants))
    found.append(("no answer of the gateway but 200", f"{errors} others", errors == 0))
    return found


def _variant_goals(results: Results) -> list[tuple[str, str, bool]]:
    if results.variants is None:
        return []
    base = results.variants.series["base"]
    found = []
    for name, series in results.variants.series.items():
        if name == "base":
            continue
        cpu, rate = series.cpu_us / base.cpu_us - 1, series.rate / base.rate - 1
        text = f"with {_variant_name(name, results)} within {VARIANT_SHARE * 100:.0f} %"
        found.append(
            (text, f"CPU {cpu * 100:+.0f} %, rate {rate * 100:+.0f} %", cpu <= VARIANT_SHARE and rate >= -VARIANT_SHARE)
        )
    return found


def _heavy_goals(results: Results) -> list[tuple[str, str, bool]]:
    if results.heavy is None:
        return []
    found = []
    for model, series in results.heavy.many.items():
        ours, before, triton = series[GATEWAY], series.get(BESIDE), series.get("Triton")
        if before is not None and model in HEAVY_RATIOS:
            ratio, least = ours.answered_rate / before.answered_rate, HEAVY_RATIOS[model]
            found.append(
                (
                    f"{model}: answers a second, by the commit beside, at least {least:g} ×",
                    f"{ratio:.2f} ×",
                    ratio >= least,
                )
            )
        if triton is not None and model == SLOW_NETWORK:
            ratio, least = ours.answered_rate / triton.answered_rate, SLOW_NETWORK_BY_TRITON
            found.append(
                (f"{model}: answers a second, by Triton's, at least {least:g} ×", f"{ratio:.2f} ×", ratio >= least)
            )
        if triton is not None:
            words = f"{ours.p99_us / 1000:.1f} ms and {triton.p99_us / 1000:.1f} ms"
            found.append((f"{model}: p99 below Triton's", words, ours.p99_us < triton.p99_us))
        found.append((f"{model}: no answer but 200", f"{ours.errors} others", ours.errors == 0))
    return found


# --- tables ---


def _servers(results: Results) -> list[str]:
    bare, rows = results.many[BARE], []
    for name, series in sorted(results.many.items(), key=lambda item: item[1].cpu_us):
        one = results.one[name]
        rows.append(
            (
                name,
                f"{series.cpu_us:.1f}",
                f"{series.cpu_us / bare.cpu_us:.2f}",
                f"{series.rate:,.0f}",
                f"{series.rate / bare.rate:.2f}",
                f"{series.p50_us:,.0f}",
                f"{series.p99_us:,.0f}",
                f"{one.p50_us:,.0f}",
                f"{one.p99_us:,.0f}",
                f"{results.memory[name]:,.0f}",
                str(series.errors + one.errors),
            )
        )
    head = ("server", "CPU µs", "× bare", "req/s", "× bare", "p50 µs", "p99 µs", "p50 µs, 1 c.", "p99 µs, 1 c.")
    missing = [f"- Without {name}: {reason}." for name, reason in results.missing.items()]
    title = f"## Servers side by side: {CONNECTIONS} connections, then 1"
    return ["", title, "", *_table((*head, "MiB", "errors"), rows), *([""] if missing else []), *missing]


def _paced(results: Results) -> list[str]:
    if not results.at_their_rate:
        return []
    rows = [
        (
            name,
            f"{results.many[name].rate:,.0f}",
            f"{results.many[name].p99_us:,.0f}",
            f"{paced.rate:,.0f}",
            f"{paced.p99_us:,.0f}",
        )
        for name, paced in results.at_their_rate.items()
    ]
    head = ("server", "its req/s", "its p99 µs", "gateway's req/s", "gateway's p99 µs")
    return ["", "## The gateway at the others' rates", "", *_table(head, rows)]


def _variant_name(name: str, results: Results) -> str:
    return _VARIANT_NAMES[name].format(apis=results.size.apis, networks=results.size.networks)


def _variants(results: Results) -> list[str]:
    if results.variants is None:
        return []
    base = results.variants.series["base"]
    rows = [
        (
            _variant_name(name, results),
            f"{series.cpu_us:.1f}",
            f"{series.cpu_us / base.cpu_us:.2f}",
            f"{series.rate:,.0f}",
            f"{series.rate / base.rate:.2f}",
            f"{series.p99_us:,.0f}",
            str(series.errors),
        )
        for name, series in results.variants.series.items()
    ]
    head = ("the gateway with", "CPU µs", "× first", "req/s", "× first", "p99 µs", "errors")
    return [
        "",
        f"## Variants: median of {results.size.variant_rounds} interleaved runs, {CONNECTIONS} connections",
        "",
        *_table(head, rows),
        "",
        f"{results.variants.changes} changes were made. With {results.size.apis} APIs all workers were in step"
        f" {results.start_s:.2f} s after the start of the first process, and had all models in memory"
        f" {results.load_s:.1f} s later ({results.many_memory:,.0f} MiB in all processes).",
    ]


def _spread(results: Results) -> list[str]:
    if not results.spread:
        return []
    rows = []
    for connections, by_slot in results.spread.items():
        total = sum(by_slot.values()) or 1
        shares = ", ".join(f"{number / total * 100:.0f} %" for _, number in sorted(by_slot.items()))
        rows.append((str(connections), shares))
    return ["", "## Spread over the workers", "", *_table(("connections", "share of each worker"), rows)]


def _neighbour(results: Results) -> list[str]:
    found = results.neighbour
    if found is None:
        return []
    rows = [
        ("CSV", f"{found.rows:,} rows, {found.size_bytes / 1e6:.1f} MB"),
        ("answered with", f"{found.status}, {found.answer_rows:,} rows, in {found.seconds:.1f} s"),
        ("another API's p50, p99 alone", f"{found.alone.p50_us:,.0f} µs, {found.alone.p99_us:,.0f} µs"),
        ("its p50, p99 beside the CSV", f"{found.beside.p50_us:,.0f} µs, {found.beside.p99_us:,.0f} µs"),
        (
            "memory of all gateway processes",
            f"{found.memory_before:,.0f} MiB before, {found.memory_peak:,.0f} at most, {found.memory_after:,.0f} after",
        ),
    ]
    return ["", "## A large CSV beside single rows", "", *_table(("", ""), rows)]


def _hostile(results: Results) -> list[str]:
    found = results.hostile
    if found is None:
        return []
    rows = [
        ("before", f"{found.memory_before:,.0f} MiB"),
        (
            f"{found.connections:,} idle connections, {found.held:,} of them kept open",
            f"{found.memory_idle:,.0f} MiB",
        ),
        (
            f"a gzip bomb of {found.bomb_bytes / 1000:,.0f} KB, {found.inflated_bytes / 1e6:,.0f} MB inflated:"
            f" {found.status}",
            f"{found.memory_peak:,.0f} MiB at most",
        ),
    ]
    return ["", "## Clients that mean harm", "", *_table(("", "memory of all gateway processes"), rows)]


def _heavy(results: Results) -> list[str]:
    if results.heavy is None:
        return []
    lines: list[str] = []
    head = (
        "server",
        "200 a second",
        "others a second",
        "CPU µs",
        "p50 ms",
        "p99 ms",
        "200 a second, 1 c.",
        "p50 ms, 1 c.",
    )
    for model, series in results.heavy.many.items():
        rows = []
        for name, many in sorted(series.items(), key=lambda item: -item[1].answered_rate):
            one = results.heavy.one[model][name]
            rows.append(
                (
                    name,
                    f"{many.answered_rate:,.0f}",
                    f"{many.rate - many.answered_rate:,.0f}",
                    f"{many.answered_cpu_us:,.0f}",
                    f"{many.p50_us / 1000:,.1f}",
                    f"{many.p99_us / 1000:,.1f}",
                    f"{one.answered_rate:,.0f}",
                    f"{one.p50_us / 1000:,.2f}",
                )
            )
        lines += ["", f"## Heavy: {model}, {CONNECTIONS} connections, then 1", "", *_table(head, rows)]
    missing = [f"- Without {name}: {reason}." for name, reason in results.heavy.missing.items()]
    return [*lines, *([""] if missing else []), *missing]
