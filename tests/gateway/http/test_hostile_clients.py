"""Clients that send too much, too slowly, or something else than HTTP: each has its answer, and others go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from contract.problems import PROBLEM_TYPES
from contract.settings import read_settings
from gateway.http.connections import TICK_S
from gateway.http.parser import RequestParser
from gateway.http.protocol import GatewayProtocol
from gateway.http.request_cycle import RequestCycle
from gateway.models.spool import Spool
from gateway.processes.worker import Worker
from tests.gateway.raw_http import QUICK, Client, Served, head, serving
from tests.gateway.serving import Api, Seeder, ended, loaded, running_worker, until
from tests.model_files import cancer, matrix_spec, passing_on

pytestmark = pytest.mark.one_worker

# --- what is no HTTP ---


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"NONSENSE /livez HTTP/1.1\r\n\r\n",
        b"POST /apis/x/predict HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        b"POST /apis/x/predict HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /apis/x/predict HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /apis/x/predict HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nbad header: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"GET /p\xc3\xa4th HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_with_a_request_id(served: Served, sent: bytes) -> None:
    async with served.connected() as client:
        client.send(sent)

        answer = await client.answer()

        assert (answer.status, answer.code) == (400, "malformed_request")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["connection"] == "close"
        assert json.loads(answer.body)["request_id"] == answer.headers["x-request-id"]
        assert await client.is_closed()


async def test_malformed_behind_a_request_does_not_overtake_its_answer(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api), api.body, b"\x00\x01nonsense\r\n\r\n")

        assert (await client.answer()).status == 200
        assert await client.is_closed()


async def test_a_broken_chunk_is_400_and_not_counted(served: Served, rows: Seeder, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "transfer-encoding: chunked", length=-1), b"5\r\nhello\r\nZZ\r\n")

        assert (await client.answer()).code == "malformed_request"
    await until(lambda: served.worker.ledgers.requests_in_flight == 0)
    assert rows.counts(api.id) == (0, 0, 0)


async def test_what_is_malformed_in_its_first_read_is_asked_of_nobody(served: Served, rows: Seeder, api: Api) -> None:
    """With a wrong key too: the client got the 400, so there is no 401 to count."""
    for key in (api.key, "wrong"):
        async with served.connected() as client:
            chunked = head(api, "transfer-encoding: chunked", length=-1).replace(api.key.encode(), key.encode())
            client.send(chunked, b"5\r\nhello\r\nZZ\r\n")

            assert (await client.answer()).code == "malformed_request"
            assert await client.is_closed()
    state = served.worker.table.get(api.id)
    assert state is not None
    assert state.state.answers == {}


async def test_a_connection_that_can_not_be_watched_stops_the_clock_for_nobody(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, check_timeouts = [], GatewayProtocol.check_timeouts

    def fail_once(connection: GatewayProtocol, now: float) -> None:
        if not checked:
            checked.append(connection)
            raise ArithmeticError("a fault of ours")
        check_timeouts(connection, now)

    monkeypatch.setattr(GatewayProtocol, "check_timeouts", fail_once)
    with structlog.testing.capture_logs() as logs:
        async with serving(worker, QUICK) as served, served.connected() as client, served.connected() as other:
            assert await client.is_closed()
            assert await other.is_closed()  # it sends nothing, which the clock must see

    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["connection_not_watched"]


# --- heads ---


@pytest.mark.parametrize("pieces", [1, 8])
async def test_a_megabyte_of_headers_is_431(served: Served, pieces: int) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\nx-long: ")
        for _ in range(pieces):
            client.send(b"a" * (1_000_000 // pieces))
            await asyncio.sleep(0)

        answer = await client.answer()

        assert (answer.status, answer.code) == (431, "headers_too_large")


async def test_many_small_headers_that_are_complete_are_431_too(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n", b"".join(b"x-%d: y\r\n" % n for n in range(4000)), b"\r\n")

        assert (await client.answer()).code == "headers_too_large"


async def test_thirty_kilobytes_of_headers_are_fine(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\nx-long: ", b"a" * 30_000, b"\r\n\r\n")

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("ending", [b"\r\n", b""], ids=["complete", "not complete"])
async def test_more_than_128_headers_are_431(served: Served, ending: bytes) -> None:
    """Four bytes of header are a hundred bytes of objects."""
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n", b"a:\r\n" * 200, ending)

        answer = await client.answer()

        assert (answer.status, answer.code) == (431, "headers_too_large")
        assert await client.is_closed()


async def test_128_headers_are_fine(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n", b"a:\r\n" * 128, b"\r\n")

        assert (await client.answer()).status == 200


@pytest.mark.parametrize(("size", "status"), [(4000, 404), (4100, 431), (40_000, 431)])
@pytest.mark.parametrize("before", [b"", b"GET /livez HTTP/1.1\r\n\r\n"], ids=["first", "pipelined"])
async def test_a_long_path_is_431(served: Served, size: int, status: int, before: bytes) -> None:
    """Taking the percent signs out of thirty kilobytes would take milliseconds."""
    async with served.connected() as client:
        client.send(before, b"GET /", b"%ff" * (size // 3), b" HTTP/1.1\r\n\r\n")

        if before:
            assert (await client.answer()).status == 200
        if before and status == 431:
            assert await client.is_closed()  # what is malformed behind an answer gets none
        else:
            assert (await client.answer()).status == status


async def test_the_body_is_no_part_of_the_head(served: Served, api: Api) -> None:
    body = api.body + b" " * 40_000
    async with served.connected() as client:
        client.send(head(api, length=len(body)), body, head(api, length=len(body)), body)

        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


async def test_headers_that_never_end_are_408(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\nx: ")
        answering = asyncio.create_task(client.answer())
        while not answering.done():
            client.send(b"y")
            await asyncio.wait({answering}, timeout=0.1)

        answer = await answering

        assert (answer.status, answer.code) == (408, "request_timeout")
        assert await client.is_closed()


async def test_a_connection_that_sends_nothing_is_closed(served: Served) -> None:
    async with served.connected() as client:
        assert await client.is_closed()


async def test_an_idle_keep_alive_connection_is_closed(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n\r\n")

        assert (await client.answer()).status == 200
        assert await client.is_closed()


# --- bodies ---


async def test_a_body_that_stops_is_408_and_not_counted(served: Served, rows: Seeder, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api), api.body[:20])

        answer = await client.answer()

        assert (answer.status, answer.code) == (408, "request_timeout")
    await until(lambda: served.worker.ledgers.requests_in_flight == 0)
    await served.worker.ledgers.write_out(served.worker.database)
    assert rows.counts(api.id) == (0, 0, 0)


@pytest.mark.own_worker
async def test_a_body_without_end_is_413(served: Served, api: Api) -> None:
    served.worker.limits.max_body_bytes = 100_000
    async with served.connected() as client:
        client.send(head(api, "transfer-encoding: chunked", length=-1))
        sending = asyncio.create_task(send_without_end(client))

        answer = await client.answer()
        await ended([sending])

        assert (answer.status, answer.code) == (413, "payload_too_large")


async def send_without_end(client: Client) -> None:
    while True:
        client.send(b"2000\r\n", b" " * 0x2000, b"\r\n")
        await client.writer.drain()


async def test_trailers_without_end_are_400(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "transfer-encoding: chunked", length=-1), b"1\r\n \r\n0\r\nx-trailer: ")
        client.send(b"a" * 500_000)

        assert (await client.answer()).code == "malformed_request"


async def test_trailers_are_seen_by_nobody(served: Served, api: Api) -> None:
    body = b"%x\r\n%s\r\n0\r\nx-api-key: other\r\n\r\n" % (len(api.body), api.body)
    async with served.connected() as client:
        client.send(head(api, "transfer-encoding: chunked", length=-1), body)

        assert (await client.answer()).status == 200


@pytest.mark.parametrize("length", [200_000, 1_500_000])
async def test_an_upload_that_is_refused_early_reads_its_refusal(served: Served, api: Api, length: int) -> None:
    """And the connection is free again once the rest was dropped."""
    async with served.connected() as client:
        client.send(head(api, length=length).replace(b"pak_", b"pax_"))
        for _ in range(length // 50_000):
            client.send(b"x" * 50_000)
            await client.writer.drain()
            await asyncio.sleep(0)

        assert (await client.answer()).code == "invalid_key"
        client.send(head(api), api.body)
        assert (await client.answer()).status == 200


async def test_a_refused_upload_is_dropped_for_a_while_only(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, length=10_000_000).replace(b"pak_", b"pax_"), b"x" * 1000)

        assert (await client.answer()).code == "invalid_key"
        assert await client.is_closed()


async def test_refused_with_connection_close_while_sending(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "connection: close", length=1_000_000).replace(b"pak_", b"pax_"))
        for _ in range(10):
            client.send(b"x" * 100_000)
            await client.writer.drain()
            await asyncio.sleep(0.01)

        assert (await client.answer()).code == "invalid_key"
        assert await client.is_closed()


async def test_expect_100_continue(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "expect: 100-continue"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(api.body)

        assert (await client.answer()).status == 200


async def test_expect_100_continue_is_refused_without_the_body(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "expect: 100-continue").replace(b"pak_", b"pax_"))

        answer = await client.answer()

        assert (answer.code, answer.headers["connection"]) == ("invalid_key", "close")
        assert await client.is_closed()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100 + b"]" * 100, "invalid_rows"),
        (b'{"rows": ' + b"[" * 100 + b"]" * 100 + b"}", "invalid_rows"),
        (b"[" * 60_000, "malformed_body"),
        (b'{"rows": [{"mean_radius": \xff\xfe}]}', "malformed_body"),
        (b'{"rows": [{"mean_radius": "\xff"}]}', "malformed_body"),
        (b'{"rows": [{"mean_radius": 1e999}]}', "invalid_rows"),
    ],
)
async def test_json_that_holds_no_rows(served: Served, api: Api, body: bytes, code: str) -> None:
    async with served.connected() as client:
        client.send(head(api, length=len(body)), body)

        answer = await client.answer()

        assert (answer.status, answer.code) == (PROBLEM_TYPES[code].status, code)


async def test_the_last_of_a_duplicate_key_counts(served: Served, api: Api) -> None:
    body = api.body.replace(b'{"mean_radius":', b'{"mean_radius": "text", "mean_radius":')
    async with served.connected() as client:
        client.send(head(api, length=len(body)), body)

        assert (await client.answer()).status == 200


# --- ways to speak HTTP ---


async def test_http_1_0_is_answered_and_closed(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, version="1.0"), api.body)

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.is_closed()


async def test_http_1_0_gets_no_100_continue(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, "expect: 100-continue", version="1.0"))
        await until(lambda: served.worker.ledgers.requests_in_flight == 1)
        client.send(api.body)

        assert (await client.answer()).status == 200


async def test_a_client_that_has_finished_sending_reads_its_answer(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api), api.body)
        client.writer.write_eof()

        assert (await client.answer()).status == 200
        assert await client.is_closed()


async def test_absolute_form(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(head(api, path=f"http://elsewhere.example{api.path}"), api.body)

        assert (await client.answer()).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("//apis/x/predict", 404),
        ("/apis/../livez", 404),
        ("/apis/", 404),
        ("/apis", 404),
        ("/%00", 404),
        ("/apis/%ff%fe/predict", 404),
        ("/livez?a=b", 200),
        ("/livez/", 404),
        ("/l%69vez", 200),
        ("*", 404),
        ("livez", 400),
    ],
)
async def test_odd_paths(served: Served, path: str, status: int) -> None:
    async with served.connected() as client:
        client.send(b"GET ", path.encode(), b" HTTP/1.1\r\n\r\n")

        answer = await client.answer()

        assert answer.status == status
        assert answer.headers["x-request-id"]


async def test_an_upgrade_is_not_made_and_the_request_answered(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00")

        assert (await client.answer()).status == 200
        assert await client.is_closed()


async def test_pipelined_requests_are_answered_in_order(served: Served, api: Api) -> None:
    async with served.connected() as client:
        client.send(*[head(api) + api.body, b"GET /livez HTTP/1.1\r\n\r\n"] * 4)

        answers = [await client.answer() for _ in range(8)]

        assert [bool(answer.headers["content-type"] == "application/json") for answer in answers] == [True, False] * 4
        assert {answer.status for answer in answers} == {200}


async def test_a_pipeline_that_is_too_long_is_cut_off_behind_an_answer(served: Served) -> None:
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n\r\n" * 5000)

        answered = 0
        async with asyncio.timeout(60):
            while await client.reader.readline():
                answered += 1

        lines_an_answer = 8
        assert 0 < answered / lines_an_answer < 2 * QUICK.pipelined + 2


# --- many of them ---


async def test_idle_connections_make_room_for_new_ones(served: Served, api: Api) -> None:
    crowd = [await served.client() for _ in range(QUICK.connections * 3)]

    async with served.connected() as client:
        client.send(head(api), api.body)
        assert (await client.answer()).status == 200

    assert len(served.server.manager.connections) <= QUICK.connections + 1
    for one in crowd:
        one.writer.close()


async def test_clients_that_do_not_get_to_the_point_make_room_first(worker: Worker, api: Api) -> None:
    """Slow headers on every connection shut nobody out; who is idle between requests stays."""
    bounds = replace(QUICK, head_s=30.0, keep_alive_s=30.0, connections=32, prompt_s=0.1)
    async with serving(worker, bounds) as served, served.connected() as idle:
        idle.send(head(api), api.body)
        assert (await idle.answer()).status == 200
        crowd = [await served.client() for _ in range(bounds.connections - 1)]
        for one in crowd:
            one.send(b"GET /livez HTTP/1.1\r\nx: ")
        await asyncio.sleep(bounds.prompt_s + 2 * TICK_S)  # so long that nobody takes them for honest any more

        for _ in range(3):
            async with served.connected() as client:
                client.send(head(api), api.body)
                assert (await client.answer()).status == 200

        idle.send(head(api), api.body)
        assert (await idle.answer()).status == 200
        for one in crowd:
            one.writer.close()


async def test_an_idle_connection_holds_nothing_of_its_last_request(served: Served) -> None:
    body = b"x" * 200_000
    async with served.connected() as client:
        client.send(
            b"POST /livez HTTP/1.1\r\ncontent-length: %d\r\nx-long: %s\r\n\r\n" % (len(body), b"y" * 9000), body
        )
        assert (await client.answer()).status == 405
        (connection,) = served.server.manager.connections

        await until(lambda: held_bytes(connection) < 4000)


def held_bytes(connection: object) -> int:
    """Of bytes that are reached from it, the collector's way; nothing of the application or of other connections is."""
    seen: set[int] = set()
    found, left = 0, [connection]
    while left:
        one = left.pop()
        if id(one) in seen or not isinstance(one, HOLDERS):
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray):
            found += len(one)
        else:
            left += gc.get_referents(one)
    return found


