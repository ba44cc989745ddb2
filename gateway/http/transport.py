"""One connection's socket: flow control in both directions, and a close that lets the client read its last response."""

from __future__ import annotations

import asyncio


class LingeringTransport:
    """The connection's transport, without anything that HTTP does not need of it."""

    __slots__ = (
        "_socket",
        "_writable",
        "abort",
        "close",
        "is_closing",
        "is_read_paused",
        "is_write_paused",
        "unwritten",
        "write",
    )

    def __init__(self, socket: asyncio.Transport) -> None:
        self._socket = socket
        self.write = socket.write
        self.close = socket.close
        self.abort = socket.abort
        self.is_closing = socket.is_closing
        self.unwritten = socket.get_write_buffer_size
        self.is_read_paused = False
        self.is_write_paused = False
        self._writable: asyncio.Event | None = None  # made when somebody waits for it, which is seldom

    def linger(self) -> None:
        """Say that nothing more will be sent, and go on reading until the client closes.

        Closing while the client sends would make the kernel reset the connection, and the response would be lost.
        """
        self.resume_reading()
        if not self._socket.is_closing():
            self._socket.write_eof()

    def pause_reading(self) -> None:
        if not self.is_read_paused:
            self.is_read_paused = True
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self.is_read_paused:
            self.is_read_paused = False
            self._socket.resume_reading()

    def pause_writing(self) -> None:
        self.is_write_paused = True
        if self._writable is not None:
            self._writable.clear()

    def resume_writing(self) -> None:
        self.is_write_paused = False
        if self._writable is not None:
            self._writable.set()

    async def drained(self) -> None:
        """Wait until the client has read most of what was written. Ends too when the connection is lost."""
        if self.is_write_paused:
            if self._writable is None:
                self._writable = asyncio.Event()
            await self._writable.wait()
