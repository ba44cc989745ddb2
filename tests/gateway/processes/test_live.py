"""The real master with real workers: killed, frozen, stopped and replaced under load."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from gateway.routing.serving_lease import SLEEP_LIMIT_NS
from testkit.client import Client, calling
from testkit.harmful import looping
from testkit.live_installation import worker_pids
from testkit.networks import network
from tests.environment import unused_port
from tests.gateway.serving import Api, Seeder, until
from tests.model_files import cancer, penguins
from tests.stack import Stack

EXIT_MISCONFIGURED = 78


@pytest.fixture
def metrics_port(own_stack: Stack) -> int:
    """Where the test's own gateway shows its figures."""
    port = unused_port()
    own_stack.env["METRICS_BIND"] = f"127.0.0.1:{port}"
    return port


@pytest.fixture
def live(own_stack: Stack, metrics_port: int) -> Stack:
    """Two workers of the test's own, serving."""
    return own_stack.start("gateway")


@pytest.fixture
def tables(own_stack: Stack) -> Seeder:
    return Seeder(own_stack.env["DATABASE_URL"], own_stack.environment.model_store_dir)


@pytest.fixture
def api(live: Stack, tables: Seeder) -> Api:
    """An operating API that both workers have loaded."""
    made = tables.api(cancer())
    wait(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2)
    return made


def wait(condition, timeout_s: float = 30.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def post(stack: Stack, api: Api, **headers: str) -> httpx.Response:
    return httpx.post(f"{stack.gateway_url}{api.path}", content=api.body, headers=api.headers | headers, timeout=10)


def counted(tables: Seeder, api: Api) -> int:
    return sum(tables.counts(api.id))


def refused_nothing(client: Client) -> bool:
    """Every call was served. (A machine so busy that a worker does not run for 2 s makes that worker catch up.)"""
    return client.answers[200] > 0 and all(b"catching_up" in answer.body for answer in client.refusals)


def figure(port: int, name: str) -> float:
    """The sum over all workers."""
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name + "{"))


def drain(stack: Stack, tables: Seeder) -> None:
    """Tell the gateway to stop, and wait until each worker says that it drains, or is gone already."""
    os.kill(stack.gateway.pid, signal.SIGTERM)
    wait(lambda: all(state == "draining" or reason for state, _, reason in tables.workers().values()))


def no_ledger_is_open(tables: Seeder) -> bool:
    return tables.one("SELECT count(*) FROM apimgmt_ledger WHERE state = 'open'") == 0


# --- answering ---


def test_a_call_over_the_wire(live: Stack, tables: Seeder, api: Api) -> None:
    answer = post(live, api)

    assert answer.status_code == 200
    assert "server" not in answer.headers
    assert answer.headers["date"]
    wait(lambda: tables.counts(api.id) == (1, 0, 0))


def test_a_forged_address_is_believed_nowhere(own_stack: Stack, tables: Seeder) -> None:
    """uvicorn takes this header from any local peer, and from everybody with FORWARDED_ALLOW_IPS; nobody asks that."""
    own_stack.gateway.start(FORWARDED_ALLOW_IPS="*")
    api = tables.api(penguins(), networks=["192.0.2.7/32"])
    wait(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2)

    answer = post(own_stack, api, **{"x-forwarded-for": "192.0.2.7", "forwarded": "for=192.0.2.7"})

    assert answer.status_code == 403
    assert "127.0.0.1" in answer.json()["detail"]


def test_head_has_no_body(live: Stack, api: Api) -> None:
    answer = httpx.head(f"{live.gateway_url}{api.path}", headers=api.headers)

    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


def test_metrics_of_all_workers_on_their_own_address(live: Stack, tables: Seeder, api: Api, metrics_port: int) -> None:
    for _ in range(5):
        post(live, api)

    wait(lambda: counted(tables, api) == 5)
    wait(lambda: figure(metrics_port, "gateway_counts_waiting") == 0)
    page = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics").text

    figures = {line.split("{")[0] for line in page.splitlines() if not line.startswith("#")}
    assert figures == {
        "gateway_requests_total",
        "gateway_request_seconds_bucket",
        "gateway_request_seconds_count",
        "gateway_request_seconds_sum",
        "gateway_applied_revision",
        "gateway_routes",
        "gateway_models_loaded",
        "gateway_model_bytes",
        "gateway_connections",
        "gateway_requests_in_progress",
        "gateway_requests_waiting",
        "gateway_counts_waiting",
        "gateway_bookkeeping_failing",
        "gateway_in_step",
    }
    assert 'gateway_counts_waiting{slot="0"} 0.0' in page
    requests = [line for line in page.splitlines() if line.startswith("gateway_requests_total{")]
    assert sum(float(line.split()[-1]) for line in requests) == 5
    assert all(f'api_id="{api.id}"' in line and 'status="200"' in line for line in requests)
    assert 'gateway_models_loaded{slot="0"} 1.0' in page
    assert f'gateway_applied_revision{{slot="1"}} {float(tables.revision)}' in page
    assert httpx.get(f"{live.gateway_url}/metrics").status_code == 404


