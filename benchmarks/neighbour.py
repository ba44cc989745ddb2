"""A large CSV beside small requests: what it does to the others, and what it takes in memory."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass

from benchmarks.benched_gateway import BenchApi
from benchmarks.load import Load, run_load
from benchmarks.processes import ServerProcess

NEIGHBOUR_CONNECTIONS = 4
_LOOK_S = 0.05


@dataclass(frozen=True)
class Neighbour:
    """`alone` and `beside`: the other API's single rows without and with the CSV. Memory in MiB, all processes."""

    rows: int
    size_bytes: int
    status: int
    answer_rows: int
    seconds: float
    alone: Load
    beside: Load
    memory_before: float
    memory_peak: float
    memory_after: float


def measure_neighbour(csv_api: BenchApi, other: BenchApi, gateway: ServerProcess, *, rows: int) -> Neighbour:
    body = csv_body(csv_api, rows)
    alone = run_load(other.target(), connections=NEIGHBOUR_CONNECTIONS, seconds=3)
    before = gateway.rss_mib()
    answer: list[tuple[int, int, float]] = []
    sending = threading.Thread(target=lambda: answer.append(send_csv(csv_api, body)))
    memory = [before]
    watching = threading.Thread(target=_watch, args=(gateway, memory, sending))
    sending.start()
    watching.start()
    beside = [run_load(other.target(), connections=NEIGHBOUR_CONNECTIONS, seconds=3)]
    while sending.is_alive():
        beside.append(run_load(other.target(), connections=NEIGHBOUR_CONNECTIONS, seconds=2))
    sending.join()
    watching.join()
    status, answer_rows, seconds = answer[0]
    return Neighbour(
        rows=rows,
        size_bytes=len(body),
        status=status,
        answer_rows=answer_rows,
        seconds=seconds,
        alone=alone,
        beside=max(beside, key=lambda load: load.p99_us),
        memory_before=before,
        memory_peak=max(memory),
        memory_after=gateway.rss_mib(),
    )


def csv_body(api: BenchApi, rows: int) -> bytes:
    """Rows of three to four characters a number: half a million are just under 50 MB."""
    names = [column.name for column in api.model.spec.columns]
    lines = [",".join(f"{(row * 7 + column * 3) % 90 + 10}" for column in range(len(names))) for row in range(100)]
    block = "\n".join(lines) + "\n"
    return (",".join(names) + "\n" + block * (rows // 100)).encode()


def send_csv(api: BenchApi, body: bytes) -> tuple[int, int, float]:
    """Status, rows of the answer, seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=120)
    try:
        connection.request("POST", api.path, body, {"x-api-key": api.key, "content-type": "text/csv"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, content.count(b"\n") - 1, time.monotonic() - began


def _watch(gateway: ServerProcess, memory: list[float], sending: threading.Thread) -> None:
    while sending.is_alive():
        memory.append(gateway.rss_mib())
        time.sleep(_LOOK_S)
