"""Ten thousand connections that do nothing, against the real gateway: others are served, and memory has a bound."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from contract.settings import PROJECT_DIR
from gateway.http.limits import ConnectionLimits
from testkit.client import calling
from testkit.live_installation import worker_pids
from testkit.seeder import Seeder
from tests.gateway.serving import until
from tests.model_files import cancer
from tests.stack import Stack

CROWD = 10_000


@contextmanager
def idle_crowd(port: int, action: str) -> Iterator[subprocess.Popen[str]]:
    crowd = subprocess.Popen(
        [sys.executable, "-m", "testkit.idle_crowd", str(port), str(CROWD), action],
        cwd=PROJECT_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with crowd:
        yield crowd
        crowd.kill()


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < CROWD + 64, reason="this machine allows fewer open files"
)
@pytest.mark.parametrize("action", ["livez", "nothing"])
async def test_ten_thousand_idle_connections_shut_nobody_out(own_stack: Stack, action: str) -> None:
    own_stack.start("gateway")
    tables = Seeder(own_stack.env["DATABASE_URL"], own_stack.environment.model_store_dir)
    api = tables.api(cancer())
    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2)
    workers = [psutil.Process(pid) for pid in worker_pids(own_stack.gateway)]
    async with calling(own_stack.gateway_url, api, connections=8) as client:
        await until(lambda: client.answered > 2000)

    with idle_crowd(own_stack.environment.gateway_port, action) as crowd:
        assert crowd.stdout
        made = await asyncio.to_thread(crowd.stdout.readline)
        held = [len(worker.net_connections(kind="tcp")) for worker in workers]
        async with calling(own_stack.gateway_url, api, connections=8) as client:
            await until(lambda: client.answered > 500)
        still_open, _ = await asyncio.to_thread(crowd.communicate)

    assert int(made) == CROWD
    assert set(client.answers) == {200}
    assert client.cut == 0
    assert 0 < int(still_open) <= len(workers) * ConnectionLimits.connections
    assert all(number <= ConnectionLimits.connections + 64 for number in held)
    assert [worker.pid for worker in workers] == worker_pids(own_stack.gateway)
