"""One gateway worker's parts in the test's own process, over a real database filled with plain SQL."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from gateway.keys import key_digest, new_key
from gateway.modelspec import ModelSpec, spec_to_json
from gateway.worker import Worker
from runtime.environment import Environment

EVERYBODY = ("0.0.0.0/0",)


class Rows:
    """Writes what the console would write, as SQL, and reads what the gateway wrote."""

    def __init__(self, url: str, store_dir: Path) -> None:
        self.url = url
        self.store_dir = store_dir

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, query: str, *values: Any) -> Any:
        return self.sql(query, *values)[0][0]

    def version(
        self, made: tuple[ModelSpec, bytes], *, model_id: int | None = None, number: int = 1
    ) -> tuple[int, int]:
        """A stored artefact; returns (model id, version id)."""
        spec, content = made
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.store_dir / sha256[:2] / sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if model_id is None:
            workspace = self.one(
                "INSERT INTO apimgmt_workspace (name, edition, api_options) VALUES (%s, 'standard', 9) RETURNING id",
                secrets.token_hex(4),
            )
            model_id = self.one(
                "INSERT INTO apimgmt_model (workspace_id, name, created_at, created_by) VALUES (%s, 'm', now(), 't')"
                " RETURNING id",
                workspace,
            )
        version_id = self.one(
            "INSERT INTO apimgmt_modelversion"
            " (model_id, number, sha256, size_bytes, format, task, spec, created_at, created_by)"
            " VALUES (%s, %s, %s, %s, 'onnx', %s, %s, now(), 't') RETURNING id",
            *(model_id, number, sha256, len(content), spec.task, Jsonb(spec_to_json(spec))),
        )
        return int(model_id or 0), int(version_id)

    def api(
        self,
        made: tuple[ModelSpec, bytes],
        *,
        trial_of: int | None = None,
        target: str = "operating",
        networks: Sequence[str] = EVERYBODY,
    ) -> Api:
        """An API with its whitelist, and its quota if it is a trial of so many requests."""
        model_id, version_id = self.version(made)
        key, api_id = new_key(), secrets.token_hex(8)
        status = target if target in {"operating", "stopped", "failed", "building", "deleting"} else "stopped"
        if trial_of is not None:
            self.sql(
                "INSERT INTO apimgmt_trialquota (api_id, request_limit, used) VALUES (%s, %s, 0)", api_id, trial_of
            )
        self.sql(
            "INSERT INTO apimgmt_predictionapi (id, model_id, type, status, target, is_locked, version_id, key_digest,"
            " revision, status_since, created_at, created_by)"
            " VALUES (%s, %s, %s, %s, %s, false, %s, %s, 0, now(), now(), 't')",
            *(api_id, model_id, "official" if trial_of is None else "trial", status, target, version_id),
            key_digest(key),
        )
        api = Api(self, api_id, key, version_id, made[0])
        api.allow(*networks)
        return api

    def counts(self, api_id: str) -> tuple[int, int, int]:
        """200, 4xx and 5xx over all days and ledgers."""
        found = self.sql(
            "SELECT coalesce(sum(count_200), 0), coalesce(sum(count_4xx), 0), coalesce(sum(count_5xx), 0)"
            " FROM apimgmt_requeststat WHERE api_id = %s",
            api_id,
        )[0]
        return int(found[0]), int(found[1]), int(found[2])

    def used(self, api_id: str) -> int:
        return int(self.one("SELECT used FROM apimgmt_trialquota WHERE api_id = %s", api_id))

    def workers(self) -> dict[str, tuple[str, int, str]]:
        """id -> (state, applied revision, gone reason)."""
        return {
            row[0]: row[1:]
            for row in self.sql("SELECT id, state, applied_revision, gone_reason FROM apimgmt_gatewayworker")
        }

    @property
    def revision(self) -> int:
        return int(self.one("SELECT revision FROM apimgmt_installation"))


@dataclass
class Api:
    """One API that `Rows.api` made."""

    rows: Rows
    id: str
    key: str
    version_id: int
    spec: ModelSpec

    @property
    def path(self) -> str:
        return f"/apis/{self.id}/predict"

    @property
    def body(self) -> bytes:
        return json.dumps({"rows": [self.spec.sample]}).encode()

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key, "content-type": "application/json"}

    def set(self, **columns: Any) -> int:
        """Change columns of the row; returns the revision that gave."""
        names = ", ".join(f"{name} = %s" for name in columns)
        return int(
            self.rows.one(
                f"UPDATE apimgmt_predictionapi SET {names} WHERE id = %s RETURNING revision",  # noqa: S608
                *columns.values(),
                self.id,
            )
        )

    def allow(self, *networks: str) -> None:
        for network in networks:
            self.rows.sql(
                "INSERT INTO apimgmt_whitelistentry (api_id, network, note, created_at, created_by)"
                " VALUES (%s, %s, '', now(), 't')",
                *(self.id, network),
            )

    def disallow(self, network: str) -> None:
        self.rows.sql("DELETE FROM apimgmt_whitelistentry WHERE api_id = %s AND network = %s", self.id, network)


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
    """Calls a worker's ASGI application as uvicorn would. `slow_body`: awaited before the body's last part is there."""

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


@asynccontextmanager
async def running_worker(env: Environment, *, slot: int = 0, in_step: bool = True) -> AsyncIterator[Worker]:
    """A worker's background tasks, as `Worker.run` starts them, without its HTTP server and its master."""
    with socket.socket() as listener, socket.socket() as channel:
        listener.bind(("127.0.0.1", 0))
        worker = Worker(env, slot=slot, listener=listener, channel=channel)
    tasks = [
        asyncio.create_task(worker.pulse.keep_ticking()),
        asyncio.create_task(worker.follower.listen()),
        asyncio.create_task(worker._follow()),
        asyncio.create_task(worker._keep_books()),
    ]
    try:
        if in_step:
            async with asyncio.timeout(30):
                await worker.follower.is_started.wait()
        yield worker
    finally:
        await ended(tasks)
        await worker.database.close()
        worker.loader.close()
        worker.runner.close()
        worker.book.release()


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
