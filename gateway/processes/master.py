"""`python -m gateway`: keeps GATEWAY_WORKERS worker processes running on one address.

Each worker slot has its own listening socket (SO_REUSEPORT), which the master makes and never closes while it runs:
the kernel spreads connections evenly over them, and connections that come while a worker is being replaced wait in
its socket's queue instead of being refused. Workers are fresh interpreters, not forks: a fork would inherit locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from contract.logs import set_up_logs
from contract.settings import BadSetting, Settings, read_settings
from gateway.processes.channel import EXIT_MISCONFIGURED, FIGURES, FIRST_LOADS_S, READY
from gateway.processes.metrics import WorkerFigures, metrics_page

STOP_S: Final = 10.0
READY_S: Final = FIRST_LOADS_S + 10.0

_BACKLOG: Final = 2048
_STABLE_AFTER_S: Final = 2.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_FIGURES_S: Final = 1.0
_FIGURES_BYTES: Final = 16 * 1024 * 1024  # one line; it grows with the number of APIs

_log = structlog.get_logger("gateway.processes.master")


class StartRefused(Exception):
    """The gateway can't start. `str()` is one line for a person."""


class WorkerProcess:
    """One running worker and the master's end of the channel to it."""

    def __init__(self, process: asyncio.subprocess.Process, channel: socket.socket) -> None:
        self.process = process
        self.started_at = time.monotonic()
        self.is_ready = asyncio.Event()
        self._channel = channel
        self._figures: asyncio.Queue[WorkerFigures] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._channel, limit=_FIGURES_BYTES)
        with contextlib.closing(self._writer), contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                if line == READY:
                    self.is_ready.set()
                else:
                    self._figures.put_nowait(msgspec.json.decode(line, type=WorkerFigures))

    async def figures(self) -> WorkerFigures | None:
        """What the worker has noted, or None if it does not answer at once."""
        async with self._asking:
            try:
                async with asyncio.timeout(_FIGURES_S):
                    await self.is_ready.wait()
                    while not self._figures.empty():
                        self._figures.get_nowait()  # came too late for whoever asked last
                    self._writer.write(FIGURES)
                    return await self._figures.get()
            except (TimeoutError, ConnectionError):
                return None

    async def start_or_end(self) -> None:
        """Until the worker accepts, has ended, or takes too long."""
        events = {asyncio.create_task(self.is_ready.wait()), asyncio.create_task(self.process.wait())}
        _, pending = await asyncio.wait(events, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    def tell(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self) -> int:
        """Wait for the process to end. Returns its exit code, negative for a signal."""
        code = await self.process.wait()
        await asyncio.wait({self._listening}, timeout=_FIGURES_S)
        self._listening.cancel()
        self._channel.close()
        return code


class Slot:
    """One place for a worker, with the socket that outlives each of them."""

    def __init__(self, number: int, listener: socket.socket) -> None:
        self.number = number
        self.worker: WorkerProcess | None = None
        self._successor: WorkerProcess | None = None
        self._listener = listener
        self._is_stopping = False
        self._pause_s = 0.0

    async def keep_running(self) -> None:
        """Run a worker, and another when it ends. Raises `StartRefused` when it is of no use to try again."""
        while not self._is_stopping:
            worker = self.worker = await self._spawn()
            if self._is_stopping:  # told while it was being spawned
                worker.tell(signal.SIGTERM)
            await self._watch(worker)
            if not self._is_stopping:
                await asyncio.sleep(self._pause_s)

    async def _watch(self, worker: WorkerProcess) -> None:
        """Until the slot's worker has ended; one that was replaced by `replace` is not the slot's any more."""
        while True:
            code = await worker.end()
            if worker is self.worker or self.worker is None:
                break
            worker = self.worker
        if code == EXIT_MISCONFIGURED:
            raise StartRefused("a worker says that it is misconfigured")
        lived_s = time.monotonic() - worker.started_at
        is_stable = worker.is_ready.is_set() or lived_s > _STABLE_AFTER_S
        self._pause_s = 0.0 if is_stable else min(self._pause_s * 2 + _FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        if not self._is_stopping:
            _log.warning("worker_ended", slot=self.number, exit=code, lived_s=round(lived_s, 1), pause_s=self._pause_s)

    async def replace(self) -> None:
        """A fresh worker loads its models, takes over the socket, and only then the old one is told to drain."""
        old = self.worker
        if old is None or self._is_stopping:
            return
        new = self._successor = await self._spawn("--is-successor")
        await new.start_or_end()
        self._successor = None
        if self._is_stopping or not new.is_ready.is_set():
            _log.warning("worker_not_replaced", slot=self.number)
            new.tell(signal.SIGTERM)
            await new.end()
            return
        self.worker = new
        old.tell(signal.SIGTERM)
        await old.process.wait()

    def stop(self) -> None:
        self._is_stopping = True
        self._tell(signal.SIGTERM)

    def kill(self) -> None:
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for worker in (self.worker, self._successor):
            if worker is not None:
                worker.tell(number)

    async def _spawn(self, *options: str) -> WorkerProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            listener, channel = self._listener.fileno(), theirs.fileno()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.processes.worker_main"),
                *("--slot", str(self.number), "--listener", str(listener), "--channel", str(channel), *options),
                stdin=subprocess.DEVNULL,
                pass_fds=(listener, channel),
            )
        return WorkerProcess(process, ours)


class Master:
    """All slots, from the first start to the last stop."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        self._settings = settings
        self._slots = [Slot(number, listener) for number, listener in enumerate(listeners)]
        self._stopping = asyncio.Event()
        self._rolling: asyncio.Task[None] | None = None
        self._is_roll_wanted = False

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._roll)
        host, port = self._settings.bind_address, self._settings.gateway_port
        _log.info("gateway_started", address=host, port=port, workers=len(self._slots), pid=os.getpid())
        page = await self._serve_metrics()
        keeping = [asyncio.create_task(slot.keep_running()) for slot in self._slots]
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({*keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        is_failed = not self._stopping.is_set()
        if page is not None:
            page.close()
        await self._stop([*keeping, self._rolling] if self._rolling else keeping)
        for task in keeping:
            if task.done() and (error := task.exception()) is not None:
                _log.error("gateway_given_up", reason=str(error))
        _log.info("gateway_stopped")
        return EXIT_MISCONFIGURED if is_failed else 0

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        for slot in self._slots:
            slot.stop()
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        for slot in self._slots:
            slot.kill()
        if late:
            await asyncio.wait(late, timeout=1.0)

    def _roll(self) -> None:
        """Asked while one is under way: again after it, because some workers may be replaced already."""
        self._is_roll_wanted = True
        if self._rolling is None or self._rolling.done():
            self._rolling = asyncio.create_task(self._replace_all())

    async def _replace_all(self) -> None:
        """One slot after the other, so that most workers serve at any time."""
        while self._is_roll_wanted:
            self._is_roll_wanted = False
            _log.info("rolling_restart_started")
            for slot in self._slots:
                await slot.replace()
            _log.info("rolling_restart_ended")

    # --- metrics ---

    async def _serve_metrics(self) -> asyncio.Server | None:
        if self._settings.metrics_bind is None:
            return None
        host, port = self._settings.metrics_bind
        try:
            return await asyncio.start_server(self._answer_scrape, host, port)
        except OSError as error:
            raise StartRefused(f"METRICS_BIND {host}:{port} can't be used: {error.strerror}") from None

    async def _answer_scrape(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Just enough HTTP/1.0 for a scraper on an address that the installer chose for it."""
        with contextlib.suppress(TimeoutError, ConnectionError, ValueError):
            async with asyncio.timeout(5.0):
                request = await reader.readline()
                while (await reader.readline()).strip():
                    pass  # headers
                writer.write(await self._scrape(request))
                await writer.drain()
        writer.close()

    async def _scrape(self, request: bytes) -> bytes:
        if request.split(b" ")[:2] != [b"GET", b"/metrics"]:
            return b"HTTP/1.0 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        workers = [slot.worker for slot in self._slots if slot.worker is not None]
        figures = await asyncio.gather(*(worker.figures() for worker in workers))
        page = metrics_page(worker for worker in figures if worker is not None)
        return b"HTTP/1.0 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n\r\n" + page


def open_listeners(host: str, port: int, number: int) -> list[socket.socket]:
    """One listening socket a slot. Raises `StartRefused` when the port is taken.

    A plain bind comes first: with SO_REUSEPORT alone, another gateway of the same user would bind as well, and
    silently share the calls.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        return [_listener(family, host, port) for _ in range(number)]
    except OSError as error:
        raise StartRefused(f"GATEWAY_PORT {port} on {host} can't be used: {error.strerror}") from None


def _listener(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def lock_port(var_dir: Path, port: int) -> int:
    """Hold `VAR_DIR/run/gateway-<port>.lock` for as long as this process lives. Raises `StartRefused`."""
    folder = var_dir / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(folder / f"gateway-{port}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StartRefused(f"a gateway on port {port} is running already in {var_dir}") from None
    return fd


def main() -> int:
    """The process's life. Returns the exit code."""
    set_up_logs()
    try:
        settings = read_settings()
        lock = lock_port(settings.var_dir, settings.gateway_port)
        listeners = open_listeners(settings.bind_address, settings.gateway_port, settings.gateway_workers)
        try:
            return asyncio.run(Master(settings, listeners).run())
        finally:
            os.close(lock)
    except (BadSetting, StartRefused) as error:
        _log.error("gateway_not_started", reason=str(error))
        return EXIT_MISCONFIGURED
