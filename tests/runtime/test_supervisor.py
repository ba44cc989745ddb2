"""`make run`, with a small Procfile: start, watch, stop, and every way it can be killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from contract.connections import database_url
from contract.settings import PROJECT_DIR
from runtime import processes
from tests.environment import clean_variables, unused_port
from tests.runtime.running import Run

pytestmark = pytest.mark.long  # real processes that are started, killed and waited for

PROCFILE = """
release: echo "prepared $VAR_DIR"
web: python -m http.server --bind "$BIND_ADDRESS" "$CONSOLE_PORT"
gateway: python -m http.server --bind "$BIND_ADDRESS" "$GATEWAY_PORT"
worker: python -c 'import subprocess; child = subprocess.Popen(["sleep", "500"]); print("child made"); child.wait()'
"""

STUBBORN = """\
worker: python -c 'import signal, time; signal.signal(15, signal.SIG_IGN); print("nobody stops me"); time.sleep(500)'
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start(folder: str = "one", procfile: str = PROCFILE, **variables: str) -> Run:
        started.append(Run(tmp_path / folder, procfile, **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_it_starts_says_where_and_a_stop_leaves_no_process(run: Callable[..., Run]):
    one = run().wait_for("Stop  +Ctrl-C").wait_for("child made")
    pids = one.pids()

    assert f"prepared {one.env.var_dir}" in one.output
    assert re.search(rf"Console +{one.env.console_url}", one.output)
    assert re.search(rf"Gateway +{one.env.gateway_url}", one.output)
    assert "\033" not in one.output  # it is not a terminal
    assert len(pids) >= 6  # three processes, a child, two servers

    assert one.stop() == 0
    assert not [pid for pid in pids if processes.is_alive(pid)]
    assert "Everything is stopped." in one.output
    assert "child made" in (one.env.log_dir / "worker.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_stop_it_too(run: Callable[..., Run], number: signal.Signals):
    one = run(procfile="worker: sleep 500\n").wait_for("Stop  +Ctrl-C")
    pids = one.pids()

    assert one.stop(number) == 0
    assert not [pid for pid in pids if processes.is_alive(pid)]


def test_a_process_that_dies_is_started_again_in_words(run: Callable[..., Run]):
    one = run(procfile="worker: sh -c 'echo here; sleep 1; exit 3'\n")

    one.wait_for(r"worker stopped unexpectedly \(exit code 3\): restarting it in 0.5 s")
    one.wait_for(r"restarting it in 1 s")
    assert one.output.count("| here") >= 2


def test_a_killed_database_is_started_again_at_its_address(run: Callable[..., Run]):
    one = run(procfile="worker: sleep 500\n").wait_for("Stop  +Ctrl-C")
    address = database_url(one.env)
    os.kill(one.server_pids()[0], signal.SIGKILL)

    one.wait_for("postgres stopped unexpectedly")

    assert processes.wait_until(lambda: _connects(address), 30)


def test_a_start_after_kill_9_of_everything_works_and_finds_the_data(run: Callable[..., Run]):
    one = run().wait_for("Stop  +Ctrl-C")
    with psycopg.connect(database_url(one.env)) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    one.kill_everything()

    again = run(**one.variables).wait_for("Stop  +Ctrl-C")

    with psycopg.connect(database_url(again.env)) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert again.stop() == 0


def test_processes_that_outlived_a_killed_supervisor_are_ended_first(run: Callable[..., Run]):
    one = run(procfile=STUBBORN).wait_for("Stop  +Ctrl-C").wait_for("nobody stops me")
    (left,) = processes.instance_members(one.instance)
    one.process.kill()
    one.process.wait()
    assert processes.is_alive(left)

    again = run(procfile="worker: sleep 500\n", **one.variables).wait_for("Stop  +Ctrl-C", 30)

    assert "1 process of an earlier run is still running" in again.output
    assert not processes.is_alive(left)


@pytest.mark.parametrize("variable", ["CONSOLE_PORT", "GATEWAY_PORT"])
def test_a_taken_port_is_one_clear_line(run: Callable[..., Run], variable: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        one = run(**{variable: str(port)})
        code = one.process.wait(20)

    assert code == 1
    assert one.output.startswith(f"Cannot start: port {port} on 127.0.0.1 is taken by another program")
    assert variable in one.output
    assert "Traceback" not in one.output


def test_a_second_start_with_the_same_var_dir_is_refused_and_disturbs_nothing(run: Callable[..., Run]):
    one = run(procfile="worker: sleep 500\n").wait_for("Stop  +Ctrl-C")

    two = run(VAR_DIR=str(one.env.var_dir), procfile="worker: sleep 500\n")

    assert two.process.wait(20) == 1
    assert f"is in use by another `make run` (process {one.process.pid})" in two.output
    assert one.process.poll() is None
    assert _connects(database_url(one.env))


def test_two_installations_run_side_by_side(run: Callable[..., Run]):
    one, two = run("one"), run("two")
    one.wait_for("Stop  +Ctrl-C")
    two.wait_for("Stop  +Ctrl-C")

    assert one.stop() == 0

    assert _connects(database_url(two.env))
    assert processes.instance_members(two.instance)
    assert two.stop() == 0


def test_a_stubborn_process_is_ended_by_force_after_the_grace(run: Callable[..., Run]):
    one = run(procfile=STUBBORN).wait_for("Stop  +Ctrl-C").wait_for("nobody stops me")

    one.process.send_signal(signal.SIGINT)
    one.wait_for("Stopping")
    time.sleep(0.7)  # sooner, it would count as the same Ctrl-C
    one.process.send_signal(signal.SIGINT)  # a second Ctrl-C does not wait for the 12 s

    assert one.process.wait(8) == 0
    assert "worker did not stop in time: killing it" in one.output
    assert not processes.instance_members(one.instance)


def test_a_failed_preparation_stops_the_start(run: Callable[..., Run]):
    one = run(procfile="release: sh -c 'echo no such table; exit 4'\nworker: sleep 500\n")

    assert one.process.wait(20) == 1
    assert "release | no such table" in one.output
    assert "Cannot start: the preparation failed (exit code 4)" in one.output
    assert "Traceback" not in one.output


def test_an_unreachable_database_of_the_environment_is_one_clear_line(run: Callable[..., Run]):
    one = run(DATABASE_URL=f"postgres://nobody:secret@127.0.0.1:{unused_port()}/none")

    assert one.process.wait(20) == 1
    assert "Cannot start: DATABASE_URL: " in one.output
    assert "secret" not in one.output
    assert "Traceback" not in one.output


def test_a_bad_variable_is_one_clear_line(run: Callable[..., Run], tmp_path: Path):
    with pytest.raises(Exception, match="GATEWAY_WORKERS"):
        run(GATEWAY_WORKERS="none")
    said = subprocess.run(
        [sys.executable, "-m", "runtime"],
        cwd=PROJECT_DIR,
        env=clean_variables() | {"GATEWAY_WORKERS": "none", "VAR_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 1
    assert said.stderr.startswith("Cannot start: GATEWAY_WORKERS='none': ")
    assert len(said.stderr.splitlines()) == 1


def test_a_folder_that_everybody_may_write_is_no_var_dir(run: Callable[..., Run], tmp_path: Path):
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o777)

    one = run(VAR_DIR=str(public))

    assert one.process.wait(20) == 1
    assert "can be written by everybody" in one.output
    assert not list(public.iterdir())


def _connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
