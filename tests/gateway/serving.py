"""One gateway worker's parts in the test's own process, over a real database filled with plain SQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from contract.settings import Settings
from gateway.db.identity import WorkerIdentity
from gateway.models.loader import LoadedModel
from gateway.processes.worker import Worker
from gateway.routing import serving_lease
from testkit.live_installation import unused_port
from testkit.seeder import Api, Seeder

__all__ = ["Answer", "Api", "Caller", "Seeder", "ended", "loaded", "model_of", "running_worker", "until"]


@dataclass
class Answer:
    """What an ASGI client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass
class Caller:
    """Calls a worker's ASGI application as a server would. `slow_body`: awaited before the body's last part."""

    worker: Worker
    client: tuple[str, int] | None = ("192.0.2.7", 4711)
    slow_body: Callable[[], Any] | None = None
    lines: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def __call__(
        self,
        api: Api | str,
        *,
        method: str = "POST",
        path: str | None = None,
        body: bytes | list[bytes] | None = None,
        headers: dict[str, str] | None = None,
        lines: Sequence[tuple[bytes, bytes]] = (),
    ) -> Answer:
        if isinstance(api, Api):
            path, body = path or api.path, api.body if body is None else body
            headers = api.headers if headers is None else headers
        parts = [body] if isinstance(body, bytes) else list(body or [b""])
        sent = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path or api,
            "headers": [*sent, *lines],
            "client": self.client,
        }
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if len(parts) == 1 and self.slow_body is not None:
                await self.slow_body()
            if not parts:
                return {"type": "http.disconnect"}
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        await self.worker.app(scope, receive, send)
        start, *parts_sent = messages
        content = b"".join(part["body"] for part in parts_sent)
        names = [name.decode() for name, _ in start["headers"]]
        assert len(names) == len(set(names)), names
        return Answer(start["status"], {n.decode(): v.decode() for n, v in start["headers"]}, content)


_PATIENCE_NS = 60_000_000_000


@asynccontextmanager
async def running_worker(
    env: Settings, *, slot: int = 0, in_step: bool = True, has_database: bool = True
) -> AsyncIterator[Worker]:
    """A worker and its background tasks, without its HTTP server and its master.

    Without a database it has no routes, and is in step with that. It shares its event loop with the test, and the
    machine with others: when it does not run for some seconds, it does not take that for a suspended machine.
    """
    with patch.object(serving_lease, "SLEEP_LIMIT_NS", _PATIENCE_NS):
        async with _running_worker(env, slot=slot, in_step=in_step, has_database=has_database) as worker:
            yield worker


@asynccontextmanager
async def _running_worker(env: Settings, *, slot: int, in_step: bool, has_database: bool) -> AsyncIterator[Worker]:
    worker = Worker(env, WorkerIdentity(slot=slot, port=unused_port()))
    if has_database:
        tasks = [asyncio.create_task(task) for task in worker.background()]
    else:
        tasks = [asyncio.create_task(worker.lease.keep_ticking())]
        worker.lease.catch_up(worker.lease.generation)
    try:
        if in_step and has_database:
            async with asyncio.timeout(30):
                await worker.follower.is_started.wait()
        yield worker
    finally:
        await ended(tasks)
        if worker.loader._task is not None:  # its child's socket must leave the loop before it is closed
            await ended([worker.loader._task])
        await worker.database.close()
        worker.loader.close()
        worker.runner.close()
        worker.ledgers.release()


async def ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel and wait."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    """Wait for a condition that is asked in the event loop's thread; fails the test when the time is over."""
    async with asyncio.timeout(timeout_s):
        while not (found := condition()):  # noqa: ASYNC110  (most conditions are the database's)
            await asyncio.sleep(0.01)
        return found


async def loaded(worker: Worker, api: Api) -> None:
    """Until the worker has applied the API and loaded its model."""

    def is_loaded() -> bool:
        route = worker.table.get(api.id)
        model = route and route.state.models.get(api.version_id)
        return bool(model and (model.is_ready or model.error))

    await until(is_loaded)


def model_of(worker: Worker, api: Api) -> LoadedModel:
    """The served version of an API as this worker has loaded it."""
    route = worker.table.get(api.id)
    assert route is not None
    return route.state.models[api.version_id]
