"""Keeping in step: starting, changes, restores, dismissal, and what is confirmed when."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

import pytest

from contract.settings import Settings
from gateway.db.connection import Database
from gateway.db.statements.routes import RouteRead, RouteRow
from gateway.models import loader
from gateway.processes.channel import EXIT_MISCONFIGURED
from gateway.processes.worker import Worker
from gateway.routing import follower
from gateway.routing.routes import RouteTable
from gateway.usage.recovery import recover_orphans
from inference.predictor import ModelLoadError
from tests.gateway.serving import Caller, Seeder, loaded, running_worker, until
from tests.model_files import cancer, penguins


async def test_a_worker_counts_from_its_row_on_and_has_applied_before_it_serves(
    gateway_env: Settings, rows: Seeder
) -> None:
    api = rows.api(cancer())
    async with running_worker(gateway_env) as worker:
        assert rows.workers()[worker.identity.id][1] == rows.revision
        assert worker.lease.is_valid
        await until(lambda: rows.workers()[worker.identity.id][0] == "serving")
        assert worker.table.get(api.id) is not None


async def test_a_change_is_applied_and_acknowledged_at_once(
    rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By NOTIFY: no heartbeat comes here that would find the change without it."""
    monkeypatch.setattr(follower, "HEARTBEAT_S", 3600.0)
    api = rows.api(cancer())
    await loaded(worker, api)

    for target in ("stopped", "operating") * 5:
        revision = api.set(target=target)
        await until(lambda: rows.workers()[worker.identity.id][1] >= revision)  # noqa: B023


async def test_without_notify_a_heartbeat_finds_the_change(rows: Seeder, worker: Worker) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)
    rows.sql(
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('apimgmt_next_revision'::regproc),"
        " 'PERFORM pg_notify(''gateway_route'', '''');', ''); END $$"
    )

    revision = api.set(target="stopped")

    await until(lambda: worker.table.revision >= revision)


async def test_applying_never_waits_for_loading(rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes its time holds up no Stop, and is not said to be loaded before it is."""
    load = loader.place

    may_load = threading.Event()

    def slowly(*arguments: object) -> object:
        may_load.wait(120)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "place", slowly)
    api = rows.api(cancer())
    revision = rows.revision
    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)
    is_told_early = rows.sql("SELECT 1 FROM apimgmt_modelload") != []
    may_load.set()
    await until(lambda: rows.sql("SELECT is_loaded FROM apimgmt_modelload WHERE api_id = %s", api.id) == [(True,)])

    assert not is_told_early


async def test_a_candidate_is_loaded_beside_the_served_version(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)
    model_id = rows.one("SELECT model_id FROM apimgmt_predictionapi WHERE id = %s", api.id)
    _, candidate = rows.version(cancer("columns"), model_id=model_id, number=2)

    api.set(candidate_id=candidate)
    await until(
        lambda: rows.sql("SELECT is_loaded FROM apimgmt_modelload WHERE version_id = %s", candidate) == [(True,)]
    )
    before = await call(api)
    revision = api.set(version_id=candidate, candidate_id=None)
    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)
    after = await call(api)

    assert (before.headers["x-model-version"], after.headers["x-model-version"]) == ("1", "2")
    assert rows.sql("SELECT version_id FROM apimgmt_modelload") == [(candidate,)]


async def test_a_stop_takes_the_word_loaded_back_together_with_its_revision(rows: Seeder, worker: Worker) -> None:
    """Else a later Start would be confirmed by what was loaded before the Stop."""
    api = rows.api(cancer())
    await until(lambda: rows.sql("SELECT 1 FROM apimgmt_modelload") != [])

    revision = api.set(target="stopped")
    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)

    assert rows.sql("SELECT 1 FROM apimgmt_modelload") == []
    route = worker.table.get(api.id)
    assert route is not None
    assert route.state.models == {}


async def test_a_failed_load_is_told_and_a_repaired_description_is_tried(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    spec, content = cancer()
    api = rows.api((spec, content))
    await loaded(worker, api)
    good = rows.one("SELECT spec::text FROM apimgmt_modelversion WHERE id = %s", api.version_id)
    rows.sql("UPDATE apimgmt_modelversion SET spec = '{}' WHERE id = %s", api.version_id)
    await until(lambda: rows.sql("SELECT is_loaded FROM apimgmt_modelload") == [(False,)])

    broken = await call(api)
    rows.sql("UPDATE apimgmt_modelversion SET spec = %s::jsonb WHERE id = %s", good, api.version_id)
    await until(lambda: rows.sql("SELECT is_loaded FROM apimgmt_modelload") == [(True,)])

    assert broken.code == "model_failed"
    assert (await call(api)).status == 200


async def test_a_message_that_is_no_text_keeps_no_worker_out_of_reach(
    rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries quote damaged files: PostgreSQL takes neither a zero byte nor half a character."""

    def fail(*arguments: object) -> object:
        raise ModelLoadError("it begins with \0\udcff")

    monkeypatch.setattr(loader, "place", fail)
    rows.api(cancer())
    await until(lambda: rows.sql("SELECT error FROM apimgmt_modelload") == [("it begins with \ufffd?",)])
    revision = rows.api(penguins()).set(target="stopped")

    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)


