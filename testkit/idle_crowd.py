"""Many connections that did one thing and then nothing: `python -m testkit.idle_crowd PORT NUMBER livez|nothing`.

A process of its own, because it needs more descriptors than a test run or a bench may have. Says how many of its
connections were made, then keeps them until its standard input ends, and says how many of them are still open.
"""

from __future__ import annotations

import resource
import socket
import sys

REQUEST = b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n"


def main(port: int, number: int, action: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number + 64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    crowd = []
    for _ in range(number):
        one = socket.create_connection(("127.0.0.1", port), timeout=30)
        if action == "livez":
            one.sendall(REQUEST)
            if not one.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("a connection was not answered")
        crowd.append(one)
    say(len(crowd))
    sys.stdin.read()
    say(sum(is_open(one) for one in crowd))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def is_open(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
