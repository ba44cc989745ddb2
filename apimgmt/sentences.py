"""The sentences that the database keeps: as a code and its parameters, translated whole when somebody reads them.

What is stored is a *message*, `{"code": "no_gateway", "params": {}}`. Rows of earlier releases hold the sentence itself
and are shown as they are. A parameter whose name ends in `_bytes` is shown as a size, in `_at` as a local time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from apimgmt.units import size_text, time_text

Message = dict[str, Any]

SENTENCES: dict[str, Promise] = {
    # What a finished build stage tells.
    "file_verified": _("sha256 %(digest)s… · %(size_bytes)s"),
    "columns": ngettext_lazy("%(columns)d column", "%(columns)d columns", "columns"),
    "classes": ngettext_lazy("%(classes)d class", "%(classes)d classes", "classes"),
    "row_time": _("1 row in %(micros).0f µs"),
    "revision": _("revision %(revision)d"),
    "workers": _("%(confirmed)d of %(counted)d"),
    # Why a build failed.
    "unexpected": _("Something unexpected went wrong in the console. Its log has the details."),
    "too_long": _("The build took longer than allowed."),
    "file_missing": _("The model's file is not in the model store: %(cause)s."),
    "file_changed": _("The model's file in the model store is not the one that was registered."),
    "no_gateway": _("No gateway is running."),
    "workers_too_old": _("Workers of an older release can't serve this version: %(workers)s. Restart these gateways."),
    # Why a gateway worker has not confirmed.
    "worker_out_of_reach": _(
        "Worker %(worker)s has been out of reach since %(heartbeat_at)s and may still answer by the old rule."
    ),
    "worker_behind": _("Worker %(worker)s has not applied the change yet."),
    "worker_loading": _("Worker %(worker)s is loading the model."),
    "worker_load_failed": _("Worker %(worker)s could not load the model: %(error)s"),
    # In the words of a program that has no translations: the inspection of a model, ONNX Runtime.
    "quoted": _("%(text)s"),
}


def message(code: str, **params: Any) -> Message:
    """What is stored. Times are kept as ISO text. Raises KeyError for a code that has no sentence."""
    SENTENCES[code]
    return {"code": code, "params": {name: _storable(value) for name, value in params.items()}}


def sentence(stored: Message | str) -> str:
    """The sentence in the reader's language. A code of a later release is shown as the code."""
    if isinstance(stored, str):
        return stored
    code, params = stored["code"], stored["params"]
    if code not in SENTENCES:
        return str(code)
    return str(SENTENCES[code] % {name: _shown(name, value) for name, value in params.items()})


def sentences(stored: Sequence[Message] | str) -> str:
    """Several whole sentences, one after the other."""
    return stored if isinstance(stored, str) else " ".join(sentence(one) for one in stored)


def facts(stored: Sequence[Message] | str) -> str:
    """Several short facts in one line: 4 columns · 2 classes."""
    return stored if isinstance(stored, str) else " · ".join(sentence(one) for one in stored)


def event_reason(detail: Mapping[str, Any]) -> str:
    """Why something failed, out of an event's detail, which earlier releases wrote as a sentence."""
    return sentences(detail.get("reasons", detail.get("reason", "")))


def _storable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.replace("\x00", "") if isinstance(value, str) else value  # PostgreSQL keeps no zero byte


def _shown(name: str, value: Any) -> Any:
    if name.endswith("_bytes"):
        return size_text(value)
    if name.endswith("_at"):
        return time_text(datetime.fromisoformat(value))
    return value