async def test_what_the_database_refuses_is_not_said_for_ever(
    rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.sql("ALTER TABLE apimgmt_modelload ADD CONSTRAINT no_errors CHECK (error = '')")

    def fail(*arguments: object) -> object:
        raise ModelLoadError("no")

    monkeypatch.setattr(loader, "place", fail)
    revision = rows.api(cancer()).set(target="stopped")

    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)


async def test_a_restored_database_is_read_in_full(rows: Seeder, worker: Worker, call: Caller) -> None:
    """A backup, so its epoch and a lower revision, in which an API was still stopped and another did not exist."""
    old = rows.api(cancer())
    await loaded(worker, old)
    backup_revision = rows.revision
    new = rows.api(penguins())
    await loaded(worker, new)
    assert worker.table.revision > backup_revision

    rows.sql("ALTER TABLE apimgmt_predictionapi DISABLE TRIGGER USER")
    rows.sql("UPDATE apimgmt_predictionapi SET target = 'stopped' WHERE id = %s", old.id)
    rows.sql("DELETE FROM apimgmt_whitelistentry WHERE api_id = %s", new.id)
    rows.sql("DELETE FROM apimgmt_predictionapi WHERE id = %s", new.id)
    rows.sql("UPDATE apimgmt_installation SET revision = %s", backup_revision)
    await until(lambda: worker.table.revision == backup_revision)
    await until(lambda: rows.workers()[worker.identity.id][1] == backup_revision)

    assert (await call(old)).code == "api_stopped"
    assert (await call(new)).code == "unknown_api"


async def test_another_epoch_alone_is_read_in_full(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)

    rows.sql("ALTER TABLE apimgmt_predictionapi DISABLE TRIGGER USER")
    rows.sql("UPDATE apimgmt_predictionapi SET target = 'stopped'")
    rows.sql("UPDATE apimgmt_installation SET epoch = gen_random_uuid()")
    epoch = rows.one("SELECT epoch FROM apimgmt_installation")
    await until(lambda: rows.one("SELECT epoch FROM apimgmt_gatewayworker") == epoch)

    assert (await call(api)).code == "api_stopped"


async def test_a_revision_that_is_given_out_again_is_another_one(rows: Seeder, worker: Worker, call: Caller) -> None:
    """Restored to an older backup and changed since, an API's row has the number it had before, with other rules."""
    api = rows.api(cancer())
    await loaded(worker, api)
    rows.api(penguins())
    revision = rows.revision
    await until(lambda: worker.table.revision == revision)

    rows.sql("ALTER TABLE apimgmt_predictionapi DISABLE TRIGGER USER")
    rows.sql("UPDATE apimgmt_predictionapi SET target = 'stopped' WHERE id = %s", api.id)
    rows.sql("UPDATE apimgmt_installation SET revision = revision - 1")
    await until(lambda: worker.table.revision == revision - 1)

    assert (await call(api)).code == "api_stopped"


