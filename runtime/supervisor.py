"""The supervisor of `make run`: embedded servers, preparations, then the Procfile, kept running until told to stop.

It starts a process that died again, with a growing pause; it ends everything it started, the servers last; and it
clears away what a killed predecessor of the same VAR_DIR left.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import ipaddress
import os
import select
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import IO

import psycopg
import redis

from contract.settings import PROJECT_DIR, Settings
from runtime import processes
from runtime.embedded import EmbeddedServers, make_private_folders
from runtime.output import LogFile, Terminal
from runtime.procfile import instance_name, process_environment, shell_command

STOP_GRACE_S = 12
_LEFTOVER_GRACE_S = 5  # they were told to stop when their supervisor died
_TICK_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LATE_AFTER_S = 30
_STABLE_AFTER_S = 20  # a process that ran this long starts with the first pause again
_SAME_SIGNAL_S = 0.5
_CHECKED = {"web": ("console_port", "/accounts/login/"), "gateway": ("gateway_port", "/readyz")}
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartRefused(Exception):
    """The installation can't be started. `str()` is for the person at the terminal: what is wrong, and what helps."""


class _Stopped(Exception):
    """Somebody asked to stop while the installation was still starting."""


class Managed:
    """One process of the Procfile, with its pipe, its log and its history."""

    def __init__(self, name: str, command: str, env: Settings, terminal: Terminal) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._due_at: float | None = None

    def start(self) -> None:
        self._due_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            shell_command(self._command),
            cwd=PROJECT_DIR,
            env=process_environment(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            preexec_fn=processes.die_with_parent(signal.SIGTERM),
        )
        if self._process.stdout is None:
            raise RuntimeError("a process without a pipe")
        threading.Thread(target=self._pass_on, args=(self._process.stdout,), daemon=True).start()

    def poll(self) -> int | None:
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_running(self) -> None:
        """Notice a death, say it, and start again when the pause is over."""
        if self._due_at is not None:
            if time.monotonic() >= self._due_at:
                self.start()
            return
        code = self.poll()
        if code is None:
            return
        if time.monotonic() - self._started_at > _STABLE_AFTER_S:
            self._pause_s = _FIRST_PAUSE_S
        self._terminal.say(
            f"{self.name} stopped unexpectedly ({_ending(code)}): starting it again in {self._pause_s:g} s."
        )
        self.end_group(grace_s=STOP_GRACE_S)
        self._due_at = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def ask_to_stop(self) -> None:
        """SIGTERM to the main process only: it knows in what order its children end."""
        self._due_at = None
        if self._process is not None and self.is_running():
            self._process.terminate()

    def end_group(self, *, grace_s: float) -> None:
        """End what is left of the process's group."""
        if self._process is None:
            return
        group = self._process.pid
        if not processes.end_all(lambda: processes.group_members(group), grace_s):
            self._terminal.say(f"{self.name}: processes of its group can't be ended.")
        self._process.wait()

    def _pass_on(self, pipe: IO[bytes]) -> None:
        log = LogFile(self._env.log_dir / f"{self.name}.log")
        with pipe:
            for line in pipe:
                log.write(line)
                self._terminal.line(self.name, line.decode(errors="replace").rstrip())
        log.close()


@dataclass
class _Ports:
    """The ports that the installation itself listens on, tried before anything is started."""

    env: Settings

    def check(self) -> None:
        for variable, port in (("CONSOLE_PORT", self.env.console_port), ("GATEWAY_PORT", self.env.gateway_port)):
            family = socket.AF_INET6 if ":" in self.env.bind_address else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # Connections of an earlier run that linger are no obstacle; a listener is, one with SO_REUSEPORT too.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((self.env.bind_address, port))
                    probe.listen(1)
                except PermissionError:
                    raise StartRefused(f"port {port} needs root's rights: set {variable} to one above 1023") from None
                except OSError as error:
                    raise StartRefused(self._words(variable, port, error)) from None

    def _words(self, variable: str, port: int, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {port} on {self.env.bind_address} is taken by another program: stop that one, or set {variable} "
                f"to a free port (for example `{variable}={port + 1000} make run`)"
            )
        return f"BIND_ADDRESS={self.env.bind_address} can't be used ({variable} {port}): {error.strerror}"


