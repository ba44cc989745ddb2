"""The supervisor of `make run`: embedded servers, preparations, then the Procfile, kept running until told to stop.

It starts a process that died again, with a growing pause; it ends everything it started, the servers last; and it
clears away what a killed predecessor of the same VAR_DIR left.
"""

from __future__ import annotations

import http.client
import ipaddress
import select
import signal
import socket
import time
from types import FrameType

from contract.settings import Settings
from runtime import processes
from runtime.embedded import EmbeddedServers
from runtime.managed import STOP_GRACE_S, Managed, ending
from runtime.output import Terminal
from runtime.preflight import StartRefused, check_external_servers, check_ports, lock_var_dir
from runtime.procfile import instance_name

_LEFTOVER_GRACE_S = 5  # they were told to stop when their supervisor died
_TICK_S = 0.2
_LATE_AFTER_S = 30
_SAME_SIGNAL_S = 0.5
_CHECKED = {"web": ("console_port", "/accounts/login/"), "gateway": ("gateway_port", "/readyz")}
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(Exception):
    """Somebody asked to stop while the installation was still starting."""


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
        with lock_var_dir(self.env):
            self._listen_to_signals()
            self._clear_leftovers()
            check_ports(self.env)
            try:
                self._start()
                self._watch(began)
            except _Stopped:
                self.terminal.say("Stopped while starting.")
            finally:
                self._stop()
        return 0

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
        found = "1 process of an earlier run is" if len(left) == 1 else f"{len(left)} processes of an earlier run are"
        self.terminal.say(f"{found} still running: stopping them.")
        if not processes.end_all(lambda: processes.instance_members(instance), _LEFTOVER_GRACE_S):
            raise StartRefused(f"processes of an earlier run can't be stopped: {processes.instance_members(instance)}")

    def _start(self) -> None:
        if self._servers.servers:
            self.terminal.say(f"Starting {' and '.join(server.name for server in self._servers.servers)} ...")
        self._servers.start()
        check_external_servers(self.env)
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
            time.sleep(_TICK_S)  # the end of its output is still on its way through the pipe
            raise StartRefused(f"the preparation failed ({ending(release.poll() or 0)}): see its output above")

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
                    f"Not ready yet: {', '.join(missing)}. See their output above or in {self.env.log_dir}."
                )

    def _keep_running(self) -> None:
        for managed in self._managed:
            managed.keep_running()
        if self._servers.restart_dead():
            self.terminal.say("The address of a server has changed: restarting everything.")
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
            self.terminal.say("Stopping ... (press Ctrl-C again to stop at once)")
        for managed in running:
            managed.ask_to_stop()
        deadline = time.monotonic() + STOP_GRACE_S
        while any(managed.is_running() for managed in running) and time.monotonic() < deadline:
            self._pause(_TICK_S)
            if self._asked_to_hurry:
                break
        for managed in self._managed:
            if managed.is_running():
                self.terminal.say(f"{managed.name} did not stop in time: killing it.")
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