HOLDERS = (GatewayProtocol, RequestParser, RequestCycle, bytes, bytearray, dict, list, tuple)


async def test_a_closed_connection_leaves_nothing_for_the_garbage_collector(served: Served) -> None:
    """What was closed under a flood would wait in memory for the collector, which comes seldom."""
    async with served.connected() as client:
        client.send(b"GET /livez HTTP/1.1\r\n\r\n")
        assert (await client.answer()).status == 200
        gone = weakref.ref(next(iter(served.server.manager.connections)))
        gc.disable()
        try:
            client.writer.close()
            await until(lambda: gone() is None)
        finally:
            gc.enable()


async def test_when_all_connections_are_in_use_a_further_one_is_503(served: Served, api: Api) -> None:
    crowd = [await served.client() for _ in range(QUICK.connections)]
    for one in crowd:
        one.send(head(api), api.body[:10])
    await until(lambda: served.worker.ledgers.requests_in_flight == QUICK.connections)

    async with served.connected() as client:
        answer = await client.answer()

        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert answer.headers["retry-after"] == "1"
    for one in crowd:
        one.send(api.body[10:])
    assert {(await one.answer()).status for one in crowd} == {200}
    for one in crowd:
        one.writer.close()


@pytest.mark.own_worker
async def test_many_wrong_keys_cost_the_database_nothing(served: Served, rows: Seeder, api: Api) -> None:
    """They are refused as usual while nobody can reach it."""
    worker, other_keys = served.worker, [f"pak_{n:043d}".encode() for n in range(300)]
    worker.database._find_url = lambda: "postgresql://127.0.0.1:1/nothing"
    rows.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await until(lambda: worker.follower._obstacle)
    async with served.connected() as client:
        for key in other_keys:
            client.send(head(api).replace(api.key.encode(), key), api.body)
            assert (await client.answer()).code == "invalid_key"

    worker.database._find_url = lambda: rows.url
    await until(lambda: rows.counts(api.id) == (0, 300, 0))


