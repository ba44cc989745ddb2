"""One request to an API, on its way from its head to its response, and where its path leads."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec

from contract.problems import Problem
from gateway.http.application import Pending, Request
from gateway.models.loaded_model import LoadedModel
from gateway.models.spool import Spool
from gateway.routing.routes import ApiState, Route
from gateway.usage.ledger import Cell
from gateway.usage.trial_quota import Reservation
from inference import formats
from inference.formats import Endpoint, Reply, RequestFormat

APIS: Final = "/apis/"


class ApiPath(msgspec.Struct, frozen=True):
    """Where a path leads: to an API, and what there is at the path `below` its base."""

    api_id: str
    below: str
    endpoint: Endpoint | None
    predicts: bool


@lru_cache(maxsize=256)  # times 32 KB at most: a path of four thousand characters, and what is below the base
def parse_path(path: str) -> ApiPath | None:
    """None for a path that belongs to no API."""
    if not path.startswith(APIS):
        return None
    api_id, _, below = path[len(APIS) :].partition("/")
    endpoint = formats.find(below)
    return ApiPath(api_id, below, endpoint, endpoint is not None and endpoint.page is None)


class ApiRequest(Pending):
    """`http` is what came over the wire. What it holds (a cell, a place, a reservation) is released once."""

    # Until something else is known; each assignment costs a request.
    outcome: Reply | Problem | None = None
    counted: int | None = None
    """The status it was counted with."""
    is_too_much_here = False
    """On the event loop, all other requests would wait for it."""
    make_outcome: Callable[[], None] | None = None
    """Makes the outcomes of all that are computed by the same call as this one."""
    model: LoadedModel
    request_format: RequestFormat
    cell: Cell | None = None
    reservation: Reservation | None = None
    in_progress_at: ApiState | None = None
    spool: Spool | None = None

    def __init__(self, http: Request, route: Route, request_id: bytes, path: ApiPath) -> None:
        self.started = time.perf_counter()
        self.http = http
        self.headers = http.headers
        self.route = route
        self.version_lines = route.version_lines  # of what computes; an update may replace `route` meanwhile
        self.request_id = request_id
        self.below = path.below
        self.endpoint = path.endpoint
        self.is_prediction = path.predicts and http.method == "POST"

    @property
    def present_cell(self) -> Cell:
        """Raises AssertionError if there is none: a prediction without a cell was refused."""
        assert self.cell is not None  # noqa: S101
        return self.cell

    def joint_outcome(self) -> Reply | Problem:
        """Computed now, unless it was with another's."""
        if self.outcome is None and self.make_outcome is not None:
            self.make_outcome()
        assert self.outcome is not None  # noqa: S101
        return self.outcome

    def enter(self) -> None:
        """What waits is in progress beside others. What does not wait never is."""
        self.in_progress_at = self.route.state
        self.in_progress_at.in_progress += 1
