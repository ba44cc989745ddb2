"""A route that changes all the time: one network comes and goes on an API's whitelist."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.benched_gateway import BenchApi, BenchedGateway

INTERVAL_S = 0.1
_NETWORK = "198.51.100.7/32"


@contextmanager
def changing_route(installation: BenchedGateway, api: BenchApi) -> Iterator[list[int]]:
    """The list holds how many changes were committed."""
    is_over = threading.Event()
    changes = [0]

    def change() -> None:
        with installation.connect() as connection:
            began = time.monotonic()
            while not is_over.wait(max(0.0, began + changes[0] * INTERVAL_S - time.monotonic())):
                if changes[0] % 2:
                    connection.execute(
                        "DELETE FROM apimgmt_whitelistentry WHERE api_id = %s AND network = %s", [api.id, _NETWORK]
                    )
                else:
                    connection.execute(
                        "INSERT INTO apimgmt_whitelistentry (api_id, network, note, created_at, created_by)"
                        " VALUES (%s, %s, '', now(), 'bench') ON CONFLICT DO NOTHING",
                        [api.id, _NETWORK],
                    )
                changes[0] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield changes
    finally:
        is_over.set()
        thread.join()
