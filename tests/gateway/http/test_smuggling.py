"""Requests that two servers in a row could take apart differently: refused, or read in the one way that is right.

Each is followed by a second request, which only an honest first one lets through.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.raw_http import Client, Served, head
from tests.gateway.serving import Seeder, loaded, until
from tests.model_files import cancer

pytestmark = pytest.mark.one_worker

POST = b"POST /livez HTTP/1.1\r\nhost: gateway\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
NEXT = b"GET /readyz HTTP/1.1\r\nhost: gateway\r\n\r\n"


async def answers(client: Client) -> list[int]:
    """The statuses of all answers until the server closes. The client has finished sending by then."""
    client.writer.write_eof()
    async with asyncio.timeout(60):
        said = await client.reader.read()
    statuses = []
    while said:
        first, _, rest = said.partition(b"\r\n\r\n")
        lines = first.lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        statuses.append(int(lines[0].split()[1]))
        said = rest[length:]
    return statuses


REFUSED = {
    "a length and chunks": POST + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": POST + b"transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx",
    "the same length twice": POST + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx",
    "a list of lengths": POST + b"content-length: 1, 1\r\n\r\nx",
    "a length with a sign": POST + b"content-length: +1\r\n\r\nx",
    "a length below zero": POST + b"content-length: -1\r\n\r\nx",
    "a length in hexadecimal": POST + b"content-length: 0x1\r\n\r\nx",
    "a length with an underscore": POST + b"content-length: 1_0\r\n\r\nxxxxxxxxxx",
    "a length of two words": POST + b"content-length: 1 0\r\n\r\nxxxxxxxxxx",
    "an empty length": POST + b"content-length: \r\n\r\n",
    "a length behind a vertical tab": POST + b"content-length: \x0b1\r\n\r\nx",
    "a length beyond 64 bits": POST + b"content-length: 18446744073709551616\r\n\r\nx",
    "a space before the length's colon": POST + b"content-length : 1\r\n\r\nx",
    "a space before the encoding's colon": POST + b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "an encoding that is none": POST + b"transfer-encoding: identity\r\n\r\n",
    "an encoding behind chunked": POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an encoding before chunked": POST + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two encodings": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "two encodings, the last is chunked": POST
    + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and chunked": POST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "almost chunked": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in quotes": POST + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked with a semicolon": POST + b"transfer-encoding: chunked;\r\n\r\n0\r\n\r\n",
    "chunked behind a vertical tab": POST + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty encoding": POST + b"transfer-encoding: \r\ncontent-length: 1\r\n\r\nx",
    "a folded header": POST + b"x: a\r\n b\r\ncontent-length: 1\r\n\r\nx",
    "a folded length": POST + b"content-length:\r\n 1\r\n\r\nx",
    "a folded encoding": POST + b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a fold behind the request line": b"POST /livez HTTP/1.1\r\n x: y\r\n\r\n",
    "line feeds alone": b"GET /livez HTTP/1.1\nhost: x\n\n",
    "one line feed alone": b"GET /livez HTTP/1.1\r\nhost: x\nx-api-key: y\r\n\r\n",
    "a line feed that ends the head": b"GET /livez HTTP/1.1\r\nhost: x\r\n\n",
    "a carriage return alone": b"GET /livez HTTP/1.1\r\nhost: x\rx-a: y\r\n\r\n",
    "a carriage return behind the version": b"GET /livez HTTP/1.1\rhost: x\r\n\r\n",
    "an extension with a line feed": CHUNKED + b"1;a\nx\r\n0\r\n\r\n",
    "an extension with an open quote": CHUNKED + b'1;a="\r\nx\r\n0\r\n\r\n',
    "a chunk of line feeds": CHUNKED + b"1\nx\n0\n\n",
    "a chunk that is longer than it says": CHUNKED + b"1\r\nxxx0\r\n\r\n",
    "a chunk's size with 0x": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "a chunk's size with a space": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "a chunk's size behind a space": CHUNKED + b" 1\r\nx\r\n0\r\n\r\n",
    "a chunk's size below zero": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "a chunk without a size": CHUNKED + b"\r\nx\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nx",
    "a length as a trailer": CHUNKED + b"0\r\ncontent-length: 5\r\n\r\n",
    "a request as a trailer": CHUNKED + b"0\r\nGET /livez HTTP/1.1\r\n\r\n",
    "no version": b"GET /livez\r\n\r\n",
    "version 0.9": b"GET /livez HTTP/0.9\r\n\r\n",
    "version 1.2": b"GET /livez HTTP/1.2\r\n\r\n",
    "version 2.0": b"GET /livez HTTP/2.0\r\n\r\n",
    "a version in small letters": b"GET /livez http/1.1\r\n\r\n",
    "a tunnel": b"CONNECT gateway:80 HTTP/1.1\r\n\r\n",
    "a method in small letters": b"get /livez HTTP/1.1\r\n\r\n",
    "a space before the method": b" GET /livez HTTP/1.1\r\n\r\n",
    "tabs in the request line": b"GET\t/livez\tHTTP/1.1\r\n\r\n",
    "a space in the path": b"GET /li vez HTTP/1.1\r\n\r\n",
    "a zero in the path": b"GET /li\x00vez HTTP/1.1\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\n: x\r\n\r\n",
    "a header without a colon": b"GET /livez HTTP/1.1\r\nfoo\r\n\r\n",
    "a control character in a name": b"GET /livez HTTP/1.1\r\nx\x01: a\r\n\r\n",
    "a control character in a value": b"GET /livez HTTP/1.1\r\nx: a\x01b\r\n\r\n",
}

BROKEN_CHUNKS = {name: sent.removeprefix(CHUNKED) for name, sent in REFUSED.items() if sent.startswith(CHUNKED)}
BROKEN_HEADS = {name: sent for name, sent in REFUSED.items() if name not in BROKEN_CHUNKS}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
async def test_what_can_be_read_in_two_ways_is_not_read(served: Served, sent: bytes) -> None:
    async with served.connected() as client:
        client.send(sent, NEXT)

        assert await answers(client) == [400]


@pytest.mark.parametrize("sent", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_nor_is_it_byte_by_byte(served: Served, sent: bytes) -> None:
    async with served.connected() as client:
        await send_bytes(client, sent + NEXT)

        assert await answers(client) == [400]


@pytest.mark.parametrize("broken", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
async def test_nothing_is_believed_behind_a_good_head_that_was_answered(served: Served, broken: bytes) -> None:
    async with served.connected() as client:
        await send_bytes(client, CHUNKED)
        assert (await client.answer()).status == 405
        await send_bytes(client, broken + NEXT)

        assert await answers(client) == []


async def send_bytes(client: Client, sent: bytes) -> None:
    """One by one, so that the server reads them so."""
    for byte in sent:
        client.send(bytes([byte]))
        await asyncio.sleep(0)


READ = {
    "an empty line before a request": (b"\r\n\r\nGET /livez HTTP/1.1\r\n\r\n", [200, 200]),
    "a length behind a tab": (POST + b"content-length:\t1\t\r\n\r\nx", [405, 200]),
    "chunked in capitals": (POST + b"transfer-encoding: ChUnKeD\r\n\r\n0\r\n\r\n", [405, 200]),
    "a chunk's extension": (CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n", [405, 200]),
    "a chunk's size with many zeros": (CHUNKED + b"0" * 50 + b"1\r\nx\r\n0\r\n\r\n", [405, 200]),
    "a body that nobody wants": (b"GET /livez HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", [200, 200]),
    "chunks in HTTP/1.0": (b"POST /livez HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", [405]),
    "the end is announced": (b"GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n", [200]),
    "HTTP/1.0 that wants to stay": (b"GET /livez HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", [200]),
    "an upgrade": (b"GET /livez HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", [200]),
    "an upgrade without its connection header": (b"GET /livez HTTP/1.1\r\nupgrade: h2c\r\n\r\n", [200, 200]),
    "a tunnel to a path": (b"CONNECT /livez HTTP/1.1\r\n\r\n", [405]),
    "another expectation": (b"GET /livez HTTP/1.1\r\nexpect: 200-maybe\r\n\r\n", [200, 200]),
}


@pytest.mark.parametrize(("sent", "statuses"), READ.values(), ids=READ.keys())
async def test_what_is_odd_but_clear_is_read_as_it_is_meant(served: Served, sent: bytes, statuses: list[int]) -> None:
    async with served.connected() as client:
        client.send(sent, NEXT)

        assert await answers(client) == statuses


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("pieces", [1, 4])
async def test_a_body_behind_an_upgrade_that_is_not_made_is_read(
    served: Served, rows: Seeder, framing: str, pieces: int
) -> None:
    """Java's own client asks for HTTP/2 in this way with every first request, whatever it sends."""
    api = rows.api(cancer())
    await loaded(served.worker, api)
    upgrade = ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAA"]
    if framing == "length":
        sent = head(api, *upgrade) + api.body
    else:
        sent = head(api, *upgrade, "transfer-encoding: chunked", length=-1)
        sent += b"%x\r\n%s\r\n0\r\n\r\n" % (len(api.body), api.body)
    size = len(sent) // pieces + 1
    async with served.connected() as client:
        for start in range(0, len(sent), size):
            client.send(sent[start : start + size])
            await asyncio.sleep(0.05)  # so that the server reads it as pieces

        answer = await client.answer()

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        client.send(NEXT)
        assert await client.is_closed()
    await until(lambda: rows.counts(api.id) == (1, 0, 0))


