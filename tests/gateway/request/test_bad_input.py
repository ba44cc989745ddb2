"""Bad input in every format: refused with its status, in the format's own shape, counted once, never charged."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.processes.worker import Worker
from tests.gateway.serving import Api, Caller, Seeder, loaded, until
from tests.model_files import penguins

pytestmark = pytest.mark.one_worker

V2, V1, EXPLAIN = "v2/models/{id}/infer", "v1/models/{id}:predict", "v1/models/{id}:explain"
SHAPES = {
    "predict": {"type", "title", "status", "detail", "code", "request_id", "error_code", "error", "message"},
    V2: {"error"},
    V1: {"error"},
    EXPLAIN: {"error"},
    "invocations": {"error_code", "message"},
}
TENSOR = {"name": "island", "datatype": "BYTES", "shape": [1], "data": ["Dream"]}
ROW = {"island": "Dream"}
MANY = 10_000


@dataclass
class Bad:
    """A request and the status it gets. `body`: bytes, or what becomes JSON."""

    what: str
    path: str
    body: Any
    status: int
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def sent(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


def csv(what: str, body: bytes, status: int, content_type: str = "text/csv") -> list[Bad]:
    """The same CSV to both paths that read it, and inside the named inputs."""
    made = [Bad(f"{what}, CSV", path, body, status, content_type) for path in ("predict", "invocations")]
    if content_type == "text/csv":
        made.append(Bad(f"{what}, named inputs", "predict", named(base64.b64encode(body).decode()), status))
    return made


def named(data: object, *, reasons: object = True) -> dict[str, Any]:
    switches = [{"name": name, "type": "boolean", "data": False} for name in ("ad", "nc")]
    first = {"name": "pr", "type": "csv", "data": data}
    return {"inputs": [first, {"name": "ar", "type": "boolean", "data": reasons}, *switches]}


def binary(what: str, head: dict[str, Any], raw: bytes, status: int = 400, *, lie: int = 0) -> Bad:
    """A tensor whose data lies behind the JSON; `lie` is added to the JSON's length."""
    bare = {name: value for name, value in head.items() if name != "data"}
    text = json.dumps({"inputs": [bare | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    length = {"inference-header-content-length": str(len(text) + lie)}
    return Bad(f"{what}, binary", V2, text + raw, status, "application/octet-stream", length)


def tensor(what: str, status: int, **changes: Any) -> Bad:
    return Bad(what, V2, {"inputs": [TENSOR | changes]}, status)


def texts(*lengths: int, content: bytes = b"Dream") -> bytes:
    """Elements of BYTES that claim these lengths and all have the same content."""
    return b"".join(struct.pack("<I", length) + content for length in lengths)


WIDE = {f"c{number}": number for number in range(MANY)}
HEADER = b"island,bill_length_mm\n"
BAD = [
    # CSV
    *csv("empty", b"", 400),
    *csv("only white space", b"\xef\xbb\xbf \r\n\r\n", 400),
    *csv("only a header", HEADER, 422),
    *csv("a header and blank lines", HEADER + b"\r\n\r\n", 422),
    *csv("a ragged row", HEADER + b"Dream,40\nDream\n", 422),
    *csv("a row too long", HEADER + b"Dream,40,41\n", 422),
    *csv("an open quote", HEADER + b'"Dream,40\n', 400),
    *csv("a column twice", b"island,island\nDream,Dream\n", 400),
    *csv("10,000 other columns", ",".join(WIDE).encode() + b"\n" + b",".join([b"1"] * MANY) + b"\n", 422),
    *csv("no text at all", b"\x00\xff\xfe\x80\x81", 400),
    *csv("NUL in a number", HEADER + b"Dream,4\x000\n", 422),
    *csv("half a character", "island\nDreäm\n".encode()[:-3], 400, "text/csv; charset=utf-8"),
    *csv("an unknown charset", HEADER, 415, "text/csv; charset=utf-7"),
    *csv("a codec that is no charset", HEADER, 415, "text/csv; charset=base64"),
    # two formats in one body
    Bad("rows and inputs", "predict", {"rows": [ROW]} | named("aXNsYW5kCkRyZWFtCg=="), 400),
    Bad("instances to predict", "predict", {"instances": [ROW]}, 422),
    Bad("records to predict", "predict", {"dataframe_records": [ROW]}, 422),
    Bad("tensors to predict", "predict", {"inputs": [TENSOR]}, 400),
    Bad("rows to v2", V2, {"rows": [ROW]}, 400),
    Bad("named inputs to v2", V2, named("aXNsYW5kCkRyZWFtCg=="), 400),
    Bad("rows to v1", V1, {"rows": [ROW]}, 422),
    Bad("tensors to explain", EXPLAIN, {"inputs": [TENSOR]}, 422),
    Bad("rows to MLflow", "invocations", {"rows": [ROW]}, 400),
    Bad("two MLflow shapes", "invocations", {"instances": [ROW], "dataframe_records": [ROW]}, 400),
    Bad("tensors to MLflow", "invocations", {"inputs": [TENSOR]}, 422),
    # shape, datatype and amount of data
    tensor("more rows than data", 400, shape=[2]),
    tensor("more data than rows", 400, data=["Dream", "Dream"]),
    tensor("no row", 422, shape=[0], data=[]),
    tensor("a negative shape", 400, shape=[-1]),
    tensor("an enormous shape", 422, shape=[2**62, 2**62]),
    tensor("a shape of three", 422, shape=[1, 1, 1]),
    tensor("no shape", 422, shape=[]),
    tensor("another datatype", 422, datatype="FP32", data=[1.5]),
    tensor("an unknown datatype", 400, datatype="BF16", data=[1]),
    tensor("numbers as BYTES", 400, data=[1]),
    tensor("nested data", 400, data=[["Dream", "Dream"]]),
    Bad("two tensors of one name", V2, {"inputs": [TENSOR, TENSOR]}, 400),
    Bad(
        "tensors of different lengths",
        V2,
        {"inputs": [TENSOR, TENSOR | {"name": "sex", "shape": [0], "data": []}]},
        422,
    ),
    Bad("10,000 other tensors", V2, {"inputs": [TENSOR | {"name": name} for name in WIDE]}, 422),
    Bad("an output that isn't", V2, {"inputs": [TENSOR], "outputs": [{"name": "nothing"}]}, 400),
    binary("a text longer than the data", TENSOR, texts(6)),
    binary("an enormous text", TENSOR, texts(2**32 - 1)),
    binary("a text shorter than the data", TENSOR, texts(4)),
    binary("no text", TENSOR, b""),
    binary("half a length", TENSOR, b"\x05\x00"),
    binary("a text that is not UTF-8", TENSOR, texts(2, content=b"\xff\xfe"), 400),
    binary("two texts for one row", TENSOR, texts(5, 5)),
    binary("a JSON length too long", TENSOR, texts(5), lie=1),
    binary("a JSON length too short", TENSOR, texts(5), lie=-1),
    binary("a JSON length beyond the body", TENSOR, texts(5), lie=10**9),
    binary("numbers too short", {"name": "body_mass_g", "datatype": "FP32", "shape": [1]}, b"\x00\x00"),
    Bad("a JSON length of letters", V2, {"inputs": [TENSOR]}, 400, headers={"inference-header-content-length": "ten"}),
    Bad("a size without data", V2, {"inputs": [TENSOR | {"parameters": {"binary_data_size": 3}}]}, 400),
    # named inputs
    Bad("no base64", "predict", named("nonsense!"), 400),
    Bad("half a base64", "predict", named("aXNsY"), 400),
    Bad("base64 of other letters", "predict", named("\uff41\uff38\uff2e\uff53"), 400),
    Bad("a number for base64", "predict", named(7), 400),
    Bad("a text for a truth", "predict", named("aXNsYW5kCkRyZWFtCg==", reasons="yes"), 400),
    # rows
    Bad("rows with 10,000 other columns", "predict", {"rows": [WIDE]}, 422),
    Bad("instances with 10,000 other columns", V1, {"instances": [WIDE]}, 422),
    Bad("a list of 10,000 values", V1, {"instances": [list(WIDE.values())]}, 422),
    Bad("to be explained: 10,000 values", EXPLAIN, {"instances": [list(WIDE.values())]}, 422),
    Bad("records with 10,000 other columns", "invocations", {"dataframe_records": [WIDE]}, 422),
    Bad(
        "10,000 other columns split",
        "invocations",
        {"dataframe_split": {"columns": list(WIDE), "data": [list(WIDE.values())]}},
        422,
    ),
    Bad("columns of different lengths", "invocations", {"inputs": {"island": ["Dream"], "sex": []}}, 422),
    # content types and encodings
    *(Bad("XML", path, b"<a/>", 415, "application/xml") for path in SHAPES),
    *(Bad("a form", path, b"a=1", 415, "application/x-www-form-urlencoded") for path in SHAPES),
    *(Bad("UTF-16", path, "{}".encode("utf-16"), 415, "application/json; charset=utf-16") for path in SHAPES),
    *(Bad("a nonsense type", path, b"{}", 415, ";;;=\xff".encode("latin-1").decode("latin-1")) for path in SHAPES),
    *(Bad("Brotli", path, b"{}", 415, headers={"content-encoding": "br"}) for path in SHAPES),
    *(Bad("gzip twice", path, b"{}", 415, headers={"content-encoding": "gzip, gzip"}) for path in SHAPES),
    *(
        Bad("gzip cut short", path, b"\x1f\x8b\x08\x00\x00", 400, headers={"content-encoding": "gzip"})
        for path in SHAPES
    ),
]


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    made = rows.api(penguins(), trial_of=1)
    await loaded(worker, made)
    return made


@pytest.mark.parametrize("path", SHAPES)
async def test_it_is_refused_in_its_own_shape_counted_and_never_charged(
    call: Caller, api: Api, rows: Seeder, worker: Worker, path: str
) -> None:
    cases = [bad for bad in BAD if bad.path == path]
    wrong = []
    for bad in cases:
        headers = {"x-api-key": api.key, "content-type": bad.content_type} | bad.headers
        answer = await call(api, path=f"/apis/{api.id}/{path.format(id=api.id)}", body=bad.sent(), headers=headers)
        members = set(answer.json) - {"errors"} if answer.status != 200 else set()
        if answer.status != bad.status or members != SHAPES[path] or answer.headers["x-quota-remaining"] != "1":
            wrong.append((bad.what, bad.status, answer.status, answer.body[:300]))

    assert not wrong, "\n".join(map(str, wrong))
    await worker.ledgers.write_out(worker.database)
    assert rows.counts(api.id) == (0, len(cases), 0)
    await until(lambda: rows.used(api.id) == 0)


async def test_base64_with_line_breaks_is_read(call: Caller, api: Api) -> None:
    text = base64.encodebytes(HEADER + b"Dream," + b"0" * 80 + b"40\n").decode()
    assert text.count("\n") > 1

    first, second = [
        await call(api, body=json.dumps(named(data)).encode()) for data in (text, text.replace("\n", "\r\n"))
    ]

    assert (first.status, second.status) == (200, 429), (first.body, second.body)  # this trial has one request
