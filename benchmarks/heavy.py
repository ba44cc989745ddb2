"""Models whose rows cost much, where the gateway joins requests: beside servers that do so too, and another commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import bench_models
from benchmarks.bench_models import BenchModel
from benchmarks.benched_gateway import BenchedGateway, DatabaseServer
from benchmarks.measure import CONNECTIONS, Series, Subject, interleaved
from benchmarks.references import CannotInstall, Reference, References

GATEWAY: Final = "gateway"
BESIDE: Final = "gateway, the commit beside"

QUICK_NETWORK: Final = "network 30-1536-1536-2"
FOREST: Final = f"forest of {bench_models.FOREST_TREES} trees"
SLOW_NETWORK: Final = "network 30-4096-4096-2"

MODELS: Final[dict[str, Callable[[], BenchModel]]] = {
    QUICK_NETWORK: lambda: bench_models.make_network(1536, 1536),
    FOREST: bench_models.train_forest,
    SLOW_NETWORK: lambda: bench_models.make_network(4096, 4096),
}

_MEMORY_MB = 2000  # so that no model makes room for another


@dataclass
class Heavy:
    """Series by model and server; `missing`: servers that could not be had, and why."""

    many: dict[str, dict[str, Series]] = field(default_factory=dict)
    one: dict[str, dict[str, Series]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def measure_heavy(
    database: DatabaseServer,
    work_dir: Path,
    *,
    workers: int,
    rounds: int,
    seconds: float,
    may_install: bool,
    beside: Path | None,
) -> Heavy:
    """`beside`: a working tree of another commit, whose gateway takes its turns with this one's."""
    models = {name: make() for name, make in MODELS.items()}
    trees = {GATEWAY: None} | ({BESIDE: beside} if beside is not None else {})
    gateways = {name: _gateway(name, database, work_dir, workers, tree) for name, tree in trees.items()}
    found = Heavy()
    try:
        apis = {name: {model: gateway.add_api(models[model]) for model in models} for name, gateway in gateways.items()}
        for gateway in gateways.values():
            gateway.start()
            gateway.wait_loaded()
        for number, (model, content) in enumerate(models.items()):
            subjects = [
                Subject(name, gateway.running, apis[name][model].target()) for name, gateway in gateways.items()
            ]
            references = References(content, work_dir, workers=workers, name=f"heavy-{number}", may_install=may_install)
            try:
                subjects += [Subject(one.name, one.server, one.target) for one in _started(references, found)]
                found.many[model] = interleaved(subjects, rounds=rounds, connections=CONNECTIONS, seconds=seconds)
                found.one[model] = interleaved(subjects, rounds=1, connections=1, seconds=min(seconds, 3))
            finally:
                references.stop()
    finally:
        for gateway in gateways.values():
            gateway.stop()
    return found


def _gateway(name: str, database: DatabaseServer, work_dir: Path, workers: int, tree: Path | None) -> BenchedGateway:
    short = "heavy" if tree is None else "heavy-beside"
    url = database.create(short, template=None)
    made = BenchedGateway(short, url, work_dir, workers=workers, project_dir=tree, memory_mb=_MEMORY_MB)
    made.migrate()
    return made


def _started(references: References, found: Heavy) -> list[Reference]:
    started = []
    for name, start in (
        ("FastAPI, tuned", references.fastapi_tuned),
        ("MLServer", lambda: references.mlserver(joins=True)),
        ("Triton", references.triton),
    ):
        try:
            started.append(start())
        except CannotInstall as error:
            found.missing[name] = str(error)
    return started
