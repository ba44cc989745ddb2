"""The gateway's HTTP side: an ASGI application whose requests are begun, and mostly computed, without waiting.

`_at_once` is the table of checks, in its order; `_later` goes on where something has to be waited for. Whatever they
end with passes `_decide`, which asks the present route once more, counts, and only then lets an answer go out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
import structlog

from contract.client_address import BadForwardedFor, ClientAddresses
from contract.fault_points import FAULTS_MAY_STRIKE, fault_point
from contract.problems import Problem
from gateway.http.request_cycle import ANSWER, BEGUN, BODY, HEADERS, ClientLeft
from gateway.http.responses import ALLOW_PAGE, CLOSE, Answer, Answers, header_pairs, quota_lines
from gateway.models.batch import FileReply, Limits
from gateway.models.loaded_model import LoadedModel
from gateway.models.placement import INLINE_WORK_S
from gateway.models.runner import Runner
from gateway.models.spool import Spool
from gateway.processes.metrics import Latency
from gateway.request.credentials import BROWSER_CHALLENGE, CHALLENGE, check_key
from gateway.routing.routes import ApiState, Route, RouteTable
from gateway.routing.serving_lease import ServingLease, boot_ns
from gateway.usage.ledger import COUNT_4XX, COUNT_5XX, COUNT_200, Cell, LedgerSet
from gateway.usage.ledger_file import IN_CALL
from gateway.usage.trial_quota import Reservation
from inference import formats
from inference.engines import engine_for
from inference.formats import ApiInfo, Decoded, Endpoint, Page, Reply, RequestFormat
from inference.predictor import ModelFailed, Predictor

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

INLINE_BODY_BYTES: Final = 64 * 1024  # bigger ones would hold up the event loop, and with it all other APIs
REQUESTS_IN_PROGRESS: Final = 128  # of one API in one worker
LOAD_WAIT_S: Final = 5.0

_APIS: Final = "/apis/"
_FILE_PART_BYTES: Final = 256 * 1024
_ALLOW: Final = ((b"allow", b"POST"),)

_log = structlog.get_logger("gateway.request.app")


class ClientGone(Exception):
    """The client left before its body was complete: there is nobody to answer and nothing to count."""


class Place(msgspec.Struct, frozen=True):
    """Where a path leads: to an API, and what there is at the path `below` its base."""

    api_id: str
    below: str
    endpoint: Endpoint | None
    predicts: bool


@lru_cache(maxsize=256)  # times 32 KB at most: a path of four thousand characters, and what is below the base
def _place(path: str) -> Place | None:
    """None for a path that belongs to no API."""
    if not path.startswith(_APIS):
        return None
    api_id, _, below = path[len(_APIS) :].partition("/")
    endpoint = formats.find(below)
    return Place(api_id, below, endpoint, endpoint is not None and endpoint.page is None)


class Pending:
    """A request as far as it went without waiting. `answer`: what goes out, once that is known."""

    is_waiting = False
    answer: Answer | None = None


class ApiRequest(Pending):
    """One request to an API, on its way through the checks."""

    # Until something else is known.
    outcome: Reply | Problem | None = None
    is_too_much = False  # for the event loop
    model: LoadedModel
    dialect: RequestFormat
    cell: Cell | None = None
    reservation: Reservation | None = None
    entered: ApiState | None = None
    spool: Spool | None = None

    def __init__(self, scope: Scope, route: Route, request_id: bytes, place: Place) -> None:
        self.started = time.perf_counter()
        self.scope = scope
        self.route = route
        self.version_lines = route.version_lines  # of what computes; an update may replace `route` meanwhile
        self.request_id = request_id
        self.below = place.below
        self.endpoint = place.endpoint
        self.headers: dict[bytes, bytes] = scope[HEADERS] if HEADERS in scope else dict(scope["headers"])
        self.is_prediction = place.predicts and scope["method"] == "POST"


class Gateway:
    """All requests of one worker. `is_draining`: each answer asks its client to close the connection."""

    def __init__(
        self,
        *,
        table: RouteTable,
        ledgers: LedgerSet,
        lease: ServingLease,
        runner: Runner,
        addresses: ClientAddresses,
        limits: Limits,
        base_url: str,
        types_url: str,
    ) -> None:
        self.is_draining = False
        self.latency = Latency()
        self._table = table
        self._route_of = table.get
        self._ledgers = ledgers
        self._lease = lease
        self._runner = runner
        self._addresses = addresses
        self._limits = limits
        self._inline_body_bytes = min(INLINE_BODY_BYTES, limits.max_body_bytes)
        self._base_url = base_url
        self._answers = Answers(types_url)
        self.refusal = self._answers.refusal

    # --- one request ---

    def begin(self, scope: Scope) -> Pending:
        """As far as it goes without waiting. `finish` is for what does not wait, `__call__` for what does."""
        place = _place(scope["path"])
        if place is None:
            is_ready = self._lease.check() and not self.is_draining
            return self._told(self._answers.own_page(scope["method"], scope["path"], is_ready=is_ready))
        route = self._route_of(place.api_id)
        request_id = self._answers.next_id()
        if route is None:
            problem = Problem("unknown_api" if self._lease.check() else "catching_up")
            return self._told(self._answers.of_problem(problem, request_id, place.below))
        call = ApiRequest(scope, route, request_id, place)
        try:
            call.outcome = self._at_once(call)
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets an answer)
            call.outcome = _refusal(call, error)
        if call.outcome is None:
            call.is_waiting = True
            self._enter(call)
        return call

    def finish(self, begun: Pending) -> Answer:
        """What goes out, by the rules of this moment. `leave` is to be called once it was written."""
        if begun.answer is None:
            call: ApiRequest = begun  # type: ignore[assignment]  # nothing else is without an answer
            begun.answer = self._answer(call, self._decide(call))
        return begun.answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Goes on with what `begin` left waiting, or what could not be written yet."""
        # They name each other: left in the scope they would stay in memory until the collector comes.
        begun: Pending = scope.pop(BEGUN) if BEGUN in scope else self.begin(scope)
        answer_with = scope.pop(ANSWER, None)
        if begun.answer is None:
            call: ApiRequest = begun  # type: ignore[assignment]  # as above
            try:
                if call.is_waiting:
                    call.outcome = await self._outcome(call, receive)
                outcome = self._decide(call)
                if isinstance(outcome, FileReply):
                    await self._send_file(call, outcome, send)
                    return
                begun.answer = self._answer(call, outcome)
            except ClientGone:
                return
            finally:
                self.leave(call)
        if answer_with is None or not answer_with(*begun.answer):
            status, lines, body = begun.answer
            await send({"type": "http.response.start", "status": status, "headers": header_pairs(lines)})
            await send({"type": "http.response.body", "body": body})

    async def _outcome(self, call: ApiRequest, receive: Receive) -> Reply | Problem:
        try:
            return await self._later(call, receive)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets an answer)
            return _refusal(call, error)

    def _at_once(self, call: ApiRequest) -> Reply | None:
        """Every check in order, each with its own refusal; then the work. None if it has to wait: see `_later`."""
        if call.endpoint is not None and call.endpoint.page is not None:
            return self._page(call, call.endpoint.page)
        if call.is_prediction:
            self._take_cell(call)
        route = call.route
        self._check_in_step()  # 503 catching_up
        self._check_caller(call, route)  # 403 ip_not_allowed, 401 invalid_key, 404 unknown_path, 503 api_...
        call.model = model = _model(route)
        self._check_exhausted(route)  # 429 quota_exhausted
        self._check_method(call)  # 405 method_not_allowed
        self._check_length(call)  # 413 payload_too_large
        call.dialect = formats.choose(call.below, call.headers)  # 415 unsupported_media_type
        self._check_crowd(route)  # 429 too_many_requests
        predictor, body = model.predictor, call.scope.get(BODY)
        if predictor is None or body is None or len(body) > self._inline_body_bytes or route.is_trial:
            return None
        if b"content-encoding" in call.headers:
            return None
        model.is_used = True
        return self._computed(call, predictor, call.dialect.decode(body, predictor))

    async def _later(self, call: ApiRequest, receive: Receive) -> Reply:
        """The rest of `_at_once` for what has to wait: for its model, its body, its quota or another process."""
        model = call.model
        if model.predictor is None and not model.is_isolated:
            await self._arrived(model)  # 503 api_building: not yet in this worker
        if call.endpoint is not None and call.endpoint.page is not None:
            return self._made_page(call, call.endpoint.page)
        model.is_used = True
        body: bytes | Spool | None = call.scope.get(BODY)  # of a client that has left since, too
        if not isinstance(body, bytes) or len(body) > self._inline_body_bytes:
            body = await self._body(call, receive)  # 413, when no length was announced
        if b"content-encoding" in call.headers and isinstance(body, bytes):
            body = await self._inflated(call, body, receive)  # 400 malformed_body
        predictor = model.predictor
        if predictor is None or not isinstance(body, bytes) or call.is_too_much:
            return await self._elsewhere(call, model, body)  # 500 model_failed, 504 model_timeout, and those below
        decoded = call.dialect.decode(body, predictor)  # 400 malformed_body, 422 invalid_rows
        if call.route.is_trial:
            await self._reserve(call, decoded.table.n_rows)  # 422 invalid_rows, 429 quota_exhausted, 503 quota_...
        return self._computed(call, predictor, decoded) or await self._elsewhere(call, model, body)

    def _computed(self, call: ApiRequest, predictor: Predictor, decoded: Decoded) -> Reply | None:
        """None if it takes too long here, where all other requests wait for it."""
        if decoded.table.n_rows * decoded.row_predictions * call.model.row_s > INLINE_WORK_S:
            call.is_too_much = True
            return None
        cell = _cell(call)
        cell.counts[IN_CALL] = cell.index  # who adopts the ledger of a crashed worker sees whose model it was
        try:
            prediction = predictor.predict(decoded.table)
            return call.dialect.encode(prediction, decoded, predictor, call.route.number)
        finally:
            cell.counts[IN_CALL] = 0

    def _take_cell(self, call: ApiRequest) -> None:
        cell = self._ledgers.cell(call.route.api_id)
        if cell is None:
            call.is_prediction = False  # it can't be counted, so it must not be answered with anything but this
            raise Problem("not_ready")
        cell.ledger.in_use += 1
        call.cell = cell

    async def _elsewhere(self, call: ApiRequest, model: LoadedModel, body: bytes | Spool) -> Reply:
        """In another process. A trial's quota is reserved between its decoding and its predicting."""
        needs_reservation = call.route.is_trial and call.reservation is None
        return await self._runner.predict(
            model,
            body,
            path=call.below,
            headers=call.headers,
            approve=partial(self._reserve, call) if needs_reservation else None,
        )

    def _page(self, call: ApiRequest, page: Page) -> Reply | None:
        """What is no prediction: neither counted nor charged. The same checks, as far as they apply."""
        route = call.route
        self._check_in_step()  # 503 catching_up
        self._check_caller(call, route)  # 403 ip_not_allowed, 401 invalid_key, 404 unknown_path, 503 api_...
        if call.scope["method"] not in {"GET", "HEAD"}:
            raise Problem("method_not_allowed", "This path takes GET.", headers=ALLOW_PAGE)
        if not page.is_open:
            call.model = model = _model(route)
            if model.spec is None or (model.predictor is None and not model.is_isolated):
                self._check_crowd(route)  # 429 too_many_requests
                return None
        return self._made_page(call, page)

    def _made_page(self, call: ApiRequest, page: Page) -> Reply:
        route = call.route
        return page.make(
            ApiInfo(
                api_id=route.api_id,
                name=route.name,
                model_name=call.endpoint.model if call.endpoint else "",
                version=route.number,
                base_url=f"{self._base_url}{_APIS}{route.api_id}",
                is_ready=_is_ready(route),
                served=None if page.is_open else call.model.spec,
                predictor=None if page.is_open else call.model.predictor,
                platform="" if page.is_open else engine_for(call.model.ref.format).platform,
            )
        )

    def _decide(self, call: ApiRequest) -> Reply | Problem:
        """What is really answered: by the rules of this moment. Counted and charged here, without a pause between."""
        assert call.outcome is not None  # noqa: S101  (it waits no longer)
        outcome = call.outcome
        if boot_ns() > self._lease.deadline_ns or self._route_of(call.route.api_id) is not call.route:
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

    def _answer(self, call: ApiRequest, outcome: Reply | Problem) -> Answer:
        if isinstance(outcome, Problem):
            lines = quota_lines(call.route, None) if call.is_prediction and call.route.is_trial else b""
            answer = self._answers.of_problem(outcome, call.request_id, call.below, call.route, lines)
        else:
            lines = call.version_lines if call.is_prediction else b""  # an open page tells nothing of the API
            if call.reservation is not None:
                lines += quota_lines(call.route, call.reservation)
            answer = self._answers.of_reply(outcome, call.request_id, lines)
        return self._last(answer) if self.is_draining else answer

    def _told(self, answer: Answer) -> Pending:
        """What the gateway says of itself, or of no API at all."""
        begun = Pending()
        begun.answer = self._last(answer) if self.is_draining else answer
        return begun

    def _last(self, answer: Answer) -> Answer:
        status, lines, body = answer
        return status, lines + CLOSE, body

    def _by_present_rules(self, call: ApiRequest, outcome: Reply | Problem) -> Reply | Problem:
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

    def _count(self, call: ApiRequest, status: int) -> None:
        cell = _cell(call)
        if FAULTS_MAY_STRIKE:
            fault_point("count.before")
        cell.counts[cell.index + (COUNT_200 if status == 200 else COUNT_4XX if status < 500 else COUNT_5XX)] += 1
        if FAULTS_MAY_STRIKE:
            fault_point("count.after")
        call.route.state.answers[status] += 1

    def leave(self, begun: Pending) -> None:
        """It was answered, or nobody is there any more. Does nothing the second time."""
        if not isinstance(begun, ApiRequest):
            return
        call = begun
        if call.entered is not None:
            call.entered.in_progress -= 1
            call.entered = None
        if call.reservation is not None:
            call.reservation.give_back()  # does nothing once it is kept; here for a request that was cancelled
        if call.cell is not None:
            call.cell.ledger.in_use -= 1
            call.cell = None
            if call.answer is not None:
                self.latency.note(time.perf_counter() - call.started)
        if call.spool is not None:
            self._runner.batch.leave_body(call.route.api_id, call.spool)
            call.spool = None

    # --- the checks ---

    def _check_in_step(self) -> None:
        if boot_ns() > self._lease.deadline_ns and not self._lease.check():
            raise Problem("catching_up")

    def _check_caller(self, call: ApiRequest, route: Route) -> None:
        """Address, key, path and status: what is asked again when the route was replaced in the meantime."""
        address = self._address(call)
        if not route.whitelist.allows(address):
            raise Problem("ip_not_allowed", f"The address {address} is not on the IP whitelist of this API.")
        endpoint = call.endpoint
        page = endpoint.page if endpoint else None
        if page is None or not (page.is_open or route.has_public_description):
            challenge = BROWSER_CHALLENGE if page and page.asks_browser else CHALLENGE
            check_key(call.headers, call.scope["headers"], route.key_digest, challenge, is_page=page is not None)
        if endpoint is None:
            raise Problem("unknown_path")
        if endpoint.model:
            endpoint.check_names(route.api_id, route.name, route.number)
        if route.refusal and not endpoint.is_open:
            raise Problem(route.refusal)

    def _address(self, call: ApiRequest) -> str:
        client = call.scope["client"]
        peer, is_proxy = self._addresses.of_peer(client[0] if client else "unknown")
        if not is_proxy or b"x-forwarded-for" not in call.headers:
            return peer
        lines = [value for name, value in call.scope["headers"] if name == b"x-forwarded-for"]
        try:
            return self._addresses.of_forwarded(peer, lines)
        except BadForwardedFor as error:
            raise Problem("ip_not_allowed", f"The proxy {peer} sent an X-Forwarded-For {error}.") from None

    async def _arrived(self, model: LoadedModel) -> None:
        """Wait a little for a model that is not in this worker's memory yet, or no longer."""
        if not await model.wait_until_loaded(LOAD_WAIT_S):
            raise Problem("api_building", "This gateway worker is still loading the model.")
        if not model.is_ready:
            raise Problem("model_failed", f"The model could not be loaded. {model.error}")

    def _check_exhausted(self, route: Route) -> None:
        account = route.state.account
        if account is not None and account.is_exhausted:
            raise Problem("quota_exhausted", f"This trial has used all of its {account.limit} requests.")

    def _check_method(self, call: ApiRequest) -> None:
        if call.scope["method"] != "POST":
            raise Problem("method_not_allowed", "This path takes POST.", headers=_ALLOW)

    def _check_length(self, call: ApiRequest) -> None:
        length = call.headers.get(b"content-length")
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem("payload_too_large", f"A body may have at most {self._limits.max_body_bytes} bytes.")

    def _check_crowd(self, route: Route) -> None:
        if route.state.in_progress >= REQUESTS_IN_PROGRESS:
            raise Problem("too_many_requests")

    def _enter(self, call: ApiRequest) -> None:
        """What waits is in progress beside others. What does not wait never is."""
        call.entered = call.route.state
        call.entered.in_progress += 1

    async def _body(self, call: ApiRequest, receive: Receive) -> bytes | Spool:
        """The whole of it: in memory if it is small, else on disk."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body") and len(body) <= INLINE_BODY_BYTES:
            self._check_size(len(body))
            return body
        parts = bytearray(body)
        while message["type"] == "http.request" and message.get("more_body") and len(parts) <= INLINE_BODY_BYTES:
            message = await receive()
            parts += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._check_size(len(parts))
        return bytes(parts) if len(parts) <= INLINE_BODY_BYTES else await self._spooled(call, parts, message, receive)

    async def _inflated(self, call: ApiRequest, body: bytes, receive: Receive) -> bytes | Spool:
        """A small body that was compressed; one that is large inflated is left as it is, and goes where those go."""
        try:
            plain = formats.inflated(body, call.headers[b"content-encoding"], INLINE_BODY_BYTES)
        except Problem as problem:
            if problem.kind.code != "payload_too_large":
                raise
            return await self._spooled(call, body, {}, receive)
        del call.headers[b"content-encoding"]
        return plain

    async def _spooled(self, call: ApiRequest, begun: bytes | bytearray, message: Message, receive: Receive) -> Spool:
        """Written by a thread, because a busy disk makes the writer wait."""
        loop = asyncio.get_running_loop()
        spool = call.spool = self._runner.batch.take_body(call.route.api_id)
        part: bytes | bytearray = begun
        while True:
            self._check_size(spool.size + len(part))
            try:
                await loop.run_in_executor(None, spool.append, part)
            except OSError:
                raise Problem("not_ready", "This gateway has no room on its disk for a large body.") from None
            if not message.get("more_body"):
                return spool
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.max_body_bytes:
            raise self._too_large()

    async def _reserve(self, call: ApiRequest, n_rows: int) -> None:
        account = call.route.state.account
        if n_rows > self._limits.trial_max_rows:
            raise formats.too_many_rows(n_rows, self._limits.trial_max_rows)
        if account is not None and call.cell is not None:
            call.reservation = await account.reserve(call.cell.ledger)

    # --- sending ---

    async def _send_file(self, call: ApiRequest, reply: FileReply, send: Send) -> None:
        """An answer from disk, no faster than the client reads it. Its body's place is taken until it was read."""
        self.latency.note(time.perf_counter() - call.started)
        _cell(call).ledger.in_use -= 1  # it is counted: yesterday's file need not wait for a slow reader
        call.cell = None
        if call.spool is not None:
            call.spool.close()  # the disk it took is free, its place is not
        lines = call.version_lines
        if call.reservation is not None:
            lines += quota_lines(call.route, call.reservation)
        status, lines, _ = self._answers.of_reply(reply, call.request_id, lines)
        if self.is_draining:
            lines += CLOSE
        loop, spool = asyncio.get_running_loop(), reply.spool
        try:
            await send({"type": "http.response.start", "status": status, "headers": header_pairs(lines)})
            sent = 0
            while sent < spool.size:
                part = await loop.run_in_executor(None, spool.read, sent, _FILE_PART_BYTES)
                if not part:
                    raise OSError("an answer's file is shorter than it was")
                sent += len(part)
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})  # once the client has read most of the last part
        except ClientLeft:
            raise ClientGone from None


def _model(route: Route) -> LoadedModel:
    """The served version, loaded or on its way."""
    model = route.state.models.get(route.version.version_id) if route.version else None
    if model is None:
        raise Problem("model_failed", "This gateway can't read the description of the served version.")
    return model


def _refusal(call: ApiRequest, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, ModelFailed):
        return Problem("model_failed", str(error))
    _log.error("internal_error", exc_info=error, request_id=call.request_id.decode(), api_id=call.route.api_id)
    return Problem("internal_error")


def _cell(call: ApiRequest) -> Cell:
    assert call.cell is not None  # noqa: S101  (a prediction without a cell was refused by _take_cell)
    return call.cell


def _is_ready(route: Route) -> bool:
    model = route.state.models.get(route.version.version_id) if route.version else None
    return not route.refusal and model is not None and model.is_ready