async def test_connections_are_spread_over_the_workers(live: Stack, api: Api) -> None:
    async with calling(live.gateway_url, api, connections=40) as client:
        await until(lambda: client.answered > 400)
        held = [
            sum(
                one.status == psutil.CONN_ESTABLISHED
                for one in psutil.Process(pid).net_connections("tcp4")
                if one.laddr and one.laddr.port == live.environment.gateway_port
            )
            for pid in worker_pids(live.gateway)
        ]

    assert min(held) >= 8, held


# --- stopping and replacing ---


async def test_sigterm_drains_and_every_answer_is_counted(live: Stack, tables: Seeder, api: Api) -> None:
    async with calling(live.gateway_url, api) as client:
        await until(lambda: client.answered > 200)
        code = await asyncio.to_thread(live.gateway.stop)  # what is not over by the supervisor's limit is killed

    assert code == 0
    assert refused_nothing(client)
    assert tables.counts(api.id)[0] == client.answers[200]
    assert no_ledger_is_open(tables)
    assert {reason for *_, reason in tables.workers().values()} == {"left"}
    assert list(live.environment.ledger_dir.iterdir()) == []


async def test_a_rolling_restart_loses_no_request(live: Stack, tables: Seeder, api: Api) -> None:
    before = worker_pids(live.gateway)
    async with calling(live.gateway_url, api) as client:
        await until(lambda: client.answered > 100)
        os.kill(live.gateway.pid, signal.SIGHUP)
        await until(lambda: "rolling_restart_ended" in live.gateway.log(), timeout_s=30)
        answered = client.answered
        await until(lambda: client.answered > answered + 100)

    assert not set(before) & set(worker_pids(live.gateway))
    assert refused_nothing(client)
    assert client.cut == 0
    await until(lambda: counted(tables, api) == client.answered)


async def test_a_restart_asked_for_while_one_is_under_way_follows_it(live: Stack) -> None:
    """Some workers may have been replaced before whatever it was asked for."""
    os.kill(live.gateway.pid, signal.SIGHUP)
    await until(lambda: "rolling_restart_started" in live.gateway.log())
    replaced_next = worker_pids(live.gateway)
    for _ in range(2):
        os.kill(live.gateway.pid, signal.SIGHUP)
    await until(lambda: live.gateway.log().count("rolling_restart_ended") == 2, timeout_s=60)

    assert live.gateway.log().count("rolling_restart_started") == 2
    assert not set(replaced_next) & set(worker_pids(live.gateway))


async def test_a_replacement_accepts_when_its_models_are_loaded(live: Stack, tables: Seeder) -> None:
    """The old worker still serves; callers of the new one would wait for each model that is loaded before theirs."""
    n_apis = 20
    for _ in range(n_apis):
        tables.api(cancer())
    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2 * n_apis)
    os.kill(live.gateway.pid, signal.SIGHUP)
    await until(lambda: "rolling_restart_ended" in live.gateway.log(), timeout_s=60)

    lines = live.gateway.log().partition("rolling_restart_started")[2].splitlines()
    accepting = [number for number, line in enumerate(lines) if "worker_serving" in line]
    loaded_before = [
        sum("model_loaded" in line and f"slot={slot}" in line for line in lines[:number])
        for slot, number in enumerate(accepting)
    ]
    assert loaded_before == [n_apis, n_apis]


def test_a_slow_upload_is_answered_while_draining(live: Stack, tables: Seeder, api: Api, metrics_port: int) -> None:
    head = f"POST {api.path} HTTP/1.1\r\nhost: gateway\r\nx-api-key: {api.key}\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", live.environment.gateway_port)) as client:
        client.sendall(f"{head}content-length: {len(api.body)}\r\n\r\n".encode() + api.body[:10])
        wait(lambda: figure(metrics_port, "gateway_requests_in_progress") == 1)
        drain(live, tables)
        client.sendall(api.body[10:])
        answer = client.recv(65_536).lower()

    assert answer.startswith(b"http/1.1 200")
    assert b"connection: close" in answer
    live.gateway.stop()
    assert tables.counts(api.id) == (1, 0, 0)


