"""The addresses of an API, as its callers see them."""

from __future__ import annotations

from django.conf import settings

from apimgmt.models import PredictionAPI


def api_base(api: PredictionAPI) -> str:
    """Every format of the API lies under this address."""
    return f"{settings.ENVIRONMENT.gateway_url}/apis/{api.pk}"


def docs_url(api: PredictionAPI) -> str:
    """The API's own page: columns, a form, calls to copy."""
    return f"{api_base(api)}/docs"


def openapi_url(api: PredictionAPI) -> str:
    """The same for programs."""
    return f"{api_base(api)}/openapi.json"


def api_url(api: PredictionAPI) -> str:
    """The API URL that the console shows."""
    return f"{api_base(api)}/predict"
