"""The gateway's HTTP side: a plain ASGI application, one coroutine call a request.

`_prediction` is the table of checks, in its order. Whatever it ends with passes `_decide`, which asks the present
route once more, counts, and only then lets an answer go out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any, Final

import structlog

from gateway import dialects
from gateway.client_address import BadForwardedFor, ClientAddresses
from gateway.clock import Pulse, boot_ns
from gateway.credentials import check_key
from gateway.dialects import Reply
from gateway.ledger import COUNT_4XX, COUNT_5XX, COUNT_200, Book, Cell
from gateway.loading import LoadedModel
from gateway.metrics import Latency
from gateway.predictor import ModelFailed, Predictor
from gateway.problems import Problem, problem_body
from gateway.quota import Reservation
from gateway.routes import ApiState, Route, RouteTable
from gateway.runner import Runner
from runtime.faults import fault_point

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HeaderLine = tuple[bytes, bytes]
Answer = tuple[int, list[HeaderLine], bytes]

# Bigger bodies, and more work than this, would hold up the event loop and with it all other APIs.
INLINE_BODY_BYTES: Final = 64 * 1024
INLINE_WORK_S: Final = 0.001
REQUESTS_IN_PROGRESS: Final = 128  # of one API in one worker
LOAD_WAIT_S: Final = 5.0

_APIS: Final = "/apis/"
_JSON: Final = b"application/problem+json"
_TEXT: Final = b"text/plain; charset=utf-8"
_CLOSE: Final = (b"connection", b"close")
_ALLOW: Final = ((b"allow", b"POST"),)

_log = structlog.get_logger("gateway.app")


class ClientGone(Exception):
    """The client left before its body was complete: there is nobody to answer and nothing to count."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the installation allows of one request."""

    max_body_bytes: int
    trial_max_rows: int


class Call:
    """One request to an API, on its way through the checks."""

    __slots__ = (
        "below",
        "cell",
        "entered",
        "headers",
        "is_prediction",
        "receive",
        "reservation",
        "route",
        "scope",
        "version_headers",
    )

    def __init__(self, scope: Scope, receive: Receive, route: Route, below: str) -> None:
        self.scope = scope
        self.receive = receive
        self.route = route
        self.version_headers = route.version_headers  # of what computes; an update may replace `route` meanwhile
        self.below = below
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.is_prediction = scope["method"] == "POST" and _predicts(below)
        self.cell: Cell | None = None
        self.reservation: Reservation | None = None
        self.entered: ApiState | None = None


@lru_cache(maxsize=256)
def _predicts(below: str) -> bool:
    return dialects.predicts(below)


