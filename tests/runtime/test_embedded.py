"""The embedded servers: private, durable, and back after anything that killed them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from contract.connections import NotRunning, broker_url, database_url, embedded_file
from contract.settings import PROJECT_DIR, Settings, read_settings
from runtime import processes
from runtime.embedded import EmbeddedServers

pytestmark = pytest.mark.long  # servers that are started, killed and waited for

START_AND_WAIT = """
import sys, time
from runtime.embedded import EmbeddedServers
from contract.settings import read_settings
servers = EmbeddedServers(read_settings({"VAR_DIR": sys.argv[1]}), print)
servers.start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def env(tmp_path: Path) -> Settings:
    return read_settings({"VAR_DIR": str(tmp_path / "var")})


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def servers(env: Settings, said: list[str]) -> Iterator[EmbeddedServers]:
    made = EmbeddedServers(env, said.append)
    yield made
    made.stop()


def database_pids(env: Settings) -> list[int]:
    return [int((env.var_dir / "postgres" / "postmaster.pid").read_text().split()[0])]


def broker_pids(env: Settings) -> list[int]:
    return [int((env.var_dir / "run" / "valkey.pid").read_text())]


def write_something(env: Settings) -> None:
    with psycopg.connect(database_url(env)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")


def rows_kept(env: Settings) -> int:
    with psycopg.connect(database_url(env)) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    return row[0] if row else 0


def test_data_and_ports_stay_over_a_restart_and_nothing_runs_after_a_stop(env: Settings, servers: EmbeddedServers):
    servers.start()
    write_something(env)
    with redis.Redis.from_url(broker_url(env)) as client:
        client.set("kept", "yes")
    addresses = (database_url(env), broker_url(env))
    pids = database_pids(env) + broker_pids(env)

    servers.stop()
    assert not any(processes.is_alive(pid) for pid in pids)
    with pytest.raises(NotRunning):
        database_url(env)

    servers.start()
    assert (database_url(env), broker_url(env)) == addresses
    assert rows_kept(env) == 1
    with redis.Redis.from_url(broker_url(env)) as client:
        assert client.get("kept") == b"yes"


def test_nobody_gets_in_without_the_password_and_ours_is_no_superuser(env: Settings, servers: EmbeddedServers):
    servers.start()

    for wrong in (
        database_url(env).replace("://console:", "://console:x"),
        database_url(env).replace("console:", "postgres:"),
    ):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
    with (
        redis.Redis.from_url(broker_url(env).partition("@")[2].join(["redis://", ""])) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()
    with psycopg.connect(database_url(env)) as connection:
        assert connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (False,)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'console'").fetchone() in {
            ("C.UTF-8",),
            ("C",),
        }


def test_what_is_written_down_is_for_the_owner_only(env: Settings, servers: EmbeddedServers):
    servers.start()

    assert env.var_dir.stat().st_mode & 0o777 == 0o700
    for private in (embedded_file(env), env.var_dir / "run" / "valkey.conf", *env.secrets_dir.iterdir()):
        assert private.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    for secret in env.secrets_dir.iterdir():
        assert secret.read_text().strip() not in listed


def test_a_start_after_kill_9_of_both_servers_has_all_rows(env: Settings, servers: EmbeddedServers, said: list[str]):
    servers.start()
    write_something(env)
    for pid in database_pids(env) + broker_pids(env):
        os.kill(pid, signal.SIGKILL)

    assert processes.wait_until(lambda: not any(server.is_running() for server in servers.servers), 30)
    moved = servers.restart_dead()

    assert rows_kept(env) == 1
    assert not moved
    assert said == [f"{name} stopped unexpectedly: restarting it." for name in ("postgres", "valkey")]


def test_servers_go_down_cleanly_when_their_supervisor_is_killed(env: Settings, servers: EmbeddedServers):
    supervisor = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, str(env.var_dir)], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "started\n"
    write_something(env)
    pids = database_pids(env) + broker_pids(env)

    supervisor.kill()
    supervisor.communicate()
    servers.start()

    assert not any(processes.is_alive(pid) for pid in pids)
    assert rows_kept(env) == 1
    assert "was not properly shut down" not in (env.log_dir / "postgres.log").read_text()


def test_servers_that_outlived_their_supervisor_are_stopped_first(
    env: Settings, servers: EmbeddedServers, said: list[str]
):
    others = EmbeddedServers(env, said.append)
    others.start()
    write_something(env)
    pids = database_pids(env) + broker_pids(env)

    servers.start()

    assert [text.partition(" of an earlier run")[0] for text in said] == ["postgres", "valkey"]
    assert not any(processes.is_alive(pid) for pid in pids)
    assert rows_kept(env) == 1
    others.stop()  # reaps its children; the addresses are those of the running ones, which the fixture stops


def test_a_pid_file_that_names_a_strangers_process_is_no_obstacle(env: Settings, servers: EmbeddedServers):
    servers.start()
    servers.stop()
    (env.var_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{env.var_dir}\n")
    (env.var_dir / "run" / "valkey.pid").write_text(f"{os.getpid()}\n")

    servers.start()

    assert database_pids(env) != [os.getpid()]


def test_a_half_made_database_folder_is_made_anew(env: Settings, servers: EmbeddedServers):
    servers.start()
    servers.stop()
    made = env.var_dir / "postgres"
    (made / "PG_VERSION").unlink()
    made.rename(made.with_name("moved"))

    servers.start()

    with psycopg.connect(database_url(env)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_damaged_broker_file_is_put_aside(env: Settings, servers: EmbeddedServers, said: list[str]):
    servers.start()
    servers.stop()
    manifest = env.var_dir / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("nonsense\n")

    servers.start()

    assert "moved to" in said[-1]
    with redis.Redis.from_url(broker_url(env)) as client:
        assert client.ping()


def test_data_of_another_postgresql_version_is_refused_in_words(env: Settings, servers: EmbeddedServers):
    from runtime.programs import EmbeddedError

    servers.start()
    servers.stop()
    (env.var_dir / "postgres" / "PG_VERSION").write_text("9\n")

    with pytest.raises(EmbeddedError, match="written by PostgreSQL 9"):
        servers.start()


def test_a_server_that_the_environment_names_is_not_started(tmp_path: Path):
    env = read_settings({"VAR_DIR": str(tmp_path), "DATABASE_URL": "postgres://a/b"})

    assert [server.name for server in EmbeddedServers(env, print).servers] == ["valkey"]
