"""Callers hear of odd values wherever their request was computed; the console has numbers, and no value."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from contract.model_spec import Column
from gateway.db.connection import Database, DatabaseAway
from gateway.processes.worker import Worker
from gateway.usage import input_warnings
from gateway.usage.input_warnings import InputWarnings
from tests.gateway.serving import Api, Caller, Seeder, loaded, until
from tests.model_files import Made, summing
from tests.model_files import spec_of as described

COUNTS = 'SELECT "column", code, count FROM apimgmt_inputwarning WHERE api_id = %s ORDER BY 1, 2'
DAY = datetime.datetime(2026, 11, 30, 23, 30, tzinfo=ZoneInfo("Asia/Tokyo"))


def ranged() -> Made:
    """A regression of one number, from 0 to 10 as its owner says."""
    spec = described({"v": "float"}, {"v": 1.0})
    column = Column(name="v", type="float", min=0, max=10, is_range_known=True)
    return msgspec.structs.replace(spec, columns=(column,)), summing({"v": "float"})


@pytest.fixture
async def database(rows: Seeder) -> AsyncIterator[Database]:
    made = Database(lambda: rows.url)
    yield made
    await made.close()


@pytest.fixture
async def warned(rows: Seeder, worker: Worker) -> Api:
    api = rows.api(ranged())
    await loaded(worker, api)
    return api


async def test_an_answer_carries_its_warnings_and_the_database_their_number(
    rows: Seeder, call: Caller, warned: Api
) -> None:
    body = b'{"rows": [{"v": 11}, {"v": 1}, {"v": 99}]}'

    answer = await call(warned, body=body)

    assert (answer.status, answer.headers["x-prediction-warnings"]) == (200, "2")
    assert [warning["row"] for warning in answer.json["warnings"]] == [1, 3]
    assert await until(lambda: rows.sql(COUNTS, warned.id)) == [("v", "out_of_range", 2)]


async def test_usual_values_are_answered_without_a_header(call: Caller, warned: Api) -> None:
    answer = await call(warned, body=b'{"rows": [{"v": 1}]}')

    assert "x-prediction-warnings" not in answer.headers


async def test_a_large_body_is_warned_of_too(rows: Seeder, call: Caller, warned: Api) -> None:
    large = json.dumps({"rows": [{"v": 11.0}] * 9000}).encode()

    answer = await call(warned, body=large)

    assert (answer.status, answer.headers["x-prediction-warnings"]) == (200, "9000")
    assert len(answer.json["warnings"]) == 100
    assert await until(lambda: rows.sql(COUNTS, warned.id)) == [("v", "out_of_range", 9000)]


@pytest.mark.parametrize("n_rows", [1, 9000])
async def test_what_hides_the_schema_hides_it_in_warnings(
    rows: Seeder, worker: Worker, call: Caller, n_rows: int
) -> None:
    api = rows.api(ranged())
    api.set(hides_schema=True)
    await loaded(worker, api)
    await until(lambda: (route := worker.table.get(api.id)) is not None and route.hides_schema)

    answer = await call(api, body=json.dumps({"rows": [{"v": 11.0}] * n_rows}).encode())

    assert answer.headers["x-prediction-warnings"] == str(n_rows)
    assert answer.json["warnings"][0] == {"row": 1, "code": "out_of_range"}


@pytest.mark.parametrize("n_rows", [1, 9000])
@pytest.mark.parametrize("hides", [True, False], ids=["hidden", "shown"])
async def test_requests_in_progress_obey_the_present_setting(
    rows: Seeder, worker: Worker, n_rows: int, hides: bool
) -> None:
    api = rows.api(ranged())
    api.set(hides_schema=not hides)
    await loaded(worker, api)

    async def change() -> None:
        revision = api.set(hides_schema=hides)
        await until(lambda: worker.table.revision >= revision)

    def body(cell: Any) -> bytes:
        return json.dumps({"rows": [{"v": cell}] * n_rows}).encode()

    warned = await Caller(worker, slow_body=change)(api, body=body(11.0))
    api.set(hides_schema=not hides)
    await loaded(worker, api)
    refused = await Caller(worker, slow_body=change)(api, body=body("x"))

    assert (warned.status, refused.status) == (200, 422)
    assert int(warned.headers["content-length"]) == len(warned.body)
    assert ("column" not in warned.json["warnings"][0]) is hides
    assert ("errors" not in refused.json) is hides


async def test_white_space_around_a_key_is_no_part_of_it(call: Caller, warned: Api) -> None:
    key = warned.headers["x-api-key"]

    padded = await call(warned, headers=warned.headers | {"x-api-key": f" \t{key} "})
    twice = await call(warned, lines=[(b"x-api-key", f"{key} ".encode())])

    assert (padded.status, twice.status) == (200, 200)


# --- the counter -----------------------------------------------------------------------------------------------------


async def test_counts_add_up_by_day_and_old_days_are_forgotten(rows: Seeder, database: Database) -> None:
    now = [DAY.timestamp()]
    first, second = (InputWarnings(ZoneInfo("Asia/Tokyo"), now=lambda: now[0]) for _ in range(2))
    first.note("a" * 16, [("v", "out_of_range", 2), ("w", "unknown_category", 1)])
    second.note("a" * 16, [("v", "out_of_range", 3)])
    await first.write_out(database)
    await second.write_out(database)
    await first.write_out(database)
    found = rows.sql(COUNTS, "a" * 16)
    now[0] += 40 * 86400
    first.note("a" * 16, [("v", "out_of_range", 1)])
    await first.write_out(database)

    assert found == [("v", "out_of_range", 5), ("w", "unknown_category", 1)]
    assert rows.sql("SELECT day, count FROM apimgmt_inputwarning") == [(datetime.date(2027, 1, 9), 1)]


async def test_what_could_not_be_written_waits_within_bounds(
    rows: Seeder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_warnings, "MOST_KEYS", 2)
    counter = InputWarnings(ZoneInfo("UTC"))
    away = Database(lambda: "postgresql://nobody@127.0.0.1:1/none")
    counter.note("b" * 16, [("a", "out_of_range", 1)])

    with pytest.raises(DatabaseAway):
        await counter.write_out(away)
    counter.note("b" * 16, [("a", "out_of_range", 1), ("b\0" * 300, "out_of_range", 1), ("c", "out_of_range", 1)])
    await counter.write_out(database)

    (first, *rest) = rows.sql(COUNTS, "b" * 16)
    assert first == ("a", "out_of_range", 2)
    assert [len(row[0]) for row in rest] == [200]