@pytest.mark.parametrize("forged", ["192.0.2.7", "127.0.0.1", "10.0.0.1, 192.0.2.7", "192.0.2.7, nonsense", ""])
async def test_a_forged_address_is_believed_from_no_stranger(served: Served, rows: Seeder, forged: str) -> None:
    api = rows.api(cancer(), networks=["192.0.2.7/32"])
    await loaded(served.worker, api)
    async with served.connected() as client:
        lines = [f"x-forwarded-for: {forged}", "forwarded: for=192.0.2.7", "x-real-ip: 192.0.2.7"]
        client.send(head(api, *lines), api.body)

        answer = await client.answer()

        assert (answer.status, answer.code) == (403, "ip_not_allowed")
        assert "127.0.0.1" in json.loads(answer.body)["detail"]


ALLOWED = "192.0.2.7"


@pytest.fixture(scope="module")
async def behind_proxy(module_rows: Seeder, module_var_dir: Path) -> AsyncIterator[Worker]:
    """A further worker, whose proxy is on this machine."""
    variables = {"DATABASE_URL": module_rows.url, "VAR_DIR": str(module_var_dir), "TRUSTED_PROXIES": "127.0.0.1"}
    async with running_worker(read_settings(variables), slot=1) as running:
        yield running


@pytest.mark.parametrize(
    ("lines", "status", "named"),
    [
        ([ALLOWED], 200, ""),
        ([f"203.0.113.9, {ALLOWED}"], 200, ""),
        ([f"{ALLOWED}, 127.0.0.1"], 200, ""),
        ([f"[::ffff:{ALLOWED}]:4711"], 200, ""),
        ([f"{ALLOWED}:80"], 200, ""),
        ([f"{ALLOWED}, 203.0.113.9"], 403, "203.0.113.9"),
        ([ALLOWED, "203.0.113.9"], 403, "203.0.113.9"),
        ([f"203.0.113.9, 127.0.0.1, {ALLOWED}, 203.0.113.8"], 403, "203.0.113.8"),
        ([f"{ALLOWED}, nonsense"], 403, "nonsense"),
        ([f"{ALLOWED}, "], 403, ""),
        ([f"{ALLOWED}, unknown, 127.0.0.1"], 403, "unknown"),
        (["127.0.0.1"], 403, "127.0.0.1"),
        ([""], 403, ""),
        ([], 403, "127.0.0.1"),
        (["127.0.0.1, " * 2500 + ALLOWED], 200, ""),
        ([ALLOWED + ", 127.0.0.1" * 2500], 403, "more than 32 proxies"),
    ],
)
async def test_a_trusted_proxy_is_believed_as_far_as_it_saw(
    module_rows: Seeder, behind_proxy: Worker, lines: list[str], status: int, named: str
) -> None:
    """The client may have written whatever stands left of what the proxy added."""
    api = module_rows.api(cancer(), networks=[f"{ALLOWED}/32"])
    async with serving(behind_proxy, QUICK) as served, served.connected() as client:
        await loaded(behind_proxy, api)
        forged = [f"forwarded: for={ALLOWED}", f"x-real-ip: {ALLOWED}", f"x-forwarded: {ALLOWED}"]
        client.send(head(api, *(f"x-forwarded-for: {line}" for line in lines), *forged), api.body)

        answer = await client.answer()

    assert answer.status == status
    assert status == 200 or named in json.loads(answer.body)["detail"]


