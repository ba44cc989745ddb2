"""The child's end of the pair of sockets."""

from __future__ import annotations

import os
import socket

from inference.sandbox.protocol import LENGTH, MAX_FILES, PART_BYTES, Response, encode, message_length


class Channel:
    """Blocking. `files`: the open files that came with the last request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.files: list[int] = []

    def receive(self) -> bytes:
        """One payload; empty when the parent is gone."""
        head, files, _, _ = socket.recv_fds(self._connection, LENGTH.size, MAX_FILES)
        self.files += files
        if not head:
            return b""
        head += self._exactly(LENGTH.size - len(head))
        return self._exactly(message_length(head))

    def _exactly(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._connection.recv(min(size - len(received), PART_BYTES))
            if not part:
                raise SystemExit(0)
            received += part
        return bytes(received)

    def send(self, response: Response) -> None:
        payload = encode(response)
        self._connection.sendall(LENGTH.pack(len(payload)) + payload)

    def close_files(self) -> None:
        while self.files:
            os.close(self.files.pop())