class Gateway:
    """The ASGI application. `is_draining`: each answer asks its client to close the connection."""

    def __init__(
        self,
        *,
        table: RouteTable,
        book: Book,
        pulse: Pulse,
        runner: Runner,
        addresses: ClientAddresses,
        limits: Limits,
        types_url: str,
    ) -> None:
        self.is_draining = False
        self.latency = Latency()
        self._table = table
        self._route_of = table.get
        self._book = book
        self._pulse = pulse
        self._runner = runner
        self._addresses = addresses
        self._limits = limits
        self._types_url = types_url
        self._id_prefix = secrets.token_hex(6)
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not path.startswith(_APIS):
            await self._send(self._own_page(scope["method"], path), send)
            return
        started = time.perf_counter()
        request_id = f"{self._id_prefix}{next(self._numbers):08x}"
        api_id, _, below = path[len(_APIS) :].partition("/")
        route = self._route_of(api_id)
        if route is None:
            problem = Problem("unknown_api" if self._pulse.check() else "catching_up")
            await self._send(self._problem_message(problem, request_id, below, None), send)
            return
        call = Call(scope, receive, route, below)
        try:
            outcome = await self._outcome(call, request_id)
            outcome = self._decide(call, outcome)
        except ClientGone:
            return
        finally:
            self._leave(call)
        if call.is_prediction:
            self.latency.note(time.perf_counter() - started)
        if isinstance(outcome, Reply):
            message = self._reply_message(outcome, request_id, call)
        else:
            message = self._problem_message(outcome, request_id, below, call)
        await self._send(message, send)

    # --- one request ---

    async def _outcome(self, call: Call, request_id: str) -> Reply | Problem:
        try:
            if call.is_prediction:
                self._take_cell(call)
            return await self._prediction(call)
        except Problem as problem:
            return problem
        except ClientGone:
            raise
        except ModelFailed as error:
            return Problem("model_failed", str(error))
        except Exception:  # noqa: BLE001  (whatever it was, the client gets an answer and the log the trace)
            _log.exception("internal_error", request_id=request_id, api_id=call.route.api_id)
            return Problem("internal_error")

    def _take_cell(self, call: Call) -> None:
        cell = self._book.cell(call.route.api_id)
        if cell is None:
            call.is_prediction = False  # it can't be counted, so it must not be answered with anything but this
            raise Problem("not_ready")
        cell.ledger.in_use += 1
        call.cell = cell

    async def _prediction(self, call: Call) -> Reply:
        """Every check in order, each with its own refusal; then the work."""
        route = call.route
        self._check_in_step()  # 503 catching_up
        self._check_caller(call, route)  # 403 ip_not_allowed, 401 invalid_key, 404 unknown_path, 503 api_...
        model = _model(route)
        predictor = model.predictor or await self._arrived(model)  # 503 api_building: not yet in this worker
        self._check_exhausted(route)  # 429 quota_exhausted
        self._check_method(call)  # 405 method_not_allowed
        self._check_length(call)  # 413 payload_too_large
        dialect = dialects.choose(call.below, call.headers)  # 415 unsupported_media_type
        self._enter(call)  # 429 too_many_requests
        body = await self._body(call)  # 413, when no length was announced
        is_small = len(body) <= INLINE_BODY_BYTES
        if is_small:
            decoded = dialect.decode(body, predictor)  # 400 malformed_body, 422 invalid_rows
        else:
            decoded = await self._runner.run(route.state, lambda: dialect.decode(body, predictor))
        n_rows = decoded.table.n_rows
        if route.is_trial:
            await self._reserve(call, n_rows)  # 422 invalid_rows, 429 quota_exhausted, 503 quota_unavailable
        if is_small and n_rows * model.row_s <= INLINE_WORK_S:
            return dialect.encode(predictor.predict(decoded.table), decoded, predictor, route.number)
        return await self._runner.run(
            route.state,
            lambda: dialect.encode(predictor.predict(decoded.table), decoded, predictor, route.number),
        )  # 500 model_failed, 504 model_timeout

    def _decide(self, call: Call, outcome: Reply | Problem) -> Reply | Problem:
        """What is really answered: by the rules of this moment. Counted and charged here, without a pause between."""
        if boot_ns() > self._pulse.deadline_ns or self._route_of(call.route.api_id) is not call.route:
            outcome = self._by_present_rules(call, outcome)
        status = 200 if isinstance(outcome, Reply) else outcome.kind.status
        if call.is_prediction:
            self._count(call, status)
        if call.reservation is not None:
            if status == 200:
                call.reservation.keep()
            else:
                call.reservation.give_back()
        return outcome

    def _by_present_rules(self, call: Call, outcome: Reply | Problem) -> Reply | Problem:
        """The route was replaced, or the worker slept, while the request was in progress."""
        try:
            self._check_in_step()
            route = self._route_of(call.route.api_id)
            if route is None:
                call.is_prediction = False  # deleted: there is no API any more to count for
                raise Problem("unknown_api")
            call.route = route
            self._check_caller(call, route)
        except Problem as problem:
            return problem
        return outcome

    def _count(self, call: Call, status: int) -> None:
        cell = call.cell
        assert cell is not None  # noqa: S101  (a prediction without a cell was refused by _take_cell)
        fault_point("count.before")
        cell.counts[cell.index + (COUNT_200 if status == 200 else COUNT_4XX if status < 500 else COUNT_5XX)] += 1
        fault_point("count.after")
        answers = call.route.state.answers
        answers[status] = answers.get(status, 0) + 1

    def _leave(self, call: Call) -> None:
        if call.entered is not None:
            call.entered.in_progress -= 1
        if call.reservation is not None:
            call.reservation.give_back()  # does nothing once it is kept; here for a request that was cancelled
        if call.cell is not None:
            call.cell.ledger.in_use -= 1

    # --- the checks ---

    def _check_in_step(self) -> None:
        if boot_ns() > self._pulse.deadline_ns and not self._pulse.check():
            raise Problem("catching_up")

    def _check_caller(self, call: Call, route: Route) -> None:
        """Address, key, path and status: what is asked again when the route was replaced in the meantime."""
        address = self._address(call)
        if not route.whitelist.allows(address):
            raise Problem("ip_not_allowed", f"The address {address} is not on the IP whitelist of this API.")
        check_key(call.headers, call.scope["headers"], route.key_digest)
        if not _predicts(call.below):
            raise Problem("unknown_path")
        if route.refusal:
            raise Problem(route.refusal)

    def _address(self, call: Call) -> str:
        client = call.scope["client"]
        peer, is_proxy = self._addresses.of_peer(client[0] if client else "unknown")
        if not is_proxy or b"x-forwarded-for" not in call.headers:
            return peer
        lines = [value for name, value in call.scope["headers"] if name == b"x-forwarded-for"]
        try:
            return self._addresses.of_forwarded(peer, lines)
        except BadForwardedFor as error:
            detail = f"The proxy {peer} sent an X-Forwarded-For with “{error}”, which is no IP address."
            raise Problem("ip_not_allowed", detail) from None

    async def _arrived(self, model: LoadedModel) -> Predictor:
        """The predictor of a model that this worker is still loading; waited for a little."""
        if not await model.arrival(LOAD_WAIT_S):
            raise Problem("api_building", "This gateway worker is still loading the model.")
        if model.predictor is None:
            raise Problem("model_failed", f"The model could not be loaded. {model.error}")
        return model.predictor

    def _check_exhausted(self, route: Route) -> None:
        account = route.state.account
        if account is not None and account.is_exhausted:
            raise Problem("quota_exhausted", f"This trial has used all of its {account.limit} requests.")

    def _check_method(self, call: Call) -> None:
        if call.scope["method"] != "POST":
            raise Problem("method_not_allowed", "This path takes POST.", headers=_ALLOW)

    def _check_length(self, call: Call) -> None:
        length = call.headers.get(b"content-length")
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem("payload_too_large", f"A body may have at most {self._limits.max_body_bytes} bytes.")

    def _enter(self, call: Call) -> None:
        state = call.route.state
        if state.in_progress >= REQUESTS_IN_PROGRESS:
            raise Problem("too_many_requests")
        state.in_progress += 1
        call.entered = state

    async def _body(self, call: Call) -> bytes:
        message = await call.receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body"):
            self._check_size(len(body))
            return body
        parts = bytearray(body)
        while message["type"] == "http.request" and message.get("more_body"):
            message = await call.receive()
            parts += message.get("body", b"")
            self._check_size(len(parts))
        if message["type"] == "http.disconnect":
            raise ClientGone
        return bytes(parts)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_body_bytes:
            raise self._too_large()

    async def _reserve(self, call: Call, n_rows: int) -> None:
        account = call.route.state.account
        if n_rows > self._limits.trial_max_rows:
            raise dialects.too_many_rows(n_rows, self._limits.trial_max_rows)
        if account is not None and call.cell is not None:
            call.reservation = await account.reserve(call.cell.ledger)

    # --- answers ---

    def _reply_message(self, reply: Reply, request_id: str, call: Call) -> Answer:
        route = call.route
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-request-id", request_id.encode()),
            *call.version_headers,
            *reply.headers,
        ]
        if route.is_trial:
            headers += _quota_headers(route, call.reservation)
        return 200, headers, reply.body

    def _problem_message(self, problem: Problem, request_id: str, below: str, call: Call | None) -> Answer:
        body = problem_body(problem, request_id, types_url=self._types_url, with_manual_members=below == "predict")
        headers = [
            (b"content-type", _JSON),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            *problem.headers,
        ]
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % problem.retry_after_s))
        if call is not None and call.route.is_trial:
            headers += _quota_headers(call.route, None)
        return problem.kind.status, headers, body

    async def _send(self, answer: Answer, send: Send) -> None:
        status, headers, body = answer
        if self.is_draining:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _own_page(self, method: str, path: str) -> Answer:
        """What belongs to the gateway itself and to no API."""
        request_id = f"{self._id_prefix}{next(self._numbers):08x}"
        is_ready = self._pulse.check() and not self.is_draining
        pages = {"/livez": (200, b"alive\n"), "/readyz": (200, b"ready\n") if is_ready else (503, b"not ready\n")}
        page = pages.get(path)
        if page is None:
            problem = Problem("unknown_path", "Nothing is served at this path.")
            return self._problem_message(problem, request_id, "", None)
        if method not in {"GET", "HEAD"}:
            problem = Problem("method_not_allowed", "This path takes GET.", headers=((b"allow", b"GET, HEAD"),))
            return self._problem_message(problem, request_id, "", None)
        status, text = page
        headers = [
            (b"content-type", _TEXT),
            (b"content-length", b"%d" % len(text)),
            (b"x-request-id", request_id.encode()),
            (b"cache-control", b"no-store"),
        ]
        return status, headers, text


def _model(route: Route) -> LoadedModel:
    """The served version, loaded or on its way."""
    model = route.state.models.get(route.version.version_id) if route.version else None
    if model is None:
        raise Problem("model_failed", "This gateway can't read the description of the served version.")
    return model


def _quota_headers(route: Route, reservation: Reservation | None) -> list[HeaderLine]:
    account = route.state.account
    if account is None:
        return []
    remaining = account.remaining if reservation is None else reservation.remaining
    return [(b"x-quota-limit", b"%d" % account.limit), (b"x-quota-remaining", b"%d" % remaining)]
