"""Where the time of one request goes, in one process and without the kernel: `python -m benchmarks.request_path`.

The real protocol and application, with a socket that only takes what is written. Microseconds of CPU, the least of many
rounds: what they cost when nothing disturbs them, so they add up to less than a server under load shows.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.bench_models import BenchModel, train
from benchmarks.servers.bare import BODY as BARE_BODY
from benchmarks.servers.bare import HEADERS as BARE_HEADERS
from benchmarks.servers.bare import app as bare_app
from contract.api_keys import key_digest, new_key
from contract.client_address import ClientAddresses
from contract.model_spec import spec_to_json
from gateway.db.statements.routes import RouteRead, RouteRow
from gateway.http.application import Application, Pending, Receive, Request, Response, Send
from gateway.http.connections import ConnectionManager
from gateway.http.limits import ConnectionLimits
from gateway.http.protocol import GatewayProtocol
from gateway.http.wire import header_lines
from gateway.models.batch import Limits
from gateway.models.loaded_model import LoadedModel
from gateway.models.runner import Runner
from gateway.request.app import Gateway
from gateway.routing.routes import RouteTable
from gateway.routing.serving_lease import ServingLease
from gateway.usage.ledger import LedgerSet
from inference import formats
from inference.predictor import Predictor

_API_ID = "abcdefgh12345678"
_ROUNDS, _CALLS, _TOGETHER = 500, 2, 10
_HEADERS = {b"content-type": b"application/json"}


class _Constant(Pending):
    """What the bare server answers, as an application of the gateway's protocol."""

    is_draining = False
    response = (200, header_lines(BARE_HEADERS), BARE_BODY)

    def start(self, request: Request) -> Pending:
        return self

    def complete(self, pending: Pending) -> Response:
        return self.response

    async def finish(self, pending: Pending, receive: Receive, send: Send) -> Response | None:
        return self.response

    def release(self, pending: Pending) -> None:
        """There is nothing to give back."""

    def refusal(self, code: str, detail: str = "") -> Response:
        raise AssertionError(code)

    def failure(self, error: Exception) -> Response:
        raise error


class _Socket:
    """A transport whose other end reads nothing; each answer goes through the kernel once and comes back."""

    def __init__(self) -> None:
        self.answered = 0
        ours, theirs = socket.socketpair()
        self._ours, self._theirs = ours, theirs

    def write(self, data: bytes) -> None:
        self.answered += data.startswith(b"HTTP/")  # uvicorn writes the head and the body apart
        self._ours.send(data)
        self._theirs.recv(65_536)

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()

    def abort(self) -> None:
        raise AssertionError("nothing takes too long here")

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 4711), "sockname": ("127.0.0.1", 8080)}.get(name, default)


def main() -> None:
    print("| one row as JSON, 30 numbers, 100 trees | one matrix | one input a column |")
    print("|---|---|---|")
    gc.freeze()
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        columns = [_measured(train(layout), Path(folder)) for layout in ("matrix", "columns")]
    for name, value in columns[0].items():
        print(f"| {name} | {value:.1f} | {columns[1][name]:.1f} |")


def _measured(model: BenchModel, folder: Path) -> dict[str, float]:
    loop = uvloop.new_event_loop()
    found = loop.run_until_complete(_stages(model, folder, loop))
    loop.close()
    return found


async def _stages(model: BenchModel, folder: Path, loop: asyncio.AbstractEventLoop) -> dict[str, float]:
    path = folder / f"{model.spec.input}.onnx"
    path.write_bytes(model.content)
    predictor = Predictor(path, model.spec)
    formats.warm_up(predictor)
    key = new_key()
    app = _gateway(model, predictor, key, folder)
    body = msgspec.json.encode({"rows": [model.spec.sample]})
    request = _request(key, body)
    json = formats.choose("predict", _HEADERS)
    decoded = json.decode(body, predictor)
    prediction = predictor.predict(decoded.table)
    bare = await _requests(partial(_bare_protocol, loop), request)
    empty = await _requests(_protocols(_Constant(), loop), request)
    whole = await _requests(_protocols(app, loop), request)
    decode = _least(lambda: json.decode(body, predictor))
    predict = _least(lambda: predictor.predict(decoded.table))
    encode = _least(lambda: json.encode(prediction, decoded, predictor, "1"))
    return {
        "uvicorn's own protocol, constant answer": bare,
        "the gateway's protocol, constant answer": empty,
        "reading the row": decode,
        "predicting": predict,
        "writing the answer": encode,
        "checks, count, headers, and what these do to each other's caches": whole - empty - decode - predict - encode,
        "**the whole request**": whole,
    }


