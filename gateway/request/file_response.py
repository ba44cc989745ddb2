"""A large response, sent from disk no faster than its client reads it."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.http.application import Response, Send
from gateway.http.wire import header_pairs
from gateway.models.spool import Spool

_PART_BYTES: Final = 256 * 1024


async def send_file(response: Response, spool: Spool, send: Send) -> None:
    """Returns once the client has read most of the last part. Raises OSError, `ClientLeft` among them."""
    loop = asyncio.get_running_loop()
    status, lines, ending = response
    await send({"type": "http.response.start", "status": status, "headers": header_pairs(lines)})
    sent = 0
    while sent < spool.size:
        part = await loop.run_in_executor(None, spool.read, sent, _PART_BYTES)
        if not part:
            raise OSError("a response's file is shorter than it was")
        sent += len(part)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": ending})
