"""The master's end of the channel to a worker; the test speaks for the worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import msgspec

from gateway.processes.channel import FIGURES, READY
from gateway.processes.master import WorkerProcess
from gateway.processes.metrics import WorkerFigures
from tests.gateway.serving import until


def figures(revision: int, n_apis: int = 0) -> WorkerFigures:
    answers = {f"{number:016x}": {200: 1} for number in range(n_apis)}
    return WorkerFigures(
        slot=0,
        answers=answers,
        latency_buckets=[],
        latency_total_s=0.0,
        revision=revision,
        routes=n_apis,
        models_loaded=n_apis,
        model_bytes=0,
        connections=0,
        requests_in_progress=0,
        requests_waiting=0,
        counts_waiting=0,
        is_failing={"counts": False},
        is_in_step=True,
    )


def line(told: WorkerFigures) -> bytes:
    return msgspec.json.encode(told) + b"\n"


@contextlib.asynccontextmanager
async def a_ready_worker() -> AsyncIterator[tuple[WorkerProcess, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A process that does nothing, with the worker's end of its channel."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    worker = WorkerProcess(process, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(READY)
    try:
        yield worker, reader, writer
    finally:
        process.kill()
        writer.close()
        await writer.wait_closed()
        await worker.end()


async def test_figures_that_came_too_late_are_not_the_next_answer() -> None:
    async with a_ready_worker() as (worker, reader, writer):
        assert await worker.figures() is None
        assert await reader.readline() == FIGURES
        writer.write(line(figures(revision=1)))
        await until(lambda: not worker._figures.empty())

        asking = asyncio.create_task(worker.figures())
        assert await reader.readline() == FIGURES
        writer.write(line(figures(revision=2)))

        assert await asking == figures(revision=2)


async def test_figures_of_very_many_apis() -> None:
    told = figures(revision=1, n_apis=10_000)
    async with a_ready_worker() as (worker, reader, writer):
        asking = asyncio.create_task(worker.figures())
        assert await reader.readline() == FIGURES
        writer.write(line(told))

        assert len(line(told)) > 2**18
        assert await asking == told
