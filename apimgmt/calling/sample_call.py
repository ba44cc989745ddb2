"""*Send this row now*: a real, counted request with the model's sample row, made by the console's server."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException

from django.utils.translation import gettext as _

from apimgmt.access.keys import decrypted_key
from apimgmt.actors import Actor
from apimgmt.calling.addresses import api_url
from apimgmt.errors import Refused
from apimgmt.models import PredictionAPI
from apimgmt.roles import OPERATE
from inference.formats import sample_body

TIMEOUT_S = 15
LONGEST_SHOWN_BODY = 20_000


@dataclass(frozen=True)
class SampleReply:
    """What the gateway answered: HTTP status, body as text, and the seconds it took."""

    status: int
    body: str
    seconds: float


def send_sample_row(api: PredictionAPI, *, actor: Actor) -> SampleReply:
    """Call the API URL as any caller would. Raises Refused when no gateway answers there at all."""
    actor.require(OPERATE)
    request = urllib.request.Request(  # noqa: S310 (GATEWAY_URL was checked to be http or https)
        api_url(api),
        data=sample_body(api.version.described()),
        headers={"Content-Type": "application/json", "x-api-key": decrypted_key(api)},
    )
    started = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310  (as above)
            status, body = reply.status, reply.read(LONGEST_SHOWN_BODY)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(LONGEST_SHOWN_BODY)
    except (OSError, HTTPException) as error:
        raise Refused(_("No gateway answered at %(url)s: %(error)s") % {"url": api_url(api), "error": error}) from None
    return SampleReply(status=status, body=body.decode(errors="replace"), seconds=time.perf_counter() - started)
