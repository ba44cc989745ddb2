"""A live installation for tests: the Procfile's own commands against an own database, VAR_DIR and ports.

Nothing starts before a test asks for it:

    def test_something(stack):
        stack.start("gateway", "worker")          # waits until they are ready; those that run stay as they are
        api = stack.manage_json("launch_api", "1", "--type", "trial", "--wait", "--json")
        stack.gateway.kill()                      # SIGKILL, to the master process only
        stack.psql("SELECT status FROM apimgmt_predictionapi WHERE id = %s", [api["api_id"]])
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from runtime import processes
from runtime.environment import PROJECT_DIR, Environment, read_environment
from runtime.procfile import process_environment, read_procfile, shell_command
from tests.environment import unused_port

_SECONDS_TO_START = 30
_NOT_FOR_PROCESSES = ("DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER")

live_stacks: list[Stack] = []
"""Those that exist at this moment: what a failing test shows the logs of."""


class Service:
    """One process of the Procfile."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.name = name
        self.log_path = stack.environment.log_dir / f"{name}.log"
        self._stack = stack
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The main process: the master of the gateway, of the worker or of the console."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """All living processes of it, children included."""
        return processes.group_members(self.pid) if self._process else []

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, **variables: str) -> None:
        """Start it, with these variables changed, and wait until it is ready."""
        assert not self.pids, f"{self.name} is still running"
        self._stack.environment.log_dir.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                shell_command(read_procfile()[self.name]),
                cwd=PROJECT_DIR,
                env=self._stack.process_env | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=processes.die_with_parent(signal.SIGTERM),
            )
        self.wait_ready()

    def wait_ready(self, timeout_s: float = _SECONDS_TO_START) -> None:
        is_ready = processes.wait_until(lambda: not self.is_running or self._stack.answers(self.name), timeout_s, 0.05)
        assert is_ready, f"{self.name} is not ready after {timeout_s} s:\n{self.log()}"
        assert self.is_running, f"{self.name} ended at once:\n{self.log()}"

    def stop(self, timeout_s: float = 12) -> int:
        """SIGTERM to the main process, as the supervisor does it; what stays is killed. Returns the exit code."""
        if self._process is None:
            return 0
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return self.kill_all()

    def kill(self) -> None:
        """SIGKILL to the main process alone."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def kill_all(self) -> int:
        """SIGKILL to every process of it at once. Returns the main process's exit code."""
        assert self._process is not None, f"{self.name} was never started"
        processes.signal_all(self.pids, signal.SIGKILL)
        code = self._process.wait()
        assert processes.wait_until(lambda: not self.pids, 5)
        return code

    def restart(self, **variables: str) -> None:
        self.stop()
        self.start(**variables)

    def log(self, start: int = 0) -> str:
        """What it wrote, from that byte on."""
        return self.log_path.read_bytes()[start:].decode(errors="replace") if self.log_path.exists() else ""


