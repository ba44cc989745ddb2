"""Counting: the file, its lock, its way into the database, and who takes it over."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.db.connection import Database, DatabaseAway
from gateway.db.statements.ledgers import CellCount, LedgerClosed, close_ledger, write_counts
from gateway.usage.ledger import COUNT_4XX, COUNT_5XX, COUNT_200, Cell, LedgerSet
from gateway.usage.ledger_file import FILE_BYTES, LedgerFile
from gateway.usage.ledger_format import READERS
from gateway.usage.ledger_format.contents import Damaged, LedgerContents
from gateway.usage.ledger_format.v1 import CELL_BYTES, CELLS, HEADER_BYTES
from gateway.usage.orphan_file import take_orphan
from gateway.usage.recovery import recover_orphans
from tests.gateway.serving import Seeder, until

API, OTHER = "a" * 16, "b" * 16
DAY = date(2026, 11, 23)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "ledgers"
    made.mkdir()
    return made


class Clock:
    """The wall clock of a set of ledgers."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-11-23T12:00:00")


@pytest.fixture
def ledgers(folder: Path, clock: Clock) -> LedgerSet:
    return LedgerSet(folder, "w" * 32, ZoneInfo("Europe/Berlin"), now=clock)


@pytest.fixture
async def database(rows: Seeder) -> AsyncIterator[Database]:
    made = Database(lambda: rows.url)
    yield made
    await made.close()


def count(ledgers: LedgerSet, api_id: str = API, kind: int = COUNT_200, times: int = 1) -> Cell:
    cell = ledgers.cell(api_id)
    assert cell is not None
    cell.counts[cell.index + kind] += times
    return cell


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def states(rows: Seeder) -> list[str]:
    return [row[0] for row in rows.sql("SELECT state FROM apimgmt_ledger ORDER BY id")]


# --- the file ---


def test_a_file_is_allocated_and_locked_and_tells_its_counts(folder: Path) -> None:
    ledger = LedgerFile(folder, "w" * 32)
    cell = ledger.add_cell(API, DAY)
    assert cell is not None
    ledger.counts[cell + COUNT_200] += 3
    ledger.counts[cell + COUNT_5XX] += 1

    assert [path.name for path in folder.iterdir()] == [f"{ledger.name}.ledger"]
    assert ledger.path.stat().st_blocks * 512 >= FILE_BYTES
    assert take_orphan(ledger.path) is None
    ledger.release()
    found = take_orphan(ledger.path)
    assert found is not None
    assert found.read() == LedgerContents("w" * 32, (CellCount(API, DAY, 3, 0, 1),), ())
    found.close()


def test_a_file_is_allocated_where_the_system_has_no_call_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")

    ledger = LedgerFile(folder, "w" * 32)

    assert ledger.path.stat().st_blocks * 512 >= FILE_BYTES
    assert ledger.path.stat().st_size == FILE_BYTES
    ledger.release()


def test_a_full_file_has_no_cell(folder: Path) -> None:
    ledger = LedgerFile(folder, "w")

    cells = [ledger.add_cell(API, DAY) for _ in range(CELLS + 1)]

    assert cells[-1] is None
    assert len(set(cells[:-1])) == CELLS
    ledger.release()


