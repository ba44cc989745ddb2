"""The least that uvicorn can do: no routing, no checks, a constant answer of the size that the gateway's has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

BODY = (
    b'{"model_version":"1","predictions":[{"class":"malignant",'
    b'"probabilities":{"malignant":0.9987538,"benign":0.0012462139}}]}'
)
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: Any, receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