def _gateway(model: BenchModel, predictor: Predictor, key: str, folder: Path) -> Gateway:
    """The application with one operating API, its model in memory, in step for as long as this process runs."""
    version = {"version_id": 1, "number": 1, "sha256": "0" * 64, "format": "onnx", "spec": spec_to_json(model.spec)}
    row = RouteRow(
        api_id=_API_ID,
        revision=1,
        target="operating",
        type="official",
        key_digest=key_digest(key),
        version_id=1,
        candidate_id=None,
        quota_limit=None,
        networks=["127.0.0.0/8"],
        versions=msgspec.json.encode([version]).decode(),
        model_name="bench",
        hides_schema=False,
        has_public_description=False,
        quota_used=None,
    )
    table = RouteTable(cast(Any, None))  # no trial here: it makes no account
    [demand] = table.apply(RouteRead(uuid4(), 1, "UTC", [row]), is_full=True)
    [wanted] = demand.wanted
    loaded = LoadedModel(_API_ID, wanted, *cast(Any, (None, None, None)))  # nothing is computed elsewhere
    loaded.predictor, loaded.spec = predictor, model.spec
    demand.models[1] = loaded
    lease = ServingLease()
    lease.deadline_ns = 1 << 62
    return Gateway(
        table=table,
        ledgers=LedgerSet(folder / "ledgers", "bench0000000", ZoneInfo("UTC")),
        lease=lease,
        runner=Runner(cast(Any, None)),
        addresses=ClientAddresses(()),
        limits=Limits(max_body_bytes=50_000_000, trial_max_rows=1000),
        base_url="http://127.0.0.1",
        types_url="http://127.0.0.1/docs",
    )


def _request(key: str, body: bytes) -> bytes:
    head = f"POST /apis/{_API_ID}/predict HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nx-api-key: {key}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _bare_protocol(loop: asyncio.AbstractEventLoop) -> HttpToolsProtocol:
    config = uvicorn.Config(
        bare_app, interface="asgi3", ws="none", lifespan="off", log_level="warning", access_log=False
    )
    config.proxy_headers = False
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 19:00:00 GMT")]
    return HttpToolsProtocol(config, state, {}, loop)


def _protocols(app: Application, loop: asyncio.AbstractEventLoop) -> Callable[[], GatewayProtocol]:
    return partial(GatewayProtocol, ConnectionManager(app, ConnectionLimits()), loop)


async def _requests(make: Callable[[], asyncio.Protocol], request: bytes) -> float:
    """Microseconds a request, where ten connections bring one each in the same turn of the event loop."""
    protocols, transports = [make() for _ in range(_TOGETHER)], [_Socket() for _ in range(_TOGETHER)]
    for protocol, transport in zip(protocols, transports, strict=True):
        protocol.connection_made(cast(asyncio.Transport, transport))
    answered, found = 0, []
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        for _ in range(_CALLS):
            for protocol in protocols:
                protocol.data_received(request)
            answered += 1
            while min(transport.answered for transport in transports) < answered:  # noqa: ASYNC110  (it lets tasks run)
                await asyncio.sleep(0)
        found.append(time.process_time_ns() - began)
    for transport in transports:
        transport.close()
    return min(found) / _CALLS / _TOGETHER / 1000


def _least(work: Callable[[], object]) -> float:
    """Microseconds a call."""
    found = []
    for _ in range(_ROUNDS):
        began = time.process_time_ns()
        for _ in range(_CALLS):
            work()
        found.append(time.process_time_ns() - began)
    return min(found) / _CALLS / 1000


if __name__ == "__main__":
    main()
    os._exit(0)  # the made-up worker has nothing to close in order
