"""The body of a request that has to wait for it: in memory while it is small, else on disk."""

from __future__ import annotations

import asyncio
from typing import Final

from contract.problems import Problem
from gateway.http.application import Message, Receive
from gateway.models.batch import BatchPool
from gateway.models.spool import Spool
from gateway.request.api_request import ApiRequest
from gateway.request.checks import Checks
from inference import formats

INLINE_BODY_BYTES: Final = 64 * 1024  # bigger ones would hold up the event loop, and with it all other APIs


class ClientGone(Exception):
    """The client left before its body was complete: there is nobody to answer and nothing to count."""


class BodyReader:
    """Reads bodies whole. Raises `Problem` and `ClientGone`."""

    def __init__(self, checks: Checks, batch: BatchPool) -> None:
        self._checks = checks
        self._batch = batch

    async def read(self, request: ApiRequest, receive: Receive) -> bytes | Spool:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body") and len(body) <= INLINE_BODY_BYTES:
            self._checks.check_size(len(body))
            return body
        parts = bytearray(body)
        while message["type"] == "http.request" and message.get("more_body") and len(parts) <= INLINE_BODY_BYTES:
            message = await receive()
            parts += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._checks.check_size(len(parts))
        if len(parts) <= INLINE_BODY_BYTES:
            return bytes(parts)
        return await self._spooled(request, parts, message, receive)

    async def inflated(self, request: ApiRequest, body: bytes, receive: Receive) -> bytes | Spool:
        """A small body that was compressed; one that is large inflated is left as it is, and goes where those go."""
        try:
            plain = formats.inflated(body, request.headers[b"content-encoding"], INLINE_BODY_BYTES)
        except Problem as problem:
            if problem.kind.code != "payload_too_large":
                raise
            return await self._spooled(request, body, {}, receive)
        del request.headers[b"content-encoding"]
        return plain

    async def _spooled(
        self, request: ApiRequest, beginning: bytes | bytearray, message: Message, receive: Receive
    ) -> Spool:
        """Written by a thread, because a busy disk makes the writer wait."""
        loop = asyncio.get_running_loop()
        spool = request.spool = self._batch.take_body(request.route.api_id)
        part: bytes | bytearray = beginning
        while True:
            self._checks.check_size(spool.size + len(part))
            try:
                await loop.run_in_executor(None, spool.append, part)
            except OSError:
                raise Problem("not_ready", "This gateway has no room on its disk for a large body.") from None
            if not message.get("more_body"):
                return spool
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
