"""What is checked before an installation starts: its folder, its ports, and the servers that somebody named."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from typing import IO

import psycopg
import redis

from contract.settings import Settings
from runtime.embedded.server import make_private_folders


class StartRefused(Exception):
    """The installation can't be started. `str()` is for the person at the terminal: what is wrong, and what helps."""


def lock_var_dir(env: Settings) -> IO[str]:
    """Held as long as the returned file is open: one supervisor a VAR_DIR. Raises `StartRefused`."""
    _check_var_dir(env)
    make_private_folders(env)
    path = env.var_dir / "run" / "lock"
    lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StartRefused(
            f"{env.var_dir} is in use by another `make run` (process {holder}): stop that one, or start this "
            "one with another VAR_DIR, CONSOLE_PORT and GATEWAY_PORT"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _check_var_dir(env: Settings) -> None:
    path = env.var_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise StartRefused(f"VAR_DIR={path} can't be made: {error.strerror}") from None
    if status.st_uid != os.geteuid():
        raise StartRefused(f"VAR_DIR={path} belongs to another user: start as that one, or choose another folder")
    if status.st_mode & 0o002:
        raise StartRefused(f"VAR_DIR={path} can be written by everybody: choose a folder of its own")


def check_ports(env: Settings) -> None:
    """Try the ports that the installation itself listens on. Raises `StartRefused`."""
    for variable, port in (("CONSOLE_PORT", env.console_port), ("GATEWAY_PORT", env.gateway_port)):
        family = socket.AF_INET6 if ":" in env.bind_address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections of an earlier run that linger are no obstacle; a listener is, one with SO_REUSEPORT too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((env.bind_address, port))
                probe.listen(1)
            except PermissionError:
                raise StartRefused(f"port {port} needs root's rights: set {variable} to one above 1023") from None
            except OSError as error:
                raise StartRefused(_port_problem(env, variable, port, error)) from None


def _port_problem(env: Settings, variable: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {env.bind_address} is taken by another program: stop that one, or set {variable} "
            f"to a free port (for example `{variable}={port + 1000} make run`)"
        )
    return f"BIND_ADDRESS={env.bind_address} can't be used ({variable} {port}): {error.strerror}"


def check_external_servers(env: Settings) -> None:
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
