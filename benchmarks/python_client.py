"""The load client for machines without wrk: `python -m benchmarks.python_client`, its task as JSON on standard input.

Several processes, each with its share of the connections. It needs about as much CPU a request as the server does, so
rates are lower than wrk's; ratios of CPU per request are the same.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import time

import msgspec
import numpy as np
import uvloop

from benchmarks.load import Load


class Task(msgspec.Struct):
    """What to send, and for how long."""

    port: int
    path: str
    headers: dict[str, str]
    body: bytes
    connections: int
    seconds: float
    pause_ms: int = 0

    def request(self) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Connection(asyncio.Protocol):
    """Sends the request again as soon as its answer is complete. Answers must announce their length."""

    def __init__(self, request: bytes, pause_s: float, latencies_ns: list[int]) -> None:
        self.errors = 0
        self._request = request
        self._pause_s = pause_s
        self._latencies_ns = latencies_ns
        self._buffer = b""
        self._sent_ns = 0
        self._is_stopping = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if not self._is_stopping:
            self._sent_ns = time.perf_counter_ns()
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._buffer = b""
        self._latencies_ns.append(time.perf_counter_ns() - self._sent_ns)
        self.errors += head[9:10] not in {b"2", b"3"}
        if self._pause_s:
            asyncio.get_running_loop().call_later(self._pause_s, self._send)
        else:
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self.errors += not self._is_stopping

    def stop(self) -> None:
        self._is_stopping = True
        self._transport.close()


async def _call(task: Task) -> tuple[list[int], int]:
    latencies_ns: list[int] = []
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(task.connections):
        made = await loop.create_connection(
            lambda: Connection(task.request(), task.pause_ms / 1000, latencies_ns), "127.0.0.1", task.port
        )
        connections.append(made[1])
    await asyncio.sleep(task.seconds)
    for connection in connections:
        connection.stop()
    return latencies_ns, sum(connection.errors for connection in connections)


def _one_process(task: Task) -> tuple[list[int], int]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_call(task))


def main() -> int:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    n_processes = min(task.connections, os.cpu_count() or 1)
    tasks = [
        msgspec.structs.replace(task, connections=len(range(number, task.connections, n_processes)))
        for number in range(n_processes)
    ]
    with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
        results = pool.map(_one_process, tasks)
    latencies_us = np.concatenate([np.array(latencies) for latencies, _ in results]) / 1000
    p50, p99 = np.percentile(latencies_us, [50, 99]) if len(latencies_us) else (0.0, 0.0)
    load = Load(
        requests=len(latencies_us),
        seconds=task.seconds,
        errors=sum(errors for _, errors in results),
        p50_us=float(p50),
        p99_us=float(p99),
        max_us=float(latencies_us.max(initial=0)),
    )
    sys.stdout.buffer.write(msgspec.json.encode(load))
    return 0


if __name__ == "__main__":
    sys.exit(main())
