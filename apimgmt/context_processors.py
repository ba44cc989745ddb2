"""What every page of the console shows around its content."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from apimgmt.lifecycle.confirmation import gateway_summary
from console.version import VERSION


def console(request: HttpRequest) -> dict[str, Any]:
    """The release, and the footer's "gateways in step", read only by templates that show it."""
    return {"console_version": VERSION, "gateway_summary": SimpleLazyObject(gateway_summary)}
