"""For how long a browser's pages may show a key in full: after Launch, Show and Roll key, and no longer.

The session keeps until when and which key, never the key. Nothing is written here while a page is only looked at,
so that polls do not extend the session.
"""

from __future__ import annotations

import time

from django.http import HttpRequest

from apimgmt.access.keys import decrypted_key
from apimgmt.errors import Refused
from apimgmt.models import PredictionAPI

SESSION_KEY = "shown_keys"
SHOWN_FOR_S = 60
SHOWN_AFTER_LAUNCH_S = 300


def _fingerprint(api: PredictionAPI) -> str:
    return bytes(api.key_digest or b"").hex()[:16]


def grant_key(request: HttpRequest, api: PredictionAPI, *, for_s: int = SHOWN_FOR_S) -> None:
    """Show the key on this browser's pages from now on."""
    now = time.time()
    grants = {pk: grant for pk, grant in request.session.get(SESSION_KEY, {}).items() if grant[1] > now}
    grants[api.pk] = [_fingerprint(api), now + for_s]
    request.session[SESSION_KEY] = grants


def withdraw_key(request: HttpRequest, api: PredictionAPI) -> None:
    """Mask the key again."""
    grants = dict(request.session.get(SESSION_KEY, {}))
    grants.pop(api.pk, None)
    request.session[SESSION_KEY] = grants


def granted_key(request: HttpRequest, api: PredictionAPI) -> str | None:
    """The key, while it may be shown; a rolled or erased key never is by an older grant."""
    grant = request.session.get(SESSION_KEY, {}).get(api.pk)
    if grant is None or api.key_digest is None or grant[0] != _fingerprint(api) or grant[1] <= time.time():
        return None
    try:
        return decrypted_key(api)
    except Refused:
        return None
