"""Runs an ASGI application the way the gateway's workers run: one process a slot, each with its own listening socket.

`python launch.py MODULE:NAME PORT PROCESSES`, with any environment that has uvicorn, uvloop and httptools. Bare in
that it adds nothing: the references are to be as quick as uvicorn makes them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import uvicorn

_BACKLOG = 2048


def serve(application: str, listener: socket.socket) -> None:
    """One process's life. The same settings as the gateway's, see gateway/http/server.py."""
    config = uvicorn.Config(
        application,
        interface="asgi3",
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=65,
    )
    uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    application, port, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    children = []
    for _ in range(processes):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        child = os.fork()
        if child == 0:
            serve(application, listener)
            os._exit(0)
        children.append(child)
        listener.close()

    def stop(number: int, frame: object) -> None:
        for child in children:
            os.kill(child, number)

    signal.signal(signal.SIGTERM, stop)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