def test_a_model_in_its_own_process_and_a_large_body_finish_while_draining(
    own_stack: Stack, tables: Seeder, metrics_port: int
) -> None:
    """The processes that compute are frozen until the gateway drains."""
    own_stack.gateway.start(GATEWAY_WORKERS="1")
    slow = tables.api(looping())
    wait(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 1)
    small, large = (b'{"rows": [{"n": 1}' + b" " * padding + b"]}" for padding in (0, 100_000))

    def status(body: bytes) -> int:
        url = own_stack.gateway_url + slow.path
        return httpx.post(url, content=body, headers=slow.headers, timeout=60).status_code

    assert status(large) == 200  # the process for large bodies runs
    [worker] = worker_pids(own_stack.gateway)
    computing = psutil.Process(worker).children()
    assert len(computing) == 2
    bodies = [small] * 4 + [large]
    with ThreadPoolExecutor(len(bodies)) as callers:
        for process in computing:
            process.suspend()
        answers = [callers.submit(status, body) for body in bodies]
        wait(lambda: figure(metrics_port, "gateway_requests_in_progress") == len(bodies))
        wait(lambda: figure(metrics_port, "gateway_requests_waiting") == 3)  # all but one of the model's own
        drain(own_stack, tables)
        for process in computing:
            process.resume()
        statuses = [answer.result() for answer in answers]

    assert own_stack.gateway.stop() == 0
    assert statuses == [200] * len(bodies)
    assert tables.counts(slow.id) == (len(bodies) + 1, 0, 0)
    assert no_ledger_is_open(tables)


def test_the_port_taken_is_one_clear_line(own_stack: Stack) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", own_stack.environment.gateway_port))
        other.listen()
        refused = own_stack.run(sys.executable, "-m", "gateway", check=False)

    assert refused.returncode == EXIT_MISCONFIGURED
    assert f"GATEWAY_PORT {own_stack.environment.gateway_port}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_second_gateway_of_the_same_installation_is_refused(live: Stack) -> None:
    refused = live.run(sys.executable, "-m", "gateway", check=False)

    assert refused.returncode == EXIT_MISCONFIGURED
    assert "is running already" in refused.stderr
    assert live.answers("gateway")


def test_another_time_zone_than_the_installations(own_stack: Stack) -> None:
    refused = own_stack.run(sys.executable, "-m", "gateway", check=False, TIME_ZONE="Asia/Tokyo")

    assert refused.returncode == EXIT_MISCONFIGURED
    assert "counts its days in UTC" in refused.stderr


def test_workers_end_with_a_killed_master_and_the_next_start_recovers(live: Stack, tables: Seeder, api: Api) -> None:
    pids = worker_pids(live.gateway)
    for _ in range(10):
        post(live, api)

    live.gateway.kill()
    wait(lambda: not any(psutil.pid_exists(pid) for pid in pids), timeout_s=30)
    live.gateway.start()

    wait(lambda: tables.counts(api.id) == (10, 0, 0))
    gone = [reason for _, _, reason in tables.workers().values() if reason]
    assert len(gone) == 2


# --- killed and frozen ---


async def test_killed_workers_lose_no_count_and_are_replaced(live: Stack, tables: Seeder, api: Api) -> None:
    connections, kills = 8, 4
    async with calling(live.gateway_url, api, connections=connections) as client:
        for number in range(kills):
            answered = client.answered
            await until(lambda: client.answered > answered + 50)  # noqa: B023
            victim = worker_pids(live.gateway)[number % 2]
            os.kill(victim, signal.SIGKILL)
            await until(lambda: live.gateway.log().count("worker_serving") == 3 + number)  # noqa: B023

    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_gatewayworker WHERE gone_at IS NULL") == 2)
    await asyncio.to_thread(live.gateway.stop)
    total = counted(tables, api)
    assert refused_nothing(client)
    assert client.answered <= total <= client.answered + client.cut
    assert client.cut <= kills * connections
    reasons = sorted(reason for *_, reason in tables.workers().values())
    assert reasons == ["adopted"] * kills + ["left"] * 2