class Supervisor:
    """One installation in the foreground."""

    def __init__(self, env: Settings, commands: dict[str, str]) -> None:
        self.env = env
        self._release = commands.get("release")
        names = [name for name in commands if name != "release"]
        self.terminal = Terminal([*names, "release"])
        self._managed = [Managed(name, commands[name], env, self.terminal) for name in names]
        self._servers = EmbeddedServers(env, self.terminal.say)
        self._asked_to_stop = False
        self._asked_to_hurry = False
        self._first_asked_at = 0.0
        self._wake_reader, self._wake_writer = socket.socketpair()

    def run(self) -> int:
        """Start, watch, stop. Returns the exit code. Raises `StartRefused` or `EmbeddedError`, with nothing left."""
        began = time.monotonic()
        with self._lock_var_dir():
            self._listen_to_signals()
            self._clear_leftovers()
            _Ports(self.env).check()
            try:
                self._start()
                self._watch(began)
            except _Stopped:
                self.terminal.say("Stopped before the start was over.")
            finally:
                self._stop()
        return 0

    def _lock_var_dir(self) -> IO[str]:
        """Held as long as the returned file is open: one supervisor a VAR_DIR."""
        self._check_var_dir()
        make_private_folders(self.env)
        path = self.env.var_dir / "run" / "lock"
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise StartRefused(
                f"{self.env.var_dir} is in use by another `make run` (process {holder}): stop that one, or start this "
                "one with another VAR_DIR, CONSOLE_PORT and GATEWAY_PORT"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def _check_var_dir(self) -> None:
        path = self.env.var_dir
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = path.stat()
        except OSError as error:
            raise StartRefused(f"VAR_DIR={path} can't be made: {error.strerror}") from None
        if status.st_uid != os.geteuid():
            raise StartRefused(f"VAR_DIR={path} belongs to another user: start as that one, or choose another folder")
        if status.st_mode & 0o002:
            raise StartRefused(f"VAR_DIR={path} can be written by everybody: choose a folder of its own")

    def _listen_to_signals(self) -> None:
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first one stops; a Ctrl-C after that hurries. (`make` passes signals on, so two at once are one.)"""
        if not self._asked_to_stop:
            self._asked_to_stop, self._first_asked_at = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._first_asked_at > _SAME_SIGNAL_S:
            self._asked_to_hurry = True

    def _pause(self, seconds: float) -> None:
        """Sleep; a signal ends it at once."""
        if select.select([self._wake_reader], [], [], seconds)[0]:
            self._wake_reader.recv(64)

    def _clear_leftovers(self) -> None:
        instance = instance_name(self.env)
        left = processes.instance_members(instance)
        if not left:
            return
        self.terminal.say(f"{len(left)} processes of an earlier run are still there: ending them.")
        if not processes.end_all(lambda: processes.instance_members(instance), _LEFTOVER_GRACE_S):
            raise StartRefused(f"processes of an earlier run can't be ended: {processes.instance_members(instance)}")

    def _start(self) -> None:
        if self._servers.servers:
            self.terminal.say(f"Starting {' and '.join(server.name for server in self._servers.servers)} ...")
        self._servers.start()
        _check_external_servers(self.env)
        self._run_release()
        for managed in self._managed:
            managed.start()

    def _run_release(self) -> None:
        if self._release is None:
            return
        self.terminal.say("Preparing the database ...")
        release = Managed("release", self._release, self.env, self.terminal)
        release.start()
        while release.poll() is None:
            self._pause(_TICK_S)
            if self._asked_to_stop:
                release.ask_to_stop()
                release.end_group(grace_s=STOP_GRACE_S)
                raise _Stopped
        if release.poll() != 0:
            release.end_group(grace_s=1)
            time.sleep(_TICK_S)  # its last words are still on their way through the pipe
            raise StartRefused(f"the preparation failed ({_ending(release.poll() or 0)}); its words are above")

    def _watch(self, began: float) -> None:
        is_announced = is_late = False
        while not self._asked_to_stop:
            self._pause(_TICK_S)
            self._keep_running()
            if is_announced or self._asked_to_stop:
                continue
            missing = [managed.name for managed in self._managed if not self._is_ready(managed)]
            if not missing:
                is_announced = True
                self._announce(time.monotonic() - began)
            elif not is_late and time.monotonic() - began > _LATE_AFTER_S:
                is_late = True
                self.terminal.say(
                    f"Not ready yet: {', '.join(missing)}. Their words are above and in {self.env.log_dir}."
                )

    def _keep_running(self) -> None:
        for managed in self._managed:
            managed.keep_running()
        if self._servers.restart_dead():
            self.terminal.say("A server has another address now: starting everything again.")
            for managed in self._managed:
                managed.ask_to_stop()

    def _is_ready(self, managed: Managed) -> bool:
        if not managed.is_running() or managed.name not in _CHECKED:
            return managed.is_running()
        port, path = _CHECKED[managed.name]
        return _answers(self.env.bind_address, getattr(self.env, port), path)

    def _announce(self, seconds: float) -> None:
        rows = [("Console", self.env.console_url), ("Gateway", self.env.gateway_url)]
        password = demo_password(self.env)
        if password:
            rows.append(("Users", "viewer, operator, administrator"))
            rows.append(("Password", f"{password}   (of all three)"))
        else:
            rows.append(("Users", "yours (the first one: .venv/bin/python manage.py createsuperuser)"))
        rows += [("Data", str(self.env.var_dir)), ("Stop", "Ctrl-C")]
        self.terminal.box(rows, f"Ready after {seconds:.1f} s")

    def _stop(self) -> None:
        """End all processes at once, and the servers when nobody needs them any more."""
        running = [managed for managed in self._managed if managed.is_running()]
        if running:
            self.terminal.say("Stopping ... (Ctrl-C once more ends at once)")
        for managed in running:
            managed.ask_to_stop()
        deadline = time.monotonic() + STOP_GRACE_S
        while any(managed.is_running() for managed in running) and time.monotonic() < deadline:
            self._pause(_TICK_S)
            if self._asked_to_hurry:
                break
        for managed in self._managed:
            if managed.is_running():
                self.terminal.say(f"{managed.name} did not stop in time: ending it by force.")
            managed.end_group(grace_s=0 if managed.is_running() else 1)
        self._end_strays()
        self._servers.stop()
        self.terminal.say("Everything is stopped.")

    def _end_strays(self) -> None:
        """Descendants that left their process group."""
        instance = instance_name(self.env)
        processes.end_all(lambda: processes.instance_members(instance), 1)


def demo_password(env: Settings) -> str | None:
    """The demo users' password, if this installation has a demo."""
    if not (env.uses_embedded_database or env.demo):
        return None
    path = env.var_dir / "demo-password"
    return env.demo_password or (path.read_text().strip() if path.exists() else None)


def _check_external_servers(env: Settings) -> None:
    """Say in a line that a server somebody named can't be reached, before anything shows it in a stack trace."""
    if env.database_url:
        try:
            psycopg.connect(env.database_url, connect_timeout=5).close()
        except psycopg.Error as error:
            raise StartRefused(f"DATABASE_URL: {_first_line(error)}") from None
    if env.redis_url:
        try:
            with redis.Redis.from_url(env.redis_url, socket_timeout=5, socket_connect_timeout=5) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            raise StartRefused(f"REDIS_URL: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _answers(address: str, port: int, path: str) -> bool:
    """Whether an HTTP server is there and well: any reply below 500."""
    if ipaddress.ip_address(address).is_unspecified:
        address = "::1" if ":" in address else "127.0.0.1"
    connection = http.client.HTTPConnection(address, port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