async def test_a_dismissed_worker_stops_serving_and_ends(rows: Seeder, worker: Worker, call: Caller) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)

    rows.sql("UPDATE apimgmt_gatewayworker SET gone_at = now(), gone_reason = 'dismissed'")
    await until(worker.stopping.is_set)

    assert (await call(api)).code == "catching_up"


async def test_another_time_zone_refuses_to_start(gateway_env: Settings, rows: Seeder) -> None:
    async with running_worker(replace(gateway_env, time_zone="Asia/Tokyo"), in_step=False) as worker:
        await until(worker.stopping.is_set)

        assert worker.exit_code == EXIT_MISCONFIGURED
        assert not worker.lease.is_valid


async def test_a_missing_view_is_waited_for(gateway_env: Settings, rows: Seeder) -> None:
    view = rows.one("SELECT pg_get_viewdef('gateway_route_v2'::regclass)")
    rows.sql("DROP VIEW gateway_route_v2")
    async with running_worker(gateway_env, in_step=False) as worker:
        await until(lambda: worker.follower._obstacle)  # it has looked, and found no view
        refused = await Caller(worker)("/readyz", method="GET")
        rows.sql(f"CREATE VIEW gateway_route_v2 AS {view}")
        await until(lambda: worker.lease.is_valid)

    assert refused.status == 503


async def test_a_worker_that_starts_without_the_database_catches_up(gateway_env: Settings, rows: Seeder) -> None:
    api = rows.api(cancer())
    async with running_worker(replace(gateway_env, database_url="postgresql://127.0.0.1:1/x"), in_step=False) as worker:
        await until(lambda: worker.follower._obstacle)  # it has tried, and reached nobody
        refused = await Caller(worker)(api)
        worker.database._find_url = lambda: rows.url
        await until(lambda: worker.lease.is_valid)
        answered = await Caller(worker)(api)

    assert (refused.status, refused.code) == (503, "catching_up")
    assert answered.status == 200


async def test_when_the_lease_ends_nothing_is_served(gateway_env: Settings, rows: Seeder) -> None:
    async with running_worker(replace(gateway_env, gateway_lease_s=2)) as worker:
        api = rows.api(cancer())
        await loaded(worker, api)
        call = Caller(worker)
        assert (await call(api)).status == 200
        leased = rows.one("SELECT extract(epoch FROM lease_until - heartbeat_at) FROM apimgmt_gatewayworker")
        worker.database._find_url = lambda: "postgresql://127.0.0.1:1/nothing"
        rows.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

        still = await call(api)
        await until(lambda: not worker.lease.is_valid)
        ended = await call(api)
        worker.database._find_url = lambda: rows.url
        await until(lambda: worker.lease.is_valid)

        assert float(leased) == pytest.approx(2.0, abs=0.01)
        assert still.status == 200
        assert ended.code == "catching_up"
        assert (await call(api)).status == 200


async def test_without_a_lease_the_last_rules_stay_in_force_while_the_database_is_away(
    rows: Seeder, worker: Worker, call: Caller
) -> None:
    api = rows.api(cancer())
    await loaded(worker, api)
    worker.database._find_url = lambda: "postgresql://127.0.0.1:1/nothing"
    rows.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await until(lambda: worker.follower._obstacle)

    answers = [await call(api) for _ in range(5)]
    worker.database._find_url = lambda: rows.url
    await until(lambda: rows.counts(api.id) == (5, 0, 0))
    revision = api.set(target="stopped")
    await until(lambda: rows.workers()[worker.identity.id][1] >= revision)

    assert {answer.status for answer in answers} == {200}