class Stack:
    """An installation of its own. `env` are its variables, `environment` the same, read."""

    def __init__(self, variables: dict[str, str], *, template: str | None = None) -> None:
        kept = {name: value for name, value in variables.items() if name not in _NOT_FOR_PROCESSES}
        self._server_url = variables["DATABASE_URL"]
        self.database = f"stack_{secrets.token_hex(6)}"
        self.env = kept | {
            "DATABASE_URL": urlsplit(self._server_url)._replace(path=f"/{self.database}").geturl(),
            "GATEWAY_WORKERS": kept.get("GATEWAY_WORKERS", "2"),
            "DEMO": "1",
        }
        self.environment: Environment = read_environment(self.env)
        self.gateway = Service(self, "gateway")
        self.worker = Service(self, "worker")
        self.beat = Service(self, "beat")
        self.console = Service(self, "web")
        self._create_database(template)
        live_stacks.append(self)

    @property
    def services(self) -> dict[str, Service]:
        return {"gateway": self.gateway, "worker": self.worker, "beat": self.beat, "console": self.console}

    @property
    def process_env(self) -> dict[str, str]:
        """The variables of its processes: those of the Procfile's commands are filled in."""
        return process_environment(self.environment, self.env)

    @property
    def console_url(self) -> str:
        return self.environment.console_url

    @property
    def gateway_url(self) -> str:
        return self.environment.gateway_url

    def start(self, *names: str) -> Stack:
        """Make sure that these run (all four without names): gateway, worker, beat, console."""
        for name in names or tuple(self.services):
            service = self.services[name]
            if service.is_running:
                service.wait_ready()
                continue
            if service.pids:  # its main process was killed by the test before
                service.kill_all()
            if name == "console":
                self.collect_static()
            service.start()
        return self

    def close(self) -> None:
        """Stop everything and drop the database."""
        live_stacks.remove(self)
        for name in ("console", "beat", "worker", "gateway"):
            self.services[name].stop()
        with self._server() as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.database)))

    def manage(self, *arguments: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """`manage.py` of this installation; with `check` a non-zero end fails the test with its words."""
        return self.run(sys.executable, "manage.py", *arguments, check=check, **variables)

    def manage_json(self, *arguments: str) -> Any:
        """The same, its output read as JSON."""
        return json.loads(self.manage(*arguments).stdout)

    def run(self, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Any command with this installation's variables, in the checkout."""
        done = subprocess.run(
            command,
            cwd=PROJECT_DIR,
            env=self.process_env | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def psql(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one statement in its database, committed; an empty list for a statement without rows."""
        with psycopg.connect(self.env["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(query, parameters)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def demo(self) -> None:
        """The demo's workspaces, users (password: `demo_password`) and models; once, later calls cost nothing."""
        if not self._has_demo:
            self.manage("demo")
            self._has_demo = True

    _has_demo = False

    @property
    def demo_password(self) -> str:
        return (self.environment.var_dir / "demo-password").read_text().strip()

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Nobody can reach its database meanwhile: open connections are cut, new ones refused."""
        name = sql.Identifier(self.database)
        with self._server() as server:
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            try:
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [self.database]
                )
                yield
            finally:
                server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))

    @contextmanager
    def orm(self) -> Iterator[None]:
        """Django's models and services of this process work on this installation: for the shared stack only,
        whose VAR_DIR, secrets and broker this process has too; and not in a test that is marked `django_db`."""
        from django.db import connection
        from pytest_django.plugin import blocking_manager_key

        assert self.env["VAR_DIR"] == os.environ["VAR_DIR"], "orm() is for the shared stack"
        assert pytest_config is not None
        with pytest_config.stash[blocking_manager_key].unblock():
            os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"  # the event loop that Django would see is Playwright's
            connection.close()
            before = connection.settings_dict["NAME"]
            connection.settings_dict["NAME"] = self.database
            try:
                yield
            finally:
                connection.close()
                connection.settings_dict["NAME"] = before
                del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]

    def answers(self, name: str) -> bool:
        """Whether that service is ready for work."""
        if name == "gateway":
            return http_status(f"{self.gateway_url}/readyz") == 200
        if name == "web":
            return http_status(f"{self.console_url}/accounts/login/") == 200
        return name != "worker" or self._worker_waits()

    def _worker_waits(self) -> bool:
        """The Celery worker stands in line for work at the broker."""
        number = int(urlsplit(self.env["REDIS_URL"]).path.strip("/") or 0)
        with redis.Redis.from_url(self.env["REDIS_URL"]) as client:
            return any(one["cmd"] == "brpop" and int(one["db"]) == number for one in client.client_list())

    def collect_static(self) -> None:
        """The console's static files, as the release step collects them; once."""
        if not (self.environment.var_dir / "static" / "staticfiles.json").exists():
            self.manage("collectstatic", "--no-input", "--verbosity", "0")

    def _create_database(self, template: str | None) -> None:
        with self._server() as server:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database))
            if template:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            server.execute(statement)
        if template is None:
            self.manage("migrate", "--no-input", "--verbosity", "0", "--skip-checks")

    def _server(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._server_url, autocommit=True)


pytest_config: Any = None
"""Set by the conftest: `Stack.orm` needs pytest-django's own switch."""


def http_status(url: str) -> int | None:
    """The status that a GET is answered with; None when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=3)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def fresh_variables(base: dict[str, str], var_dir: Path) -> dict[str, str]:
    """Variables for a further installation beside others: own VAR_DIR and ports."""
    return base | {
        "VAR_DIR": str(var_dir),
        "CONSOLE_PORT": str(unused_port()),
        "GATEWAY_PORT": str(unused_port()),
    }
