"""Each status and code of the contract, in the order in which they are decided."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from gateway.processes.worker import Worker
from gateway.request.checks import REQUESTS_IN_PROGRESS
from tests.gateway.serving import Api, Caller, Seeder, loaded, until
from tests.model_files import cancer, penguins

pytestmark = pytest.mark.one_worker


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    """An operating official API whose model is loaded."""
    made = rows.api(cancer())
    await loaded(worker, made)
    return made


async def test_a_prediction(call: Caller, api: Api) -> None:
    answer = await call(api)

    assert answer.status == 200, answer.body
    assert answer.json["model_version"] == "1"
    assert answer.json["predictions"][0]["class"]
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"]
    assert "x-quota-limit" not in answer.headers


async def test_csv_in_csv_out(call: Caller, api: Api) -> None:
    names = [column.name for column in api.spec.columns]
    values = [str(api.spec.sample[name]) for name in names]
    body = (",".join(f'"{name}"' for name in names) + "\n" + ",".join(values) + "\n").encode()

    answer = await call(api, body=body, headers=api.headers | {"content-type": "text/csv"})

    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/csv")
    assert len(answer.body.splitlines()) == 2


# --- codes ---


async def test_unknown_api_is_404_and_not_counted(call: Caller, rows: Seeder, worker: Worker) -> None:
    answer = await call("/apis/0000000000000000/predict")

    assert (answer.status, answer.code) == (404, "unknown_api")
    assert answer.json["error"] == "NOT_FOUND_CLASSIFIER"
    assert worker.ledgers.requests_in_flight == 0
    assert rows.counts("0000000000000000") == (0, 0, 0)


async def test_address_not_allowed_is_named(rows: Seeder, worker: Worker) -> None:
    api = rows.api(cancer(), networks=["198.51.100.0/24"])
    await loaded(worker, api)

    answer = await Caller(worker, client=("192.0.2.7", 1))(api)

    assert (answer.status, answer.code) == (403, "ip_not_allowed")
    assert "192.0.2.7" in answer.json["detail"]
    assert answer.json["error_code"] == "4031030201"
    assert answer.json["message"] == "Not allowed source ip"


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}])
async def test_missing_or_wrong_key(call: Caller, api: Api, headers: dict[str, str]) -> None:
    answer = await call(api, headers={"content-type": "application/json"} | headers)

    assert (answer.status, answer.code) == (401, "invalid_key")
    assert answer.headers["www-authenticate"]
    assert answer.json["message"] == "Invalid API key"


async def test_the_ways_to_send_a_key(call: Caller, api: Api) -> None:
    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    for value in (f"Bearer {api.key}", f"bearer   {api.key}", f"Token {api.key}", basic(f"{api.key}:"), basic(api.key)):
        answer = await call(api, headers={"content-type": "application/json", "authorization": value})
        assert answer.status == 200, value


async def test_a_page_of_another_site_can_not_use_the_key_that_a_browser_keeps(
    call: Caller, api: Api, worker: Worker, rows: Seeder
) -> None:
    kept = {"authorization": "Basic " + base64.b64encode(f"{api.key}:".encode()).decode()}
    usual = {"content-type": "application/json"}
    foreign, own = {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-origin"}

    asked = await call(api, headers=usual | kept | foreign)

    assert (asked.status, asked.code) == (401, "invalid_key")
    assert "another site" in asked.json["detail"]
    assert (await call(api, headers=usual | kept | own)).status == 200
    assert (await call(api, headers=api.headers | foreign)).status == 200  # a page that was given the key
    docs = f"/apis/{api.id}/docs"
    assert (await call(docs, method="GET", headers=kept | foreign)).status == 200  # a link


async def test_x_api_key_wins_over_authorization(call: Caller, api: Api) -> None:
    wrong = await call(api, headers=api.headers | {"x-api-key": "wrong", "authorization": f"Bearer {api.key}"})
    right = await call(api, headers=api.headers | {"authorization": "Bearer wrong"})

    assert (wrong.status, right.status) == (401, 200)


@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
async def test_the_same_header_with_two_values_is_refused(call: Caller, api: Api, name: bytes) -> None:
    value = api.key.encode() if name == b"x-api-key" else b"Bearer " + api.key.encode()

    twice_the_same = await call(api, lines=[(name, value), (name, value)])
    contradicting = await call(api, lines=[(name, value), (name, b"Bearer other")])

    assert twice_the_same.status == 200
    assert (contradicting.status, contradicting.code) == (401, "invalid_key")


@pytest.mark.parametrize(
    ("target", "code", "word"),
    [
        ("building", "api_building", "building"),
        ("stopped", "api_stopped", "stopped"),
        ("failed", "api_failed", "failed"),
        ("deleting", "api_deleting", "deleting"),
    ],
)
async def test_not_operating(rows: Seeder, worker: Worker, call: Caller, target: str, code: str, word: str) -> None:
    api = rows.api(cancer(), target=target)
    await until(lambda: worker.table.get(api.id))

    answer = await call(api)

    assert (answer.status, answer.code) == (503, code)
    assert ("retry-after" in answer.headers) == (target == "building")
    assert answer.json["message"] == f"status is not running (status: {word})"
    await until(lambda: rows.counts(api.id) == (0, 0, 1))


@pytest.mark.own_worker
async def test_a_word_that_this_gateway_does_not_know_serves_nothing(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    api = rows.api(cancer(), target="stopped")
    rows.sql("ALTER TABLE apimgmt_predictionapi DROP CONSTRAINT predictionapi_target_known")
    api.set(target="hibernate")
    await until(lambda: (route := worker.table.get(api.id)) and route.target == "hibernate")

    assert (await call(api)).code == "api_failed"


async def test_a_deleted_api_is_unknown(rows: Seeder, worker: Worker, call: Caller, api: Api) -> None:
    api.set(target="deleted", status="deleted", key_digest=None, deleted_at="2026-11-23")
    await until(lambda: worker.table.get(api.id) is None)

    assert (await call(api)).code == "unknown_api"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_not_allowed_and_not_counted(
    call: Caller, api: Api, rows: Seeder, worker: Worker, method: str
) -> None:
    answer = await call(api, method=method)

    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    await worker.ledgers.write_out(worker.database)
    assert rows.counts(api.id) == (0, 0, 0)


@pytest.mark.parametrize("below", ["/predict/", "/Predict", "/predict/more", "/nothing", "/docs/more"])
async def test_unknown_path_below_a_known_api(call: Caller, api: Api, below: str) -> None:
    answer = await call(api, path=f"/apis/{api.id}{below}")
    without_key = await call(api, path=f"/apis/{api.id}{below}", headers={})

    assert (answer.status, answer.code) == (404, "unknown_path")
    assert "error_code" not in answer.json
    assert without_key.code == "invalid_key"


async def test_a_body_that_says_it_is_too_large_is_not_read(worker: Worker, api: Api) -> None:
    call = Caller(worker, slow_body=lambda: pytest.fail("the body was read"))

    answer = await call(api, headers=api.headers | {"content-length": "50000001"})

    assert (answer.status, answer.code) == (413, "payload_too_large")


async def test_a_body_without_length_is_refused_while_it_is_read(call: Caller, api: Api) -> None:
    parts = [b" " * 10_000_000] * 6

    answer = await call(api, body=parts)

    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    "headers",
    [{"content-type": "text/html"}, {"content-type": ""}, {"content-encoding": "br"}],
)
async def test_unsupported_media_type(call: Caller, api: Api, headers: dict[str, str]) -> None:
    answer = await call(api, headers=api.headers | headers)

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_malformed_body(call: Caller, api: Api, body: bytes) -> None:
    answer = await call(api, body=body)

    assert (answer.status, answer.code) == (400, "malformed_body")


@pytest.mark.parametrize("body", [b"[]", b'{"rows": 1}', b"null"])
async def test_a_body_without_rows(call: Caller, api: Api, body: bytes) -> None:
    answer = await call(api, body=body)

    assert (answer.status, answer.code) == (422, "invalid_rows")


async def test_invalid_rows_are_listed(call: Caller, api: Api) -> None:
    first = api.spec.columns[0].name
    row = {name: value for name, value in api.spec.sample.items() if name != first} | {first[:-1] + "_": 1.0}

    answer = await call(api, body=json.dumps({"rows": [row]}).encode())

    assert (answer.status, answer.code) == (422, "invalid_rows")
    assert answer.json["errors"][0]["row"] == 1
    assert first in {answer.json["errors"][0]["column"], answer.json["errors"][0].get("nearest")}


async def test_internal_error_tells_nothing(call: Caller, api: Api, worker: Worker) -> None:
    route = worker.table.get(api.id)
    assert route is not None
    model = route.state.models[api.version_id]
    predictor, model.predictor = model.predictor, object()  # type: ignore[assignment]  # anything that breaks inside

    answer = await call(api)

    model.predictor = predictor
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "object" not in answer.body.decode()


async def test_a_model_that_can_not_be_loaded(rows: Seeder, worker: Worker, call: Caller) -> None:
    spec, _ = cancer()
    api = rows.api((spec, b"no model at all"))
    await loaded(worker, api)

    answer = await call(api)

    assert (answer.status, answer.code) == (500, "model_failed")
    told = "SELECT is_loaded, error <> '' FROM apimgmt_modelload WHERE api_id = %s"
    await until(lambda: rows.sql(told, api.id) == [(False, True)])


async def test_an_unreadable_description_harms_no_other_api(
    rows: Seeder, worker: Worker, call: Caller, api: Api
) -> None:
    broken = rows.api(penguins())
    rows.sql('UPDATE apimgmt_modelversion SET spec = \'{"task": "chess"}\' WHERE id = %s', broken.version_id)
    revision = rows.revision
    await until(lambda: worker.table.revision >= revision)
    await loaded(worker, broken)

    assert (await call(broken)).code == "model_failed"
    assert (await call(api)).status == 200


async def test_a_request_waits_for_a_model_that_is_being_loaded(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = rows.api(cancer())
    await until(lambda: worker.table.get(api.id))

    assert (await call(api)).status == 200


async def test_nothing_is_loaded_for_a_request_that_is_refused(rows: Seeder, worker: Worker, call: Caller) -> None:
    used_up, api = rows.api(cancer(), trial_of=1), rows.api(cancer())
    for one in (used_up, api):
        await loaded(worker, one)
    routes = [route for one in (used_up, api) if (route := worker.table.get(one.id))]
    models = [model for route in routes for model in route.state.models.values()]
    assert (await call(used_up)).status == 200
    await worker.ledgers.write_out(worker.database)
    assert (await call(used_up)).code == "quota_exhausted"  # remembered from now on
    for model in models:
        model.unload()
    too_long = api.headers | {"content-length": "99999999"}

    codes = [(await call(used_up)).code, (await call(api, method="GET")).code]
    codes.append((await call(api, headers=too_long)).code)
    routes[1].state.in_progress = REQUESTS_IN_PROGRESS
    codes.append((await call(api)).code)
    codes.append((await call(f"/apis/{api.id}/openapi.json", method="GET", headers=api.headers)).code)

    refused = ["quota_exhausted", "method_not_allowed", "payload_too_large", "too_many_requests", "too_many_requests"]
    assert codes == refused
    assert [model.is_awaited or model.is_ready for model in models] == [False, False]


# --- the order of the checks ---


async def test_each_check_comes_before_the_next(rows: Seeder, worker: Worker, call: Caller) -> None:
    """One request with every fault; taking the faults away one after the other uncovers the next code."""
    api = rows.api(cancer(), target="stopped", trial_of=1, networks=[])
    await until(lambda: worker.table.get(api.id))
    faulty = {"x-api-key": "wrong", "content-type": "text/html", "content-length": "99999999"}
    method, body, codes = "GET", b"{", []

    async def code() -> str:
        return (await call(api, method=method, headers=faulty, body=body)).code

    async def applied() -> None:
        revision = rows.revision
        await until(lambda: worker.table.revision >= revision)

    codes.append(await code())
    api.allow("192.0.2.0/24")
    await applied()
    codes.append(await code())
    faulty["x-api-key"] = api.key
    codes.append(await code())
    api.set(target="operating", status="operating")
    await applied()
    await loaded(worker, api)
    codes.append(await code())
    method = "POST"
    codes.append(await code())
    del faulty["content-length"]
    codes.append(await code())
    faulty["content-type"] = "application/json"
    codes.append(await code())
    body = b'{"rows": [{}]}'
    codes.append(await code())
    body = api.body
    assert (await call(api, headers=faulty)).status == 200
    codes.append(await code())

    assert codes == [
        "ip_not_allowed",
        "invalid_key",
        "api_stopped",
        "method_not_allowed",
        "payload_too_large",
        "unsupported_media_type",
        "malformed_body",
        "invalid_rows",
        "quota_exhausted",
    ]


# --- addresses ---


async def test_forwarded_addresses(rows: Seeder, worker: Worker) -> None:
    api = rows.api(cancer(), networks=["192.0.2.7/32"])
    await loaded(worker, api)
    proxy, stranger = Caller(worker, client=("10.0.0.1", 1)), Caller(worker, client=("198.51.100.1", 1))
    forged = [(b"x-forwarded-for", b"192.0.2.7")]
    others = [(b"forwarded", b"for=192.0.2.7"), (b"x-real-ip", b"192.0.2.7")]

    assert (await proxy(api, lines=forged)).status == 200
    assert (await proxy(api, lines=[*forged, (b"x-forwarded-for", b"198.51.100.9")])).status == 403
    assert (await proxy(api, lines=[(b"x-forwarded-for", b"198.51.100.9"), *forged])).status == 200
    assert (await proxy(api, lines=[(b"x-forwarded-for", b"junk")])).status == 403
    assert (await proxy(api, lines=others)).status == 403
    assert (await proxy(api)).status == 403
    assert (await stranger(api, lines=forged)).status == 403
    assert (await Caller(worker, client=("::ffff:192.0.2.7", 1))(api)).status == 200
    assert (await Caller(worker, client=None)(api)).status == 403


# --- rules that change while a request is in progress ---


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"target": "stopped"}, "api_stopped"),
        ({"key_digest": b"\1" * 32}, "invalid_key"),
        ({"target": "deleted", "status": "deleted", "key_digest": None, "deleted_at": "2026-11-23"}, "unknown_api"),
    ],
)
async def test_a_change_binds_requests_in_progress(
    rows: Seeder, worker: Worker, api: Api, columns: dict[str, object], code: str
) -> None:
    async def change() -> None:
        revision = api.set(**columns)
        await until(lambda: rows.workers()[worker.identity.id][1] >= revision)

    answer = await Caller(worker, slow_body=change)(api)

    assert answer.code == code


async def test_an_answer_tells_the_version_that_computed_it(rows: Seeder, worker: Worker, api: Api) -> None:
    """Also when another version takes over in the meantime."""
    model_id = rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id)
    _, second = rows.version(cancer("columns"), model_id=model_id, number=2)

    async def take_over() -> None:
        revision = api.set(version_id=second)
        await until(lambda: worker.table.revision >= revision)

    answer = await Caller(worker, slow_body=take_over)(api)

    assert answer.status == 200, answer.body
    assert (answer.json["model_version"], answer.headers["x-model-version"]) == ("1", "1")


async def test_a_removed_network_binds_requests_in_progress(rows: Seeder, worker: Worker, api: Api) -> None:
    async def change() -> None:
        api.disallow("0.0.0.0/0")
        revision = rows.revision
        await until(lambda: worker.table.revision >= revision)

    assert (await Caller(worker, slow_body=change)(api)).code == "ip_not_allowed"


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_counted(
    rows: Seeder, worker: Worker, api: Api
) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pytest.fail("there is nobody to answer")

    headers = [(name.encode(), value.encode()) for name, value in api.headers.items()]
    scope = {"type": "http", "method": "POST", "path": api.path, "headers": headers, "client": ("192.0.2.7", 1)}
    await worker.app(scope, receive, send)

    await worker.ledgers.write_out(worker.database)
    assert rows.counts(api.id) == (0, 0, 0)
    assert worker.ledgers.requests_in_flight == 0


# --- counting ---


async def test_every_status_is_counted_once(rows: Seeder, worker: Worker, call: Caller, api: Api) -> None:
    for _ in range(3):
        await call(api)
    await call(api, headers={})
    await call(api, body=b"{")
    api.set(target="stopped")
    await until(lambda: (route := worker.table.get(api.id)) and route.target == "stopped")
    await call(api)

    await worker.ledgers.write_out(worker.database)
    await worker.ledgers.write_out(worker.database)

    assert rows.counts(api.id) == (3, 2, 1)


@pytest.mark.own_worker
async def test_without_a_cell_nothing_is_answered(worker: Worker, call: Caller, api: Api, rows: Seeder) -> None:
    worker.ledgers.cell = lambda api_id: None  # type: ignore[method-assign]  # what a full disk comes to

    answer = await call(api)

    assert (answer.status, answer.code) == (503, "not_ready")
    assert answer.headers["retry-after"]


# --- concurrency ---


async def test_too_many_requests_to_one_api_do_not_touch_another(rows: Seeder, worker: Worker, api: Api) -> None:
    other = rows.api(penguins())
    await loaded(worker, other)
    release = asyncio.Event()
    slow = Caller(worker, slow_body=release.wait)
    before = worker.ledgers.requests_in_flight
    waiting = [asyncio.create_task(slow(api)) for _ in range(REQUESTS_IN_PROGRESS)]
    await until(lambda: worker.ledgers.requests_in_flight == before + REQUESTS_IN_PROGRESS)

    refused = await Caller(worker)(api)
    untouched = await Caller(worker)(other)
    release.set()
    answers = await asyncio.gather(*waiting)

    assert (refused.status, refused.code) == (429, "too_many_requests")
    assert refused.headers["retry-after"]
    assert untouched.status == 200
    assert {answer.status for answer in answers} == {200}
    assert (await Caller(worker)(api)).status == 200


# --- what belongs to the gateway itself ---


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/livez", "GET", 200),
        ("/livez", "HEAD", 200),
        ("/readyz", "GET", 200),
        ("/readyz", "POST", 405),
        ("/", "GET", 404),
        ("/metrics", "GET", 404),
        ("/apis", "GET", 404),
        ("/apis/", "POST", 404),
    ],
)
async def test_own_pages(call: Caller, path: str, method: str, status: int) -> None:
    answer = await call(path, method=method)

    assert answer.status == status
    assert answer.headers["x-request-id"]


@pytest.mark.own_worker
async def test_not_ready_and_catching_up_while_out_of_step(
    worker: Worker, call: Caller, api: Api, rows: Seeder
) -> None:
    worker.lease.lose_step()

    known, unknown = await call(api), await call("/apis/0000000000000000/predict")
    ready, live = await call("/readyz", method="GET"), await call("/livez", method="GET")

    assert (known.code, unknown.code) == ("catching_up", "catching_up")
    assert known.headers["retry-after"]
    assert (ready.status, live.status) == (503, 200)
    await until(lambda: worker.lease.is_valid)  # a full read follows by itself
    assert (await call(api)).status == 200
    await until(lambda: rows.counts(api.id) == (1, 0, 1))


async def test_big_bodies_run_beside_the_event_loop(call: Caller, api: Api) -> None:
    body = json.dumps({"rows": [api.spec.sample] * 500}).encode()
    assert len(body) > 64 * 1024

    answer = await call(api, body=body)

    assert answer.status == 200
    assert len(answer.json["predictions"]) == 500
