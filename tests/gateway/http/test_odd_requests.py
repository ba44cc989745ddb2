"""Odd names, versions, content types, charsets, encodings, Accept headers, methods: each has one answer."""

from __future__ import annotations

import json

import pytest

from gateway.processes.worker import Worker
from tests.gateway.serving import Api, Caller, Seeder, loaded
from tests.model_files import penguins

pytestmark = pytest.mark.one_worker

JSON = "application/json"
ROWS = b'{"rows": [{"island": "Dream"}]}'
INSTANCES = b'{"instances": [{"island": "Dream"}]}'
TENSORS = b'{"inputs": [{"name": "island", "datatype": "BYTES", "shape": [1], "data": ["Dream"]}]}'
CSV = b"island\nDream\n"


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    made = rows.api(penguins())
    await loaded(worker, made)
    return made


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (200, ["{id}", "m"]),
        (404, ["{ID}", "M", "m ", "..", "%", "%6d", "\ufffd", "m%3Apredict", "m\x00", "a" * 3000, "m:predict"]),
    ],
)
async def test_names_of_models(call: Caller, api: Api, status: int, names: list[str]) -> None:
    for name in names:
        known = name.format(id=api.id, ID=api.id.upper())
        for path, body in ((f"v1/models/{known}:predict", INSTANCES), (f"v2/models/{known}/infer", TENSORS)):
            answer = await call(api, path=f"/apis/{api.id}/{path}", body=body)
            assert (answer.status, "error" in answer.json) == (status, status == 404), path


async def test_versions(call: Caller, api: Api) -> None:
    for version in ("01", "1.0", "2", "latest", "-1", "0x1", "\uff11", "1 ", "9" * 400):
        answer = await call(api, path=f"/apis/{api.id}/v2/models/m/versions/{version}/infer", body=TENSORS)
        assert (answer.status, "unknown_path" in answer.json["error"]) == (404, True), version
    served = await call(api, path=f"/apis/{api.id}/v2/models/m/versions/1/infer", body=TENSORS)
    assert served.status == 200


@pytest.mark.parametrize(
    "path", ["predict/", "/predict", "Predict", "predict;x", "./predict", "a/../predict", "predict\x00"]
)
async def test_paths_that_are_nearly_one(call: Caller, api: Api, path: str) -> None:
    answer = await call(api, path=f"/apis/{api.id}/{path}", body=ROWS)

    assert (answer.status, answer.code) == (404, "unknown_path")


CONTENT_TYPES = {
    200: [
        "application/json",
        "APPLICATION/JSON",
        " application/json ; charset=UTF-8",
        'application/json;charset="utf-8"',
        "application/json;",
        "application/json;charset",
        "application/json; charset=us-ascii; profile=x",
        "text/csv; header=present",
        "text/csv;charset=",
        "text/csv; charset=Shift-JIS",
        "text/csv; charset=x-sjis",
        "text/csv; charset=windows-31j",
    ],
    415: [
        "",
        ";",
        "*/*",
        "application/json, text/csv",
        "application/json; charset=utf-8; charset=utf-16",
        "application/problem+json",
        "application/vnd.api+json",
        "text/json",
        "text/plain",
        "text/csv; charset=unicode_escape",
        "text/csv; charset=idna",
        "text/csv; charset=utf-7",
        "text/csv; charset=" + "x" * 5000,
    ],
}


@pytest.mark.parametrize("path", ["predict", "invocations"])
@pytest.mark.parametrize("status", CONTENT_TYPES)
async def test_content_types(call: Caller, api: Api, path: str, status: int) -> None:
    for content_type in CONTENT_TYPES[status]:
        body = CSV if "csv" in content_type else ROWS if path == "predict" else INSTANCES
        headers = {"x-api-key": api.key, "content-type": content_type}
        answer = await call(api, path=f"/apis/{api.id}/{path}", body=body, headers=headers)
        assert answer.status == status, (content_type, answer.body)


ACCEPTS = {
    "text/csv": [
        *("", "*/*", "text/html", "application/json;q=0", "*/*;q=0", "garbage", "q=", ";;", ",", "a" * 5000),
        *("application/json;q=nan", "text/csv;q=1e999", "text/*;q=0.9, application/json;q=0.9"),
    ],
    "application/json": ["application/json", "application/*", "application/json;q=0.5, text/csv;q=0.4"],
}


@pytest.mark.parametrize("wanted", ACCEPTS)
async def test_accept_never_refuses_an_answer(call: Caller, api: Api, wanted: str) -> None:
    for accept in ACCEPTS[wanted]:
        headers = {"x-api-key": api.key, "content-type": "text/csv", "accept": accept}
        answer = await call(api, body=CSV, headers=headers)
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, wanted), accept


ENCODINGS = {
    200: ["", " ", "identity", "gzip", "GZIP", "x-gzip", "deflate"],  # the body is not compressed all the same
    415: ["br", "zstd", "compress", "gzip, identity", "gzip;q=1", "gzip gzip", "x" * 5000],
}


@pytest.mark.parametrize("status", ENCODINGS)
async def test_content_encodings(call: Caller, api: Api, status: int) -> None:
    for encoding in ENCODINGS[status]:
        answer = await call(api, body=ROWS, headers=api.headers | {"content-encoding": encoding})
        assert answer.status == status, (encoding, answer.body)


@pytest.mark.parametrize("length", ["-1", "+5", "1e3", "9" * 20, "0x10", "\xb2", "10, 20"])
async def test_a_json_length_that_is_no_number(call: Caller, api: Api, length: str) -> None:
    headers = {"x-api-key": api.key, "inference-header-content-length": length}

    answer = await call(api, path=f"/apis/{api.id}/v2/models/m/infer", body=TENSORS, headers=headers)

    assert (answer.status, "not a number of bytes" in answer.json["error"]) == (400, True)


async def test_methods(call: Caller, api: Api) -> None:
    for path, allow in (("predict", "POST"), ("invocations", "POST"), ("v2", "GET, HEAD"), ("docs", "GET, HEAD")):
        for method in ("OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
            answer = await call(api, path=f"/apis/{api.id}/{path}", method=method, body=b"")
            assert (answer.status, answer.headers["allow"]) == (405, allow), (method, path)
            assert isinstance(json.loads(answer.body), dict)
