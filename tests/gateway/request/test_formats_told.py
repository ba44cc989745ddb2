"""What the descriptions say of the request formats is made from the codecs, and true: every example is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.processes.worker import Worker
from inference import formats
from inference.formats.registry import PREDICTING
from tests.gateway.serving import Api, Caller, Seeder, loaded
from tests.meant_models import choosing, passing
from tests.model_files import Made, cancer, diabetes, penguins

pytestmark = pytest.mark.one_worker

MODELS = {
    "penguins": penguins,
    "cancer": cancer,
    "diabetes": diabetes,
    "label alone": lambda: choosing(["a", "b"]),
    "one score": lambda: choosing([-1, 1], width=1, role="scores", task="anomaly"),
    "two targets": lambda: passing(("y", "float", ["height", "weight"])),
}


@pytest.fixture(params=list(MODELS))
async def api(request: pytest.FixtureRequest, rows: Seeder, worker: Worker) -> Api:
    made: Made = MODELS[request.param]()
    api = rows.api(made)
    api.spec = made[0]
    await loaded(worker, api)
    return api


async def document(call: Caller, api: Api) -> Any:
    answer = await call(f"/apis/{api.id}/openapi.json", method="GET", headers={"x-api-key": api.key})
    assert answer.status == 200
    return answer.json


async def test_the_example_of_each_format_is_answered(call: Caller, api: Api) -> None:
    for one in formats.FORMATS:
        if not one.is_for(api.spec):
            continue
        path = one.path.format(model=api.id)
        headers = {"x-api-key": api.key, "content-type": one.media_type}
        answer = await call(f"/apis/{api.id}/{path}", body=one.sample(api.spec), headers=headers)
        assert answer.status == 200, (one.title, answer.body)


async def test_every_format_has_an_anchor_of_its_own_and_every_predicting_codec_tells_of_one() -> None:
    assert len({one.anchor for one in formats.FORMATS}) == len(formats.FORMATS)
    for codec in PREDICTING:
        assert codec.formats, codec
        assert all(codec.predicting.fullmatch(one.path.format(model="m")) for one in codec.formats), codec


async def test_openapi_tells_exactly_the_paths_that_are_served(call: Caller, api: Api) -> None:
    told = await document(call, api)

    for path, item in told["paths"].items():
        endpoint = formats.find(path.removeprefix("/"))
        assert endpoint is not None, path
        assert set(item) == ({"get"} if endpoint.page else {"post"}), path
        if "get" in item:
            answer = await call(f"/apis/{api.id}{path}", method="GET", headers={"x-api-key": api.key})
            assert answer.status == 200, path
            assert answer.headers["content-type"].partition(";")[0] in item["get"]["responses"]["200"]["content"], path
    for one in formats.FORMATS:
        assert (f"/{one.path.format(model='m')}" in told["paths"]) == one.is_for(api.spec), one.title
    tags = {tag["name"] for tag in told["tags"]}
    assert {tag for item in told["paths"].values() for one in item.values() for tag in one["tags"]} == tags


async def test_the_examples_in_openapi_are_answered(call: Caller, api: Api) -> None:
    told = await document(call, api)

    for path, item in told["paths"].items():
        for media, content in item.get("post", {}).get("requestBody", {}).get("content", {}).items():
            example = content["example"]
            body = example.encode() if isinstance(example, str) else json.dumps(example).encode()
            headers = {"x-api-key": api.key, "content-type": media}
            answer = await call(f"/apis/{api.id}{path}", body=body, headers=headers)
            assert answer.status == 200, (path, media, answer.body)
            assert answer.headers["content-type"].partition(";")[0] in item["post"]["responses"]["200"]["content"]


async def test_each_prediction_in_openapi_tells_of_the_header_with_warnings(call: Caller, api: Api) -> None:
    told = await document(call, api)

    posts = [path["post"] for path in told["paths"].values() if "post" in path]
    assert len(posts) > 4
    assert all("X-Prediction-Warnings" in post["responses"]["200"]["headers"] for post in posts)


async def test_the_page_lists_every_format(call: Caller, api: Api) -> None:
    answer = await call(f"/apis/{api.id}/docs", method="GET", headers={"x-api-key": api.key})

    for one in formats.FORMATS:
        assert (f"POST /{one.path.format(model='m')}<" in answer.body.decode()) == one.is_for(api.spec), one.title