def test_the_lock_does_not_outlive_its_owner_in_a_child(folder: Path) -> None:
    """A child that inherited the file descriptor would keep the lock, and the ledger would never be recovered."""
    program = (
        "import subprocess, sys, pathlib; from gateway.usage.ledger_file import LedgerFile;"
        f"ledger = LedgerFile(pathlib.Path({str(folder)!r}), 'w' * 32);"
        "child = subprocess.Popen(['sleep', '60'], stdin=-3, stdout=-3); print(ledger.name, child.pid, flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        name, child = owner.stdout.readline().split()
        owner.kill()

    found = take_orphan(folder / f"{name}.ledger")

    os.kill(int(child), 9)
    assert found is not None
    found.close()


def test_a_path_that_names_another_file_by_now_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between an recoverer's open and its lock another one has finished the file."""
    ledger = LedgerFile(folder, "w")
    path = ledger.path
    ledger.release()
    lock = fcntl.flock

    def finish_first(fd: int, how: int) -> None:
        path.unlink()
        lock(fd, how)

    monkeypatch.setattr(fcntl, "flock", finish_first)

    assert take_orphan(path) is None


@pytest.mark.parametrize(
    ("offset", "data", "reason"),
    [
        (0, b"OTHER", "does not begin"),
        (8, b"\x02", "format 2"),
        (30, b"x", "checksum"),
        (HEADER_BYTES, b"????", "readable label"),
        (HEADER_BYTES + 16, b"\xff" * 8, "readable label"),
        (HEADER_BYTES + 31, b"\xff", "impossible"),
        (HEADER_BYTES + CELL_BYTES + 24, b"\x01", "without a day"),
    ],
)
def test_damage_is_noticed_and_the_rest_is_read(folder: Path, offset: int, data: bytes, reason: str) -> None:
    ledger = LedgerFile(folder, "w" * 32)
    ledger.add_cell(API, DAY)
    path = ledger.path
    ledger.release()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)

    found = take_orphan(path)
    assert found is not None
    with pytest.raises(Damaged, match=reason):
        found.read()

    found.close()


@pytest.mark.parametrize("size", [0, 50, HEADER_BYTES, HEADER_BYTES + CELL_BYTES + 7, FILE_BYTES - 1, FILE_BYTES + 1])
def test_a_file_of_another_size_is_damaged(folder: Path, size: int) -> None:
    ledger = LedgerFile(folder, "w" * 32)
    ledger.add_cell(API, DAY)
    path = ledger.path
    ledger.release()
    os.truncate(path, size)

    found = take_orphan(path)
    assert found is not None
    with pytest.raises(Damaged) as damage:
        found.read()

    found.close()
    assert len(damage.value.counts) == (1 if size > HEADER_BYTES else 0)


# A file of version 1 as a release left it: two cells, and a worker that ended while it computed one model and loaded
# another. What is not given is zero.
V1_NAME, V1_SIZE = "0123456789abcdef" * 2, 262_144
V1_PARTS = {
    0: "50414b4c454447520100000040000000c00f0000"
    "3031323334353637383961626364656630313233343536373839616263646566"
    "6665656463306465666565646330646566656564633064656665656463306465072b67c6",
    128: "0b02000000000000616263646566676830313233343536376300000000000000",
    4096: "61626364656667683031323334353637674a0b000000000043420f00000000002a00000000000000",
    4160: "7a797877767574733736353433323130684a0b0000000000000000000000000000000000000000000700000000000000",
}