async def test_a_thousand_apis_are_applied_with_one_read(
    rows: Seeder, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = rows.api(cancer())
    rows.sql(
        "INSERT INTO apimgmt_model (workspace_id, name, created_at, created_by)"
        " SELECT (SELECT min(id) FROM apimgmt_workspace), 'm' || n, now(), 't' FROM generate_series(1, 1000) n"
    )
    rows.sql(
        "INSERT INTO apimgmt_predictionapi (id, model_id, type, status, target, is_locked, version_id, key_digest,"
        " revision, status_since, created_at, created_by)"
        " SELECT substr(md5(m.id::text), 1, 16), m.id, 'official', 'stopped', 'stopped', false, %s, %s,"
        " 0, now(), now(), 't' FROM apimgmt_model m WHERE m.name <> 'm'",
        *(template.version_id, b"\1" * 32),
    )
    await until(lambda: worker.table.revision >= rows.revision)

    reads = []
    read_routes = follower.read_routes

    async def counted(*arguments: object) -> RouteRead:
        read = await read_routes(*arguments)  # type: ignore[arg-type]
        reads.append(len(read.rows))
        return read

    monkeypatch.setattr(follower, "read_routes", counted)
    worker.lease.lose_step()
    await until(lambda: worker.lease.is_valid)

    assert len(worker.table) == 1001
    assert [number for number in reads if number] == [1001]


def test_what_asks_for_a_read_and_for_a_full_one() -> None:
    table = RouteTable(lambda *_: pytest.fail("no trial here"))
    epoch = uuid.uuid4()
    table.apply(RouteRead(epoch, 3, "UTC", []), is_full=True)

    assert not table.is_behind(epoch, 3)
    assert table.is_behind(epoch, 4)
    assert not table.needs_full_read(epoch, 4)
    assert table.needs_full_read(epoch, 2)
    assert table.needs_full_read(uuid.uuid4(), 4)


def a_table_at_1000(api_id: str, restored: list[bool]) -> tuple[RouteTable, uuid.UUID]:
    """One operating API, whose row has the revision 950."""
    table = RouteTable(lambda *_: pytest.fail("no trial here"), lambda: restored.append(True))
    epoch = uuid.uuid4()
    table.apply(RouteRead(epoch, 1000, "UTC", [route_row(api_id, "operating")]), is_full=True)
    return table, epoch


def route_row(api_id: str, target: str) -> RouteRow:
    return RouteRow(api_id, 950, target, "official", b"\1" * 32, 1, None, None, [], None, "", False, False, None)


@pytest.mark.parametrize("revision", [960, 1000, 1040])
def test_a_full_read_keeps_no_route_for_its_number(revision: int) -> None:
    """The backup was of 900; since then the changes have reached 960, or passed us while we slept."""
    restored: list[bool] = []
    table, epoch = a_table_at_1000("a" * 16, restored)

    table.apply(RouteRead(epoch, revision, "UTC", [route_row("a" * 16, "stopped")]), is_full=True)

    route = table.get("a" * 16)
    assert route is not None
    assert (route.target, route.refusal) == ("stopped", "api_stopped")
    assert restored == [True] * (revision < 1000)


async def test_a_dead_worker_whose_ledger_can_t_be_read_is_found_to_be_gone(
    gateway_env: Settings, rows: Seeder
) -> None:
    """It died before its first write-out, so that only its own row can say whose ledger that was."""
    async with running_worker(gateway_env) as worker:
        [name] = worker.ledgers.names
    path = worker.ledgers.directory / f"{name}.ledger"
    path.write_bytes(b"\0" * path.stat().st_size)
    database = Database(lambda: rows.url)

    await recover_orphans(worker.ledgers.directory, set(), database)

    await database.close()
    assert rows.workers()[worker.identity.id][2] == "adopted"
    assert rows.one("SELECT state FROM apimgmt_ledger") == "closed"
