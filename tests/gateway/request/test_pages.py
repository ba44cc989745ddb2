"""What is no prediction: descriptions and readiness. And what every request format has in common."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import msgspec
import pytest

from contract.slugs import slug
from gateway.processes.worker import Worker
from inference.formats import ApiInfo, find
from tests.gateway.serving import Answer, Api, Caller, Seeder, loaded, until
from tests.model_files import cancer, penguins

pytestmark = pytest.mark.one_worker

OPEN = ["", "/", "/v2/health/live", "/v2/health/ready", "/v2/models/{id}/ready", "/v1/models/{id}", "/ping", "/health"]
OPEN += ["/docs/docs.css", "/docs/docs.js", "/docs/base.css", "/docs/tokens.css"]
KEYED = ["/v2", "/v2/models/{id}", "/v2/models/{id}/versions/1", "/v1/models", "/version", "/openapi.json", "/docs"]
PREDICTING = ["predict", "v2/models/{id}/infer", "v1/models/{id}:predict", "v1/models/{id}:explain", "invocations"]


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    """An operating trial whose model is loaded."""
    made = rows.api(penguins(), trial_of=5)
    await loaded(worker, made)
    return made


async def get(call: Caller, api: Api, path: str, *, key: bool = True, method: str = "GET") -> Answer:
    headers = {"x-api-key": api.key} if key else {}
    return await call(f"/apis/{api.id}{path.format(id=api.id)}", method=method, headers=headers)


async def applied(worker: Worker, revision: int) -> None:
    await until(lambda: worker.table.revision >= revision)


@pytest.mark.parametrize("path", OPEN)
async def test_open_pages_need_an_allowed_address_only(call: Caller, api: Api, path: str) -> None:
    answer = await get(call, api, path, key=False)

    assert answer.status == 200, answer.body
    assert not {"x-model-version", "x-quota-limit"} & set(answer.headers)
    assert (await get(call, api, path, key=False, method="HEAD")).status == 200
    refused = await get(call, api, path, method="POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", KEYED)
async def test_descriptions_need_the_key_unless_they_are_public(
    call: Caller, api: Api, worker: Worker, path: str
) -> None:
    assert (await get(call, api, path)).status == 200
    assert (await get(call, api, path, key=False)).status == 401
    assert (await get(call, api, path, method="DELETE")).status == 405

    await applied(worker, api.set(has_public_description=True))

    assert (await get(call, api, path, key=False)).status == 200
    assert (await call(api, headers={})).status == 401  # predictions still need it


async def test_a_browser_is_asked_for_the_key(call: Caller, api: Api) -> None:
    for path in ("/docs", "/openapi.json"):
        answer = await get(call, api, path, key=False)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    basic = base64.b64encode(f"{api.key}:".encode()).decode()
    page = await call(f"/apis/{api.id}/docs", method="GET", headers={"authorization": f"Basic {basic}"})
    assert page.status == 200
    assert (await get(call, api, "/v2", key=False)).headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("path", [*OPEN, *KEYED])
async def test_no_page_is_seen_from_other_addresses(rows: Seeder, worker: Worker, path: str) -> None:
    api = rows.api(penguins(), networks=["198.51.100.0/24"])
    await loaded(worker, api)

    assert (await get(Caller(worker), api, path)).status == 403


async def test_pages_are_neither_counted_nor_charged(call: Caller, api: Api, rows: Seeder, worker: Worker) -> None:
    for path in [*OPEN, *KEYED, "/nothing", "/v2/nothing"]:
        await get(call, api, path)
        await get(call, api, path, key=False)

    await worker.ledgers.write_out(worker.database)
    assert rows.counts(api.id) == (0, 0, 0)
    assert rows.used(api.id) == 0


async def test_a_stopped_api_is_alive_and_not_ready(call: Caller, api: Api, worker: Worker) -> None:
    await applied(worker, api.set(target="stopped"))

    assert (await get(call, api, "/v2/health/live")).json == {"live": True, "ready": False}
    for path in ("/v2/health/ready", "/v2/models/{id}/ready", "/v1/models/{id}", "/ping", "/health"):
        assert (await get(call, api, path)).status == 503, path
    for path in KEYED:
        answer = await get(call, api, path)
        assert (answer.status, "api_stopped" in answer.body.decode()) == (503, True), path


async def test_a_model_is_called_by_its_name_or_the_api_s_id(
    call: Caller, api: Api, rows: Seeder, worker: Worker
) -> None:
    model_id = rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id)
    rows.sql("UPDATE apimgmt_model SET name = 'Palmer`s Pingüins (v2)' WHERE id = %s", model_id)
    await applied(worker, rows.revision)
    body = json.dumps({"instances": [{"island": "Dream"}]}).encode()

    for name, status in ((api.id, 200), ("palmers-pinguins-v2", 200), ("m", 404), ("Palmer`s Pingüins (v2)", 404)):
        answer = await call(api, path=f"/apis/{api.id}/v1/models/{name}:predict", body=body)
        assert answer.status == status, (name, answer.body)
    assert (await get(call, api, "/v1/models")).json == {"models": ["palmers-pinguins-v2"]}


def test_slugs() -> None:
    names = ["Penguin species", "  A--b_c ", "ペンギン", "Wïde", "Palmer's", "x" * 300]
    assert [slug(name) for name in names] == ["penguin-species", "a-b-c", "", "wide", "palmers", "x" * 100]


SECRET = ("island", "bill_length_mm", "sex")
WRONG: list[tuple[str, Any]] = [
    ("predict", {"rows": [{"iland": "Dream", "sex": 1}]}),
    ("v2/models/{id}/infer", {"inputs": [{"name": "sex", "datatype": "INT64", "shape": [1], "data": [1]}]}),
    ("v1/models/{id}:predict", {"instances": [{"sex": 1}]}),
    ("invocations", {"dataframe_records": [{"sex": 1}]}),
    ("invocations", {"dataframe_split": {"columns": ["sex", "sex"], "data": [[1, 1]]}}),
]


@pytest.mark.parametrize(("path", "body"), WRONG)
async def test_a_hidden_schema_is_told_by_no_refusal(
    call: Caller, api: Api, worker: Worker, path: str, body: Any
) -> None:
    where = f"/apis/{api.id}/{path.format(id=api.id)}"
    before = await call(api, path=where, body=json.dumps(body).encode())

    await applied(worker, api.set(hides_schema=True))
    answer = await call(api, path=where, body=json.dumps(body).encode())

    told = answer.body.decode()
    assert answer.status == before.status
    assert any(name in before.body.decode() for name in ("island", "sex", "columns"))
    assert not any(name in told for name in SECRET)
    if answer.status == 422:
        assert "in 1 of 1 row" in told
    if path == "predict":
        assert "errors" not in answer.json


BROKEN: list[tuple[str, bytes]] = [
    (path, body)
    for path in PREDICTING
    for body in (
        b"",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"[" * 20_000,
        b'{"rows": 1, "inputs": 1, "instances": 1}',
        b'{"rows": [{}], "inputs": [{"name": "pr", "type": "csv", "data": ""}]}',
        b'{"inputs": [{"name": "sex", "shape": [99], "datatype": "FP32", "data": [1]}], "instances": [[1]]}',
        b'{"instances": [[1, 2], [3]], "dataframe_split": {}}',
        b'{"inputs": [[' + b"1," * 10_000 + b"1]]}",
        b'{"instances": [[' + b"1," * 10_000 + b"1]]}",
        b'{"inputs": [{"name": "sex", "shape": [1], "datatype": "BYTES", "data": [' + b"9" * 5000 + b"]}]}",
    )
]


async def test_broken_bodies_are_refused_counted_and_never_charged(
    call: Caller, api: Api, rows: Seeder, worker: Worker
) -> None:
    for path, body in BROKEN:
        for encoding in ({}, {"content-encoding": "gzip"}):
            headers = api.headers | encoding
            answer = await call(api, path=f"/apis/{api.id}/{path.format(id=api.id)}", body=body, headers=headers)
            assert 400 <= answer.status < 500, (path, body[:60], answer.body)
            assert isinstance(answer.json, dict)

    await worker.ledgers.write_out(worker.database)
    assert rows.counts(api.id) == (0, len(BROKEN) * 2, 0)
    await until(lambda: rows.used(api.id) == 0)


async def test_each_format_is_counted_and_charged_once(call: Caller, api: Api, rows: Seeder, worker: Worker) -> None:
    row = {"island": "Dream"}
    tensor = {"name": "island", "datatype": "BYTES", "shape": [1], "data": ["Dream"]}
    bodies = {
        "predict": {"rows": [row]},
        "v2/models/{id}/infer": {"inputs": [tensor]},
        "v1/models/{id}:predict": {"instances": [row]},
        "v1/models/{id}:explain": {"instances": [row]},
        "invocations": {"dataframe_records": [row]},
    }
    for number, (path, body) in enumerate(bodies.items(), start=1):
        squeezed = gzip.compress(json.dumps(body).encode())
        headers = api.headers | {"content-encoding": "gzip"}
        answer = await call(api, path=f"/apis/{api.id}/{path.format(id=api.id)}", body=squeezed, headers=headers)
        assert answer.status == 200, answer.body
        assert answer.headers["x-quota-remaining"] == str(5 - number)
    used_up = await call(api, path=f"/apis/{api.id}/invocations", body=json.dumps({"instances": [row]}).encode())
    assert (used_up.status, used_up.json["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")


@pytest.mark.own_worker
async def test_a_body_that_inflates_too_far_is_refused(call: Caller, api: Api, worker: Worker) -> None:
    worker.limits.max_body_bytes = 1_000_000
    bomb = gzip.compress(b" " * 1_000_001)

    answer = await call(api, body=bomb, headers=api.headers | {"content-encoding": "gzip"})

    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.own_worker
async def test_open_pages_tell_no_names(call: Caller, api: Api, rows: Seeder, worker: Worker) -> None:
    rows.sql("UPDATE apimgmt_model SET name = 'Secret Name'")
    await applied(worker, api.set(target="operating"))
    assert worker.table.get(api.id).name == "secret-name"  # type: ignore[union-attr]

    for path in ("/v2/models/zzz/ready", "/v2/models/{id}/versions/9/ready", "/v1/models/zzz"):
        answer = await get(call, api, path, key=False)
        assert answer.status == 404, path
        assert "secret-name" not in answer.body.decode()
        assert api.id not in answer.body.decode()
        assert "version 1" not in answer.body.decode()
    assert "secret-name" in (await get(call, api, "/v2/models/zzz")).body.decode()  # with the key


async def test_refusals_come_in_the_shape_of_the_path(call: Caller, api: Api) -> None:
    shapes = {
        "v2/models/x/infer": {"error"},
        "v2/nothing": {"error"},
        "v1/models/x:predict": {"error"},
        "invocations": {"error_code", "message"},
    }
    for path, members in shapes.items():
        for where in (f"/apis/{api.id}/{path}", f"/apis/0000000000000000/{path}"):
            answer = await call(api, path=where, headers={})
            assert set(answer.json) == members, where
            assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["docs", "openapi.json"])
def test_a_description_is_made_once_for_each_version(path: str) -> None:
    found = find(path)
    assert found is not None
    assert found.page is not None
    info = ApiInfo("a" * 16, "cancer", "", "1", "https://gateway.example/apis/a", is_ready=True, served=cancer()[0])

    first, again = found.page.make(info), found.page.make(info)
    described = msgspec.structs.replace(cancer()[0], description="Described anew.")
    other = found.page.make(msgspec.structs.replace(info, served=described))

    assert first.body is again.body
    assert b"Described anew." not in first.body
    assert b"Described anew." in other.body


async def test_the_docs_page_has_no_second_address_where_its_links_would_be_wrong(call: Caller, api: Api) -> None:
    assert (await get(call, api, "/docs/")).code == "unknown_path"


async def test_the_page_needs_nothing_from_elsewhere(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)

    answer = await get(call, api, "/docs")

    text = answer.body.decode()
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert " style=" not in text
    assert "<style" not in text
    assert text.count("<script") == text.count('<script src="docs/docs.js"') == 1
    assert api.key not in text
    for column in api.spec.columns:
        assert column.name in text