def test_what_a_release_with_version_1_left_is_read(folder: Path) -> None:
    data = bytearray(V1_SIZE)
    for offset, part in V1_PARTS.items():
        data[offset : offset + len(part) // 2] = bytes.fromhex(part)
    path = folder / f"{V1_NAME}.ledger"
    path.write_bytes(data)

    found = take_orphan(path)
    assert found is not None
    contents = found.read()

    found.close()
    first, second = "abcdefgh01234567", "zyxwvuts76543210"
    assert contents == LedgerContents(
        "feedc0de" * 4,
        (
            CellCount(first, date(2026, 11, 23), 1_000_003, 42, 0),
            CellCount(second, date(2026, 11, 24), 0, 0, 7),
        ),
        ((second, None), (first, 99)),
    )


def test_each_version_has_its_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the release after the next one sees it: its own version beside the one that is written today."""
    contents = LedgerContents("w" * 32, (), ())
    monkeypatch.setitem(READERS, 7, lambda data, name: contents)
    (folder / f"{V1_NAME}.ledger").write_bytes(b"PAKLEDGR\x07\0\0\0 and what it likes")

    found = take_orphan(folder / f"{V1_NAME}.ledger")
    assert found is not None
    read = found.read()

    found.close()
    assert read is contents


def test_a_label_without_a_day_was_never_counted_in(folder: Path) -> None:
    """Killed between the two parts of a label: the cell does not exist yet."""
    ledger = LedgerFile(folder, "w" * 32)
    path = ledger.path
    ledger.release()
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES)
        file.write(API.encode())

    found = take_orphan(path)
    assert found is not None
    assert found.read() == LedgerContents("w" * 32, (), ())
    found.close()


# --- all ledgers of a worker ---


async def test_write_outs_are_absolute_and_may_be_repeated(
    ledgers: LedgerSet, database: Database, rows: Seeder
) -> None:
    count(ledgers, times=2)
    count(ledgers, kind=COUNT_4XX)
    count(ledgers, OTHER, COUNT_5XX)

    await ledgers.write_out(database)
    ledgers.forget_written()  # as if the answer to the commit had been lost
    await ledgers.write_out(database)
    count(ledgers)
    await ledgers.write_out(database)

    assert rows.counts(API) == (3, 1, 0)
    assert rows.counts(OTHER) == (0, 0, 1)
    assert rows.one("SELECT count(*) FROM apimgmt_requeststat") == 2
    assert rows.one("SELECT day FROM apimgmt_requeststat LIMIT 1") == DAY
    ledgers.release()


async def test_what_the_database_does_not_have_yet_is_known(ledgers: LedgerSet, database: Database) -> None:
    count(ledgers, times=3)
    count(ledgers, kind=COUNT_5XX)
    before = ledgers.counts_waiting
    await ledgers.write_out(database)
    after = ledgers.counts_waiting
    count(ledgers, "b" * 16, times=2)

    assert (before, after, ledgers.counts_waiting) == (4, 0, 2)
    ledgers.release()


async def test_days_are_those_of_the_installation(
    ledgers: LedgerSet, database: Database, rows: Seeder, clock: Clock
) -> None:
    clock.set("2026-11-23T22:59:59")
    count(ledgers)
    clock.set("2026-11-23T23:00:00")  # midnight in Berlin
    count(ledgers)

    await ledgers.write_out(database)

    assert rows.sql("SELECT day, count_200 FROM apimgmt_requeststat ORDER BY day") == [
        (date(2026, 11, 23), 1),
        (date(2026, 11, 24), 1),
    ]
    ledgers.release()


async def test_yesterdays_ledger_is_closed_once_no_request_will_count_in_it(
    ledgers: LedgerSet, database: Database, rows: Seeder, clock: Clock, folder: Path
) -> None:
    yesterday = count(ledgers)
    yesterday.ledger.in_use = 1
    clock.set("2026-11-24T12:00:00")
    count(ledgers)

    await ledgers.write_out(database)
    still_open = states(rows)
    yesterday.counts[yesterday.index] += 1
    yesterday.ledger.in_use = 0
    await ledgers.write_out(database)

    assert still_open == ["open", "open"]
    assert states(rows) == ["closed", "open"]
    assert rows.counts(API) == (3, 0, 0)
    assert len(files(folder)) == 1
    ledgers.release()


def test_a_full_ledger_is_followed_by_another(ledgers: LedgerSet, folder: Path) -> None:
    for number in range(CELLS + 5):
        assert ledgers.cell(f"{number:016d}") is not None

    assert len(list(folder.iterdir())) == 2
    ledgers.release()


def test_without_room_for_a_file_there_is_no_cell(ledgers: LedgerSet, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(CELLS):
        ledgers.cell(f"{number:016d}")
    known = ledgers.cell("0" * 16)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    assert ledgers.cell(API) is None
    assert ledgers.cell("0" * 16) is known
    assert not list(ledgers.directory.glob("*.draft"))
    monkeypatch.undo()
    assert ledgers.cell(API) is not None
    ledgers.release()


def test_at_midnight_on_a_full_disk_the_old_file_takes_the_new_day(
    ledgers: LedgerSet, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday = count(ledgers)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    clock.set("2026-11-24T12:00:00")
    today = ledgers.cell(API)

    assert today is not None
    assert today.ledger is yesterday.ledger
    assert today.index != yesterday.index
    ledgers.release()


async def test_leaving_closes_everything_in_one_transaction(
    ledgers: LedgerSet, database: Database, rows: Seeder
) -> None:
    rows.sql(
        "INSERT INTO apimgmt_gatewayworker (id, host, pid, slot, port, state, applied_revision, started_at,"
        " heartbeat_at, gone_reason, dismissed_by) VALUES (%s, 'h', 1, 0, 1, 'serving', 0, now(), now(), '', '')",
        "w" * 32,
    )
    count(ledgers, times=7)

    await ledgers.close(database)

    assert rows.counts(API) == (7, 0, 0)
    assert states(rows) == ["closed"]
    assert rows.workers()["w" * 32][2] == "left"
    assert list(ledgers.directory.iterdir()) == []


async def test_without_the_database_nothing_is_lost(ledgers: LedgerSet, database: Database, rows: Seeder) -> None:
    away = Database(lambda: "postgresql://127.0.0.1:1/nothing")
    count(ledgers, times=5)

    with pytest.raises(DatabaseAway):
        await ledgers.write_out(away)
    with pytest.raises(DatabaseAway):
        await ledgers.close(away)
    ledgers.release()

    assert await recover_orphans(ledgers.directory, set(), database) == 1
    assert rows.counts(API) == (5, 0, 0)


async def test_a_ledger_that_others_closed_is_left_alone(ledgers: LedgerSet, database: Database, rows: Seeder) -> None:
    """A restored database may say so of a ledger in use: what would be written there could be counted twice."""
    count(ledgers, times=5)
    await ledgers.write_out(database)
    rows.sql("UPDATE apimgmt_ledger SET state = 'folded'")
    count(ledgers, times=2)

    await ledgers.write_out(database)
    count(ledgers)
    await ledgers.write_out(database)

    assert rows.counts(API) == (6, 0, 0)
    assert [path.suffix for path in sorted(ledgers.directory.iterdir(), key=lambda path: path.suffix)] == [
        ".ledger",
        ".quarantine",
    ]
    ledgers.release()


# --- recovery ---


async def test_recovery_writes_out_closes_and_removes(ledgers: LedgerSet, database: Database, rows: Seeder) -> None:
    count(ledgers, times=4)
    await ledgers.write_out(database)
    count(ledgers, times=3)
    ledgers.release()

    recovered = await recover_orphans(ledgers.directory, set(), database)

    assert recovered == 1
    assert rows.counts(API) == (7, 0, 0)
    assert states(rows) == ["closed"]
    assert list(ledgers.directory.iterdir()) == []


async def test_a_living_owner_and_own_files_are_left_alone(ledgers: LedgerSet, database: Database) -> None:
    count(ledgers)

    assert await recover_orphans(ledgers.directory, set(), database) == 0
    assert await recover_orphans(ledgers.directory, ledgers.names, database) == 0
    ledgers.release()


async def test_two_recoverers_count_once(folder: Path, database: Database, rows: Seeder, clock: Clock) -> None:
    for number in range(8):
        ledgers = LedgerSet(folder, f"{number:032d}", ZoneInfo("UTC"), now=clock)
        count(ledgers, times=10)
        ledgers.release()
    recoverers = [Database(lambda: rows.url) for _ in range(3)]

    recovered = await asyncio.gather(*(recover_orphans(folder, set(), recoverer) for recoverer in recoverers))

    assert sum(recovered) == 8
    assert rows.counts(API) == (80, 0, 0)
    for recoverer in recoverers:
        await recoverer.close()


async def test_killed_between_closing_and_removing(ledgers: LedgerSet, database: Database, rows: Seeder) -> None:
    """The next recoverer finds a closed, perhaps folded, ledger with a file: it only removes the file."""
    count(ledgers, times=4)
    name = next(iter(ledgers.names))
    async with database.transaction() as connection:
        await close_ledger(connection, name, "w" * 32, [CellCount(API, DAY, 4, 0, 0)])
    rows.sql("UPDATE apimgmt_requeststat SET ledger = 0")
    rows.sql("UPDATE apimgmt_ledger SET state = 'folded'")
    ledgers.release()

    assert await recover_orphans(ledgers.directory, set(), database) == 1
    assert rows.counts(API) == (4, 0, 0)
    assert list(ledgers.directory.iterdir()) == []


@pytest.mark.parametrize("size", [20, FILE_BYTES - CELL_BYTES])
async def test_a_damaged_ledger_is_kept_and_gives_nothing_back(
    ledgers: LedgerSet, database: Database, rows: Seeder, size: int
) -> None:
    count(ledgers, times=4)
    await ledgers.write_out(database)
    ledger = rows.one("SELECT id FROM apimgmt_ledger")
    rows.sql("INSERT INTO apimgmt_trialquota (api_id, request_limit, used) VALUES (%s, 10, 6)", API)
    rows.sql("INSERT INTO apimgmt_trialuse (api_id, ledger, reserved, returned) VALUES (%s, %s, 6, 0)", API, ledger)
    count(ledgers, times=1)
    path = ledgers.directory / f"{next(iter(ledgers.names))}.ledger"
    ledgers.release()
    os.truncate(path, size)

    await recover_orphans(ledgers.directory, set(), database)

    assert rows.counts(API)[0] == (4 if size == 20 else 5)
    assert states(rows) == ["closed"]
    assert rows.used(API) == 6
    assert [kept.suffix for kept in ledgers.directory.iterdir()] == [".quarantine"]
    assert await recover_orphans(ledgers.directory, set(), database) == 0


async def test_a_ledger_that_the_database_refuses_holds_up_no_other(
    folder: Path, database: Database, rows: Seeder, clock: Clock
) -> None:
    rows.sql("ALTER TABLE apimgmt_requeststat ADD CONSTRAINT seven_never CHECK (count_200 <> 7)")
    for times in (3, 7, 3):
        ledgers = LedgerSet(folder, f"{times:032d}", ZoneInfo("UTC"), now=clock)
        count(ledgers, times=times)
        ledgers.release()

    recovered = await recover_orphans(folder, set(), database)

    assert recovered == 2
    assert rows.counts(API) == (6, 0, 0)
    assert len(files(folder)) == 1


async def test_recovery_gives_back_what_was_never_answered(
    ledgers: LedgerSet, database: Database, rows: Seeder
) -> None:
    count(ledgers, times=3)
    await ledgers.write_out(database)
    ledger = rows.one("SELECT id FROM apimgmt_ledger")
    rows.sql("INSERT INTO apimgmt_trialquota (api_id, request_limit, used) VALUES (%s, 10, 9)", API)
    rows.sql("INSERT INTO apimgmt_trialuse (api_id, ledger, reserved, returned) VALUES (%s, %s, 7, 1)", API, ledger)
    count(ledgers)
    ledgers.release()

    await recover_orphans(ledgers.directory, set(), database)

    assert rows.used(API) == 9 - (7 - 1 - 4)
    assert rows.sql("SELECT reserved, returned FROM apimgmt_trialuse") == [(7, 3)]


async def test_old_drafts_go_and_young_ones_stay(folder: Path, database: Database) -> None:
    old, young = folder / f"{'0' * 32}.draft", folder / f"{'1' * 32}.draft"
    old.touch()
    young.touch()
    os.utime(old, (0, 0))

    await recover_orphans(folder, set(), database)

    assert files(folder) == [young]


async def test_a_late_write_out_waits_for_a_fold_and_finds_the_ledger_closed(
    ledgers: LedgerSet, database: Database, rows: Seeder
) -> None:
    """Without the open state, read FOR SHARE, the late upsert would bring the folded rows back: 200 instead of 100."""
    count(ledgers, times=100)
    await ledgers.write_out(database)
    name = next(iter(ledgers.names))
    async with database.transaction() as folding:
        await folding.execute("SELECT 1 FROM apimgmt_ledger WHERE name = %s FOR UPDATE", [name])

        async def write_late() -> None:
            async with database.transaction() as late:
                await write_counts(late, name, "w" * 32, [CellCount(API, DAY, 100, 0, 0)])

        writing = asyncio.create_task(write_late())
        for_a_lock = "datname = current_database() AND wait_event_type = 'Lock'"
        await until(lambda: rows.one(f"SELECT count(*) FROM pg_stat_activity WHERE {for_a_lock}") == 1)  # noqa: S608
        await folding.execute("UPDATE apimgmt_requeststat SET ledger = 0")
        await folding.execute("UPDATE apimgmt_ledger SET state = 'folded'")

    with pytest.raises(LedgerClosed):
        await writing
    assert rows.counts(API) == (100, 0, 0)
    ledgers.release()
