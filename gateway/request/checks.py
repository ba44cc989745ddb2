"""Every check of a request to an API, in the order in which they are made, each with its own refusal.

docs/gateway.md has the same order as a table. `check_head` is what the head alone decides; the checks behind it wait
for the model, the body and a trial's quota. `check_caller` is asked again if the rules changed while the request ran.
"""

from __future__ import annotations

from typing import Final

from contract.client_address import BadForwardedFor, ClientAddresses
from contract.problems import Problem
from gateway.models.batch import Limits
from gateway.models.loaded_model import LoadedModel
from gateway.request.api_request import ApiRequest
from gateway.request.credentials import BROWSER_CHALLENGE, CHALLENGE, check_key
from gateway.request.fault_log import internal_error
from gateway.routing.routes import Route
from gateway.routing.serving_lease import ServingLease, boot_ns
from gateway.usage.ledger import LedgerSet
from inference import formats
from inference.formats import Decoded, RequestFormat
from inference.predictor import ModelFailed, Predictor

REQUESTS_IN_PROGRESS: Final = 1024
"""Of one API in one worker: what their bodies and connections may take. Queues end by their time, long before."""
LOAD_WAIT_S: Final = 5.0

_ALLOW_POST: Final = ((b"allow", b"POST"),)


class Checks:
    """One worker's. Each raises `Problem`."""

    def __init__(self, *, ledgers: LedgerSet, lease: ServingLease, addresses: ClientAddresses, limits: Limits) -> None:
        self._ledgers = ledgers
        self._lease = lease
        self._addresses = addresses
        self._limits = limits

    # --- what the head decides ---

    def no_route(self) -> Problem:
        """404 unknown_api, or 503 catching_up: a worker that is out of step doesn't know."""
        return Problem("unknown_api" if self._lease.check() else "catching_up")

    def check_head(self, request: ApiRequest) -> RequestFormat:
        """Of a prediction request, before its body is read."""
        route, http = request.route, request.http
        if request.is_prediction:
            self._take_cell(request)  # 503 not_ready
        self.check_caller(request, route)  # 503 catching_up, 403, 401, 404 and 503 api_..., as below
        request.model = served_model(route)  # 500 model_failed
        if route.is_trial:
            _check_not_exhausted(route)  # 429 quota_exhausted
        if http.method != "POST":
            raise Problem("method_not_allowed", "This path takes POST.", headers=_ALLOW_POST)
        length = request.headers.get(b"content-length")
        if length is not None:
            self.check_size(int(length))  # 413 payload_too_large
        request_format = formats.choose(request.below, request.headers, route.csv_default)  # 415 unsupported_media_type
        check_crowd(route)  # 429 too_many_requests
        return request_format

    def check_caller(self, request: ApiRequest, route: Route) -> None:
        """What holds for everything below an API's base, descriptions included. Asked again at the end."""
        if boot_ns() > self._lease.deadline_ns and not self._lease.check():
            raise Problem("catching_up")
        address = self._client_address(request)
        if not route.whitelist.allows(address):
            raise Problem("ip_not_allowed", f"The address {address} is not on the IP whitelist of this API.")
        endpoint = request.endpoint
        page = endpoint.page if endpoint else None
        if page is None or not (page.is_open or route.has_public_description):
            challenge = BROWSER_CHALLENGE if page and page.asks_browser else CHALLENGE
            lines = request.http.lines
            check_key(request.headers, lines, route.key_digest, challenge, is_page=page is not None)  # 401 invalid_key
        if endpoint is None:
            raise Problem("unknown_path")
        if endpoint.model:
            endpoint.check_names(route.api_id, route.name, route.number)  # 404 unknown_path
        if route.refusal and not endpoint.is_open:
            raise Problem(route.refusal)  # 503 api_building, api_stopped, api_failed, api_deleting

    # --- what the model, the body and the quota decide ---

    async def wait_for_model(self, model: LoadedModel) -> None:
        """Wait a little for a model that is not in this worker's memory yet, or no longer."""
        if not await model.wait_until_loaded(LOAD_WAIT_S):
            raise Problem("api_building", "This gateway worker is still loading the model.")
        if not model.is_ready:
            raise Problem("model_failed", f"The model could not be loaded. {model.error}")

    def check_size(self, size_bytes: int) -> None:
        """Of a body: as it is announced, while it is read, and once it is inflated."""
        most = self._limits.max_body_bytes
        if size_bytes > most:
            raise Problem("payload_too_large", f"A body may have at most {most} bytes.")

    def decode(self, request: ApiRequest, body: bytes, predictor: Predictor) -> Decoded:
        """Raises `Problem("malformed_body" | "invalid_rows")`."""
        return request.request_format.decode(body, predictor)

    async def reserve(self, request: ApiRequest, n_rows: int) -> None:
        """Of a trial: one of its requests, for a body that proved valid. 429 quota_exhausted, 503 quota_unavailable."""
        account = request.route.state.account
        if n_rows > self._limits.trial_max_rows:
            raise formats.too_many_rows(n_rows, self._limits.trial_max_rows)  # 422 invalid_rows
        if account is not None and request.cell is not None:
            request.reservation = await account.reserve(request.cell.ledger)

    # --- the parts ---

    def _take_cell(self, request: ApiRequest) -> None:
        cell = self._ledgers.cell(request.route.api_id)
        if cell is None:
            raise Problem("not_ready")  # it can't be counted, so it must not be answered with anything but this
        cell.ledger.in_use += 1
        request.cell = cell

    def _client_address(self, request: ApiRequest) -> str:
        peer, is_proxy = self._addresses.of_peer(request.http.peer)
        if not is_proxy or b"x-forwarded-for" not in request.headers:
            return peer
        lines = [value for name, value in request.http.lines if name == b"x-forwarded-for"]
        try:
            return self._addresses.of_forwarded(peer, lines)
        except BadForwardedFor as error:
            raise Problem("ip_not_allowed", f"The proxy {peer} sent an X-Forwarded-For {error}.") from None


def served_model(route: Route) -> LoadedModel:
    """The served version, loaded or on its way."""
    model = route.state.models.get(route.version.version_id) if route.version else None
    if model is None:
        raise Problem("model_failed", "This gateway can't read the description of the served version.")
    return model


def check_crowd(route: Route) -> None:
    if route.state.in_progress >= REQUESTS_IN_PROGRESS:
        raise Problem("too_many_requests")


def _check_not_exhausted(route: Route) -> None:
    account = route.state.account
    if account is not None and account.is_exhausted:
        raise Problem("quota_exhausted", f"This trial has used all of its {account.limit} requests.")


def refusal_of(error: Exception) -> Problem:
    """What is answered to a request that ended with an exception: 500 model_failed, else 500 internal_error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ModelFailed):
        return Problem("model_failed", str(error))
    return internal_error(error)
