"""The five build stages as data: their order, and the names the page gives them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

STAGES = {
    "verify": _("Verify file"),
    "inspect": _("Inspect model"),
    "self-test": _("Self-test"),
    "publish": _("Publish"),
    "confirm": _("Confirm on gateways"),
}


def waiting_stages() -> list[dict[str, Any]]:
    """A build's `stages` before it starts. States: waiting, running, done, failed; `seconds` once it ended."""
    return [{"name": name, "state": "waiting", "seconds": None, "detail": []} for name in STAGES]
