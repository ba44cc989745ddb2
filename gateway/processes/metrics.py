"""Figures of one worker, cheap to note for each request, and the page on which the master shows those of all.

prometheus_client's own counters cost a microsecond and a lock each; a list of numbers that is turned into metrics
when somebody asks costs a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.request.latency import LATENCY_BUCKETS_S


class WorkerFigures(msgspec.Struct):
    """What one worker tells the master. `answers`: API -> status -> number; `is_failing`: of each bookkeeping step."""

    slot: int
    answers: dict[str, dict[int, int]]
    latency_buckets: list[int]
    latency_total_s: float
    revision: int
    routes: int
    models_loaded: int
    model_bytes: int
    connections: int
    requests_in_progress: int
    requests_waiting: int
    counts_waiting: int
    is_failing: dict[str, bool]
    is_in_step: bool


class _Page(Collector):
    def __init__(self, workers: Iterable[WorkerFigures]) -> None:
        self._workers = tuple(workers)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "gateway_requests", "Prediction requests answered.", labels=["slot", "api_id", "status"]
        )
        latency = HistogramMetricFamily(
            "gateway_request_seconds", "Time from a request's head to its answer.", labels=["slot"]
        )
        for worker in self._workers:
            slot = str(worker.slot)
            for api_id, statuses in worker.answers.items():
                for status, number in statuses.items():
                    requests.add_metric([slot, api_id, str(status)], number)
            latency.add_metric([slot], buckets=_cumulated(worker.latency_buckets), sum_value=worker.latency_total_s)
        yield requests
        yield latency
        yield self._gauge("gateway_applied_revision", "Revision of the configuration that is obeyed.", "revision")
        yield self._gauge("gateway_routes", "APIs that are known.", "routes")
        yield self._gauge("gateway_models_loaded", "Model versions in memory.", "models_loaded")
        yield self._gauge("gateway_model_bytes", "Estimated memory of those models.", "model_bytes")
        yield self._gauge("gateway_connections", "Open client connections.", "connections")
        yield self._gauge("gateway_requests_in_progress", "Requests in progress.", "requests_in_progress")
        yield self._gauge(
            "gateway_requests_waiting",
            "Those of them that wait for a process: their model's own, or one for large bodies.",
            "requests_waiting",
        )
        yield self._gauge("gateway_counts_waiting", "Requests counted, but not in the database yet.", "counts_waiting")
        yield self._failing()
        yield self._gauge("gateway_in_step", "1 while the worker answers, 0 while it is catching up.", "is_in_step")

    def _failing(self) -> Metric:
        failing = GaugeMetricFamily(
            "gateway_bookkeeping_failing",
            "1 while this step fails, so that what it writes is missing in the database; the log has the reason.",
            labels=["slot", "step"],
        )
        for worker in self._workers:
            for step, is_failing in worker.is_failing.items():
                failing.add_metric([str(worker.slot), step], float(is_failing))
        return failing

    def _gauge(self, name: str, text: str, attribute: str) -> Metric:
        gauge = GaugeMetricFamily(name, text, labels=["slot"])
        for worker in self._workers:
            gauge.add_metric([str(worker.slot)], float(getattr(worker, attribute)))
        return gauge


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    bounds = [*(str(bound) for bound in LATENCY_BUCKETS_S), "+Inf"]
    total = 0
    cumulated = []
    for bound, number in zip(bounds, buckets, strict=True):
        total += number
        cumulated.append((bound, float(total)))
    return cumulated


def metrics_page(workers: Iterable[WorkerFigures]) -> bytes:
    """The figures of all workers in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(workers))
    return generate_latest(registry)