async def test_a_client_that_does_not_read_is_let_go(worker: Worker, api: Api) -> None:
    async with serving(worker, replace(QUICK, read_grace_s=1.0)) as served, served.connected() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.create_task(ask_without_reading(client, head(api).replace(b"pak_", b"pax_") + api.body))
        async with asyncio.timeout(20):
            await asyncio.wait({sending})

        assert isinstance(sending.exception(), ConnectionError)


async def ask_without_reading(client: Client, request: bytes) -> None:
    while True:
        client.send(request * 8)
        await client.writer.drain()
        await asyncio.sleep(0.001)


# --- large answers ---


@pytest.fixture
async def echo(rows: Seeder, worker: Worker) -> Api:
    """A model whose answers are much longer than its rows."""
    made = rows.api((matrix_spec(1, task="regression"), passing_on()))
    await loaded(worker, made)
    return made


def many_rows(api: Api) -> bytes:
    body = b"a\n" + b"1e9\n" * 600_000
    return head(api, length=len(body)).replace(b"application/json", b"text/csv") + body


async def test_a_large_answer_has_its_place_until_it_was_read(worker: Worker, echo: Api) -> None:
    """So the next large bodies of an API wait for its own slow readers, and the disk holds no more than its places."""
    batch = worker.runner.batch
    async with serving(worker, replace(QUICK, read_grace_s=60.0)) as served:
        async with served.connected() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(many_rows(echo))
            await until(lambda: worker.table.get(echo.id).state.answers.get(200))  # type: ignore[union-attr]

            await asyncio.sleep(0.3)  # in which an answer that is read would be gone
            assert batch._bodies == {echo.id: 1}
        await until(lambda: not batch._bodies)  # nothing is sent to a client that has left