@pytest.mark.parametrize("has_tile", [False, True], ids=["in the worker", "in its own process"])
async def test_workers_killed_while_they_answer_several_at_once_lose_no_count(
    live: Stack, tables: Seeder, has_tile: bool
) -> None:
    """`has_tile`: the model runs in processes of its own, which are killed too."""
    api = tables.api(network(512, 512, has_tile=has_tile))
    loads = (
        "SELECT count(*) FROM apimgmt_modelload l JOIN apimgmt_gatewayworker w ON w.id = l.worker_id"
        " WHERE l.is_loaded AND w.gone_at IS NULL AND w.state = 'serving'"
    )
    await until(lambda: tables.one(loads) == 2)
    connections, kills = 24, 3
    async with calling(live.gateway_url, api, connections=connections) as client:
        for number in range(kills):
            answered = client.answered
            await until(lambda: client.answered > answered + 200)  # noqa: B023
            for process in psutil.Process(worker_pids(live.gateway)[0]).children():
                process.kill()
            answered = client.answered
            await until(lambda: client.answered > answered + 200)  # noqa: B023
            os.kill(worker_pids(live.gateway)[number % 2], signal.SIGKILL)
            await until(lambda: live.gateway.log().count("worker_serving") == 3 + number)  # noqa: B023
            await until(lambda: tables.one("SELECT count(*) FROM apimgmt_gatewayworker WHERE gone_at IS NULL") == 2)
            await until(lambda: tables.one(loads) == 2)  # one that is killed while it loads has failed to load

    await asyncio.to_thread(live.gateway.stop)
    assert len(client.refusals) <= kills  # a request that was alone in a process which was killed
    assert all(b"model_failed" in answer.body for answer in client.refusals)
    assert client.answered <= counted(tables, api) <= client.answered + client.cut
    assert client.cut <= kills * connections


async def test_trial_under_kills_never_exceeds_its_quota(live: Stack, tables: Seeder) -> None:
    trial = tables.api(cancer(), trial_of=100)
    await until(lambda: tables.one("SELECT count(*) FROM apimgmt_modelload WHERE is_loaded") == 2)
    async with calling(live.gateway_url, trial, connections=16) as client:
        await until(lambda: client.answered > 20)
        os.kill(worker_pids(live.gateway)[0], signal.SIGKILL)
        await until(lambda: any(b"has used all" in answer.body for answer in client.refusals), timeout_s=30)

    assert 100 - client.cut <= client.answers[200] <= 100
    assert tables.used(trial.id) == 100


async def test_a_frozen_worker_confirms_nothing_and_wakes_up_catching_up(
    live: Stack, tables: Seeder, api: Api, metrics_port: int
) -> None:
    frozen = worker_pids(live.gateway)[0]
    port = live.environment.gateway_port
    head = f"POST {api.path} HTTP/1.1\r\nhost: g\r\nx-api-key: {api.key}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(api.body)}\r\n\r\n".encode() + api.body
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(16)]
    for _, writer in clients:
        writer.write(request[:-5])
    await until(lambda: figure(metrics_port, "gateway_requests_in_progress") == len(clients))

    os.kill(frozen, signal.SIGSTOP)
    try:
        await asyncio.sleep(SLEEP_LIMIT_NS / 1e9 + 0.2)  # so long that it must notice when it wakes up
        revision = api.set(target="stopped")
        await until(lambda: any(worker[1] >= revision for worker in tables.workers().values()))
        applied = sorted(worker[1] >= revision for worker in tables.workers().values())
        for _, writer in clients:
            writer.write(request[-5:])
    finally:
        os.kill(frozen, signal.SIGCONT)
    answers = [(await reader.readuntil(b"}")).decode() for reader, _ in clients]
    for _, writer in clients:
        writer.close()

    assert applied == [False, True]
    assert not [answer for answer in answers if " 200 " in answer.splitlines()[0]]
    codes = {code for answer in answers for code in ("catching_up", "api_stopped") if f'"code":"{code}"' in answer}
    assert codes == {"catching_up", "api_stopped"}
    await until(lambda: all(worker[1] >= revision for worker in tables.workers().values()))


async def test_official_apis_are_served_and_counted_while_the_database_is_away(
    live: Stack, tables: Seeder, api: Api, metrics_port: int
) -> None:
    async with calling(live.gateway_url, api) as client:
        await until(lambda: client.answered > 50)
        with live.database_away():
            await until(lambda: figure(metrics_port, "gateway_bookkeeping_failing") >= 2)  # each worker has noticed
            during = client.answered
            await until(lambda: client.answered > during + 50)
        await until(lambda: figure(metrics_port, "gateway_bookkeeping_failing") == 0)

    assert refused_nothing(client)
    assert client.cut == 0
    await until(lambda: counted(tables, api) == client.answered)


def test_no_part_of_the_gateway_loads_django() -> None:
    program = (
        "import gateway, importlib, pkgutil, sys\n"
        "for module in pkgutil.walk_packages(gateway.__path__, 'gateway.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'django', 'apimgmt', 'console', 'celery'}))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"