async def test_an_upgrade_behind_the_body_of_another_is_not_read(
    served: Served, rows: Seeder, caplog: pytest.LogCaptureFixture
) -> None:
    api = rows.api(cancer())
    await loaded(served.worker, api)
    request = head(api, "connection: upgrade", "upgrade: h2c") + api.body
    async with served.connected() as client:
        client.send(request, request)

        assert await answers(client) == [200]
    assert caplog.records == []


async def test_a_broken_body_that_waits_for_100_continue_gets_nothing_behind_its_refusal(
    served: Served, rows: Seeder, caplog: pytest.LogCaptureFixture
) -> None:
    api = rows.api(cancer())
    await loaded(served.worker, api)
    async with served.connected() as client:
        client.send(head(api, "expect: 100-continue", "transfer-encoding: chunked", length=-1), b"ZZ\r\n")

        assert await answers(client) == [400]
    assert caplog.records == []


async def test_a_broken_body_behind_an_upgrade_is_400(served: Served, rows: Seeder) -> None:
    api = rows.api(cancer())
    await loaded(served.worker, api)
    async with served.connected() as client:
        client.send(head(api, "connection: upgrade", "upgrade: h2c", "transfer-encoding: chunked", length=-1))
        client.send(b"5\r\nhello\r\nZZ\r\n")

        answer = await client.answer()

        assert (answer.status, answer.code) == (400, "malformed_request")
    await until(lambda: served.worker.ledgers.requests_in_flight == 0)
    assert rows.counts(api.id) == (0, 0, 0)


async def test_a_request_inside_a_body_is_a_body(served: Served, rows: Seeder) -> None:
    api = rows.api(cancer())
    await loaded(served.worker, api)
    hidden = head(api) + api.body
    async with served.connected() as client:
        client.send(head(api, length=len(hidden)), hidden, NEXT)

        first, second = await client.answer(), await client.answer()

        assert (first.status, json.loads(first.body)["code"]) == (400, "malformed_body")
        assert second.status == 200
    await until(lambda: rows.counts(api.id) == (0, 1, 0))
