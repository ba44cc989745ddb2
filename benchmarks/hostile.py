"""What clients that mean harm take of the gateway's memory: many idle connections, and a small body that inflates."""

from __future__ import annotations

import http.client
import resource
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass

from benchmarks.benched_gateway import BenchApi
from benchmarks.processes import ServerProcess
from contract.settings import PROJECT_DIR

_LOOK_S = 0.02
_MILLION = 1_000_000


@dataclass(frozen=True)
class Hostile:
    """Memory in MiB, all processes of the gateway. `held`: of `connections` that were made, those it kept open."""

    memory_before: float
    connections: int
    held: int
    memory_idle: float
    bomb_bytes: int
    inflated_bytes: int
    status: int
    memory_peak: float


def measure_hostile(api: BenchApi, gateway: ServerProcess, *, connections: int, inflated_bytes: int) -> Hostile:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    connections = connections if allowed == resource.RLIM_INFINITY else min(connections, allowed - 64)
    before = gateway.rss_mib()
    memory_idle, held = _idle_connections(api.port, connections, gateway)
    bomb = _squeezed(inflated_bytes)
    status, peak = _thrown(bomb, api, gateway)
    return Hostile(
        memory_before=before,
        connections=connections,
        held=held,
        memory_idle=memory_idle,
        bomb_bytes=len(bomb),
        inflated_bytes=inflated_bytes,
        status=status,
        memory_peak=peak,
    )


def _idle_connections(port: int, number: int, gateway: ServerProcess) -> tuple[float, int]:
    """Memory while they are there, and how many of them are left."""
    with subprocess.Popen(
        [sys.executable, "-m", "testkit.idle_crowd", str(port), str(number), "livez"],
        cwd=PROJECT_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as crowd:
        assert crowd.stdout is not None
        crowd.stdout.readline()  # all were made
        memory = gateway.rss_mib()
        held, _ = crowd.communicate()
    return memory, int(held)


def _squeezed(size_bytes: int) -> bytes:
    """So many zeros; a thousandth of it."""
    squeezer = zlib.compressobj(1, wbits=31)
    zeros = bytes(_MILLION)
    return b"".join(squeezer.compress(zeros) for _ in range(size_bytes // _MILLION)) + squeezer.flush()


def _thrown(bomb: bytes, api: BenchApi, gateway: ServerProcess) -> tuple[int, float]:
    """The status of the answer, and the most memory until it came."""
    statuses: list[int] = []

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=120)
        headers = {"x-api-key": api.key, "content-type": "application/json", "content-encoding": "gzip"}
        connection.request("POST", api.path, bomb, headers)
        statuses.append(connection.getresponse().status)
        connection.close()

    sending = threading.Thread(target=send)
    sending.start()
    peak = gateway.rss_mib()
    while sending.is_alive():
        peak = max(peak, gateway.rss_mib())
        time.sleep(_LOOK_S)
    return statuses[0], peak
