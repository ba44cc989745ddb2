"""What is served below an API's base beside predictions: its descriptions and its readiness."""

from __future__ import annotations

from contract.problems import Problem
from gateway.request.api_request import APIS, ApiRequest
from gateway.request.checks import Checks, check_crowd, served_model
from gateway.request.responses import ALLOW_PAGE
from gateway.routing.routes import Route
from inference.engines import engine_for
from inference.formats import ApiInfo, Page, Reply


class Pages:
    """Neither counted nor charged. The same checks as a prediction's, as far as they apply. Both raise `Problem`."""

    def __init__(self, checks: Checks, base_url: str) -> None:
        self._checks = checks
        self._base_url = base_url

    def start(self, request: ApiRequest, page: Page) -> Reply | None:
        """None if it has to wait for its model."""
        self._checks.check_caller(request, request.route)
        if request.http.method not in {"GET", "HEAD"}:
            raise Problem("method_not_allowed", "This path takes GET.", headers=ALLOW_PAGE)
        if not page.is_open:
            request.model = model = served_model(request.route)
            if model.spec is None or not model.is_ready:
                check_crowd(request.route)
                return None
        return self._made(request, page)

    async def finish(self, request: ApiRequest, page: Page) -> Reply:
        if not request.model.is_ready:
            await self._checks.wait_for_model(request.model)
        return self._made(request, page)

    def _made(self, request: ApiRequest, page: Page) -> Reply:
        route = request.route
        return page.make(
            ApiInfo(
                api_id=route.api_id,
                name=route.name,
                model_name=request.endpoint.model if request.endpoint else "",
                version=route.number,
                base_url=f"{self._base_url}{APIS}{route.api_id}",
                is_ready=_is_ready(route),
                served=None if page.is_open else request.model.spec,
                predictor=None if page.is_open else request.model.predictor,
                platform="" if page.is_open else engine_for(request.model.ref.format).platform,
            )
        )


def _is_ready(route: Route) -> bool:
    model = route.state.models.get(route.version.version_id) if route.version else None
    return not route.refusal and model is not None and model.is_ready
