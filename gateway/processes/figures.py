"""One worker's figures, as its master asks for them."""

from __future__ import annotations

from gateway.processes.metrics import WorkerFigures
from gateway.processes.worker import Worker


def figures_of(worker: Worker) -> WorkerFigures:
    states = {route.api_id: route.state for route in worker.table}
    return WorkerFigures(
        slot=worker.identity.slot,
        answers={api_id: state.answers for api_id, state in states.items() if state.answers},
        latency_buckets=worker.app.latency.buckets,
        latency_total_s=worker.app.latency.total_s,
        revision=worker.table.revision,
        routes=len(worker.table),
        models_loaded=worker.loader.n_loaded,
        model_bytes=worker.loader.used_bytes,
        connections=len(worker.server.manager.connections),
        requests_in_progress=worker.ledgers.requests_in_flight,
        requests_waiting=worker.loader.n_waiting + worker.runner.batch.n_waiting,
        counts_waiting=worker.ledgers.counts_waiting,
        is_failing=worker.bookkeeping.is_failing,
        is_in_step=worker.lease.is_valid,
    )