async def test_a_large_answer_is_read_to_its_end(served: Served, echo: Api) -> None:
    async with served.connected() as client:
        client.send(many_rows(echo))

        answer = await client.answer()

        assert answer.status == 200
        assert len(answer.body) > 7_000_000
        client.send(head(echo), echo.body)
        assert (await client.answer()).status == 200
    assert not served.worker.runner.batch._bodies


async def test_a_client_that_reads_a_little_now_and_then_is_let_go(worker: Worker, echo: Api) -> None:
    bounds = replace(QUICK, read_grace_s=1.0, read_bytes_per_s=100_000_000)
    async with serving(worker, bounds) as served:
        port, received = served.port, 0
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            plain.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(plain, ("127.0.0.1", port))
            await loop.sock_sendall(plain, many_rows(echo))
            with contextlib.suppress(ConnectionResetError):
                while part := await loop.sock_recv(plain, 10_000):
                    received += len(part)
                    if worker.runner.batch._bodies:  # afterwards it only gets what the kernel has kept
                        await asyncio.sleep(0.05)

    assert 0 < received < 7_000_000
    await until(lambda: not worker.runner.batch._bodies)


async def test_a_body_that_is_called_off_is_closed_when_it_is_written(tmp_path: Path) -> None:
    """The number of a closed descriptor may be another file's at once."""
    spool = Spool(tmp_path)
    with spool._writing:  # as while a thread waits for the disk
        spool.close()
        assert os.fstat(spool.fd).st_size == 0
    spool.close()

    assert spool.fd == -1
