"""The gateway's application: what is done with a request, from its head to its response.

A request is started by a plain call, which takes most of them to their outcome. Whatever it ends with passes `_decide`,
which asks the present route once more, counts, and only then lets a response go out.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from contract.client_address import ClientAddresses
from contract.fault_points import FAULTS_MAY_STRIKE, fault_point
from contract.problems import Problem
from gateway.http.application import CLOSE, ClientLeft, Pending, Receive, Request, Response, Send
from gateway.http.wire import header_pairs
from gateway.models.batch import FileReply, Limits
from gateway.models.runner import Runner
from gateway.request.api_request import ApiRequest, parse_path
from gateway.request.bodies import ClientGone
from gateway.request.checks import Checks
from gateway.request.fault_log import internal_error
from gateway.request.file_response import send_file
from gateway.request.latency import Latency
from gateway.request.pages import Pages
from gateway.request.predictions import Predictions
from gateway.request.responses import Responses
from gateway.routing.routes import RouteTable
from gateway.routing.serving_lease import ServingLease, boot_ns
from gateway.usage.input_warnings import InputWarnings
from gateway.usage.ledger import COUNT_4XX, COUNT_5XX, COUNT_200, LedgerSet
from inference.formats import Reply

_log = structlog.get_logger("gateway.request.app")


class Gateway:
    """All requests of one worker. `is_draining`: each response asks its client to close the connection."""

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
        input_warnings: InputWarnings | None = None,
    ) -> None:
        self.is_draining = False
        self._input_warnings = input_warnings
        self.latency = Latency()
        self._route_of = table.get
        self._lease = lease
        self._batch = runner.batch
        self._checks = Checks(ledgers=ledgers, lease=lease, addresses=addresses, limits=limits)
        self._predictions = Predictions(self._checks, runner, limits)
        self._pages = Pages(self._checks, base_url)
        self._responses = Responses(types_url)

    # --- one request ---

    def start(self, http: Request) -> Pending:
        """As far as it goes without waiting. `complete` is for what does not wait, `finish` for what does."""
        path = parse_path(http.path)
        if path is None:
            is_ready = self._lease.check() and not self.is_draining
            return self._answered(self._responses.own_page(http.method, http.path, is_ready=is_ready))
        route = self._route_of(path.api_id)
        request_id = self._responses.next_id()
        if route is None:
            return self._answered(self._responses.of_problem(self._checks.no_route(), request_id, path.below))
        request = ApiRequest(http, route, request_id, path)
        try:
            page = path.endpoint.page if path.endpoint is not None else None
            if page is None:
                request.outcome = self._predictions.start(request)
            else:
                request.outcome = self._pages.start(request, page)
        except Exception as error:  # noqa: BLE001  (whatever it was, the client gets a response)
            request.outcome = self._predictions.refusal(request, error)
            request.is_prediction = request.cell is not None  # else it can't be counted
        if request.outcome is None:
            request.is_joined = request.make_outcome is not None
            request.is_waiting = not request.is_joined
            if request.is_waiting:
                request.enter()
        return request

    def complete(self, pending: Pending) -> Response:
        """What goes out, by the rules of this moment. `release` is to be called once it was written."""
        if pending.response is None:
            pending.response = self._response(_request(pending))
        return pending.response

    async def finish(self, pending: Pending, receive: Receive, send: Send) -> Response | None:
        """Go on with what `start` left waiting. None: it was sent in parts, or there is nobody left to send it to."""
        if pending.response is not None:
            return pending.response
        request = _request(pending)
        try:
            if request.is_waiting:
                request.outcome = await self._outcome(request, receive)
            request.response = self._response(request)
            if isinstance(request.outcome, FileReply):
                await self._send_file(request, request.response, request.outcome, send)
                return None
            return request.response
        except ClientGone:
            return None
        finally:
            self.release(request)

    async def _outcome(self, request: ApiRequest, receive: Receive) -> Reply | Problem:
        page = request.endpoint.page if request.endpoint is not None else None
        try:
            if page is not None:
                return await self._pages.finish(request, page)
            return await self._predictions.finish(request, receive)
        except ClientGone:
            raise
        except asyncio.CancelledError:  # draining took too long
            return Problem("not_ready", "This gateway worker is stopping.")
        except Exception as error:  # noqa: BLE001  (as in `start`)
            return self._predictions.refusal(request, error)

    async def _send_file(self, request: ApiRequest, response: Response, reply: FileReply, send: Send) -> None:
        """The place of its body is taken until the response was read."""
        self.latency.note(time.perf_counter() - request.started)
        request.present_cell.ledger.in_use -= 1  # it is counted: yesterday's file need not wait for a slow reader
        request.cell = None
        if request.spool is not None:
            request.spool.close()  # the disk it took is free, its place is not
        try:
            await send_file(response, reply.spool, send)
        except ClientLeft:
            return
        except OSError:
            _log.exception("response_cut_off", request_id=request.request_id.decode(), api_id=request.route.api_id)

    def release(self, pending: Pending) -> None:
        """It was answered, or nobody is there any more. Does nothing the second time."""
        if not isinstance(pending, ApiRequest):
            return
        request = pending
        if request.make_outcome is not None:
            request.make_outcome = None  # it may know this request
        if request.in_progress_at is not None:
            request.in_progress_at.in_progress -= 1
            request.in_progress_at = None
        if request.reservation is not None:
            request.reservation.give_back()  # does nothing once it is kept; here for a request that was cancelled
        if request.cell is not None:
            request.cell.ledger.in_use -= 1
            request.cell = None
            if request.response is not None:
                self.latency.note(time.perf_counter() - request.started)
        if request.spool is not None:
            self._batch.leave_body(request.route.api_id, request.spool)
            request.spool = None

    # --- what is decided at the end ---

    def _response(self, request: ApiRequest) -> Response:
        try:
            request.outcome = outcome = self._decide(request)
            response = self._responses.of_request(request, outcome)
        except Exception as error:  # noqa: BLE001  (as in `start`)
            request.outcome = problem = internal_error(error)
            self._recount(request, problem.kind.status)
            response = self._responses.of_request(request, problem)
        return self._last(response) if self.is_draining else response

    def _decide(self, request: ApiRequest) -> Reply | Problem:
        """What is really answered: by the rules of this moment. Counted and charged here, without a pause between."""
        outcome = request.outcome
        if outcome is None:
            outcome = request.joint_outcome()
        if boot_ns() > self._lease.deadline_ns or self._route_of(request.route.api_id) is not request.route:
            outcome = self._by_present_rules(request, outcome)
        status = 200 if isinstance(outcome, Reply) else outcome.kind.status
        if request.is_prediction:
            self._count(request, status)
            if isinstance(outcome, Reply) and outcome.warned and self._input_warnings is not None:
                self._input_warnings.note(request.route.api_id, outcome.warned)
        if request.reservation is not None:
            if status == 200:
                request.reservation.keep()
            else:
                request.reservation.give_back()
        return outcome

    def _by_present_rules(self, request: ApiRequest, outcome: Reply | Problem) -> Reply | Problem:
        """The route was replaced, or the worker slept, while the request was in progress."""
        route = self._route_of(request.route.api_id)
        if route is None:
            problem = self._checks.no_route()
            if problem.kind.code == "unknown_api":
                request.is_prediction = False  # deleted: there is no API any more to count for
            return problem
        request.route = route
        try:
            self._checks.check_caller(request, route)
        except Problem as problem:
            return problem
        return outcome

    def _count(self, request: ApiRequest, status: int) -> None:
        cell = request.present_cell
        if FAULTS_MAY_STRIKE:
            fault_point("count.before")
        cell.counts[cell.index + _column(status)] += 1
        if FAULTS_MAY_STRIKE:
            fault_point("count.after")
        request.counted = status
        request.route.state.answers[status] += 1

    def _recount(self, request: ApiRequest, status: int) -> None:
        """A fault struck while it was decided. It is counted once, with what it is answered with after all."""
        if request.counted is not None:
            cell = request.present_cell
            cell.counts[cell.index + _column(request.counted)] -= 1
            request.route.state.answers[request.counted] -= 1
        if request.is_prediction:
            self._count(request, status)
        if request.reservation is not None:
            request.reservation.give_back()

    # --- responses that are no request's own ---

    def _answered(self, response: Response) -> Pending:
        """What the gateway says of itself, or of no API at all."""
        pending = Pending()
        pending.response = self._last(response) if self.is_draining else response
        return pending

    def _last(self, response: Response) -> Response:
        status, lines, body = response
        return status, lines + CLOSE, body

    def refusal(self, code: str, detail: str = "") -> Response:
        """What is answered to something that never became a request."""
        return self._responses.of_nobody(Problem(code, detail))

    def failure(self, error: Exception) -> Response:
        """What is answered when something beside these checks failed. Its log line has the response's request ID."""
        return self._responses.of_nobody(internal_error(error))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI, so that any ASGI server can stand in for `gateway.http`. It then has that server's limits."""
        response = await self.finish(self.start(_of_scope(scope)), receive, send)
        if response is not None:
            status, lines, body = response
            await send({"type": "http.response.start", "status": status, "headers": header_pairs(lines)})
            await send({"type": "http.response.body", "body": body})


def _column(status: int) -> int:
    return COUNT_200 if status == 200 else COUNT_4XX if status < 500 else COUNT_5XX


def _request(pending: Pending) -> ApiRequest:
    assert isinstance(pending, ApiRequest)  # noqa: S101  (nothing else is without a response)
    return pending


def _of_scope(scope: dict[str, Any]) -> Request:
    http = Request()
    http.method, http.path, http.lines = scope["method"], scope["path"], list(scope["headers"])
    http.headers = dict(http.lines)
    http.peer = scope["client"][0] if scope.get("client") else "unknown"
    return http
