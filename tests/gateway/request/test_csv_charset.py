"""An API's own charset for CSVs, from the console's row to the answer."""

from __future__ import annotations

import base64
import json

import pytest

from gateway.processes.worker import Worker
from tests.gateway.serving import Api, Caller, Seeder, loaded, until
from tests.model_files import spec_of, summing

COLUMNS = {"n": "float"}
LATIN = "n,M\u00fcller\n1,2\n".encode("latin-1")  # a column that the model ignores


@pytest.fixture
async def api(rows: Seeder, worker: Worker) -> Api:
    api = rows.api((spec_of(COLUMNS, {"n": 1.0}), summing(COLUMNS)))
    await loaded(worker, api)
    return api


def typed(api: Api, content_type: str = "text/csv") -> dict[str, str]:
    return api.headers | {"content-type": content_type}


async def test_it_is_obeyed_from_the_change_on(worker: Worker, call: Caller, api: Api) -> None:
    before = await call(api, body=LATIN, headers=typed(api))

    api.set(csv_charset="windows-1252")
    await until(lambda: (route := worker.table.get(api.id)) is not None and route.csv_default)
    after = await call(api, body=LATIN, headers=typed(api))

    assert (before.status, after.status) == (400, 200)
    assert after.headers["x-csv-dialect"].startswith("charset=windows-1252;")


async def test_large_bodies_and_the_other_formats_of_csv_obey_it_too(worker: Worker, call: Caller, api: Api) -> None:
    api.set(csv_charset="windows-1252")
    await until(lambda: (route := worker.table.get(api.id)) is not None and route.csv_default)
    large = LATIN + b"1,2\n" * 100_000
    switches = [{"name": name, "type": "boolean", "data": False} for name in ("ar", "ad", "nc")]
    inputs = [{"name": "pr", "type": "csv", "data": base64.b64encode(LATIN).decode()}, *switches]

    in_batch = await call(api, body=large, headers=typed(api))
    named = await call(api, body=json.dumps({"inputs": inputs}).encode())

    assert (in_batch.status, named.status) == (200, 200)


async def test_a_charset_of_a_later_console_is_none(worker: Worker, call: Caller, api: Api) -> None:
    revision = worker.table.revision
    api.set(csv_charset="koi8-r")
    await until(lambda: worker.table.revision > revision)

    answer = await call(api, body=LATIN, headers=typed(api))

    assert answer.status == 400
