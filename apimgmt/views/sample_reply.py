"""The reply to *Send this row now* as the tab shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.http import HttpRequest

from apimgmt.calling.sample_call import SampleReply
from apimgmt.models import Model

_SESSION_KEY = "sample_reply"


@dataclass(frozen=True)
class ShownReply:
    """A gateway's answer; `body` is laid out where it is JSON."""

    status: int
    seconds: float
    body: str


def shown_reply(reply: SampleReply) -> ShownReply:
    try:
        body = json.dumps(json.loads(reply.body), indent=2, ensure_ascii=False)
    except ValueError:
        body = reply.body
    return ShownReply(reply.status, reply.seconds, body)


def keep_reply(request: HttpRequest, model: Model, reply: ShownReply) -> None:
    """For the page that a browser without scripts is sent to."""
    request.session[_SESSION_KEY] = [model.pk, reply.status, reply.seconds, reply.body]


def kept_reply(request: HttpRequest, model: Model) -> ShownReply | None:
    """What was kept, once."""
    kept = request.session.get(_SESSION_KEY)
    if kept is None:
        return None
    del request.session[_SESSION_KEY]
    return ShownReply(*kept[1:]) if kept[0] == model.pk else None
