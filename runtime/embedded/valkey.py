"""The embedded Valkey."""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from urllib.parse import quote

import redis

from contract.secret_files import kept_secret
from contract.settings import LOOPBACK
from runtime.embedded.server import EmbeddedServer
from runtime.programs import EmbeddedError, valkey_program


class Valkey(EmbeddedServer):
    """The embedded broker. What it holds can be rebuilt, so a damaged file of its own never stops a start."""

    name = "valkey"

    @property
    def url(self) -> str:
        return f"redis://:{quote(self._password())}@{LOOPBACK}:{self.port}/0"

    def data_dir(self) -> Path:
        return self.env.var_dir / "valkey"

    def pid_file(self) -> Path:
        return self.env.var_dir / "run" / "valkey.pid"

    def start(self) -> None:
        try:
            super().start()
        except EmbeddedError:
            aside = self.data_dir().with_name(f"valkey.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            if not any(self.data_dir().iterdir()) or aside.exists():
                raise
            self.data_dir().rename(aside)
            self.say(f"valkey can't read its data, moved to {aside}. Queued work is found again in the database.")
            super().start()

    def prepare(self) -> None:
        self.data_dir().mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str]:
        return [str(valkey_program(self.env)), str(self._write_config())]

    def is_ready(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            return bool(client.ping())
        except redis.RedisError:  # not listening yet, or still loading
            return False
        finally:
            client.close()

    def _password(self) -> str:
        return kept_secret(self.env.secrets_dir / "valkey_password", lambda: secrets.token_urlsafe(24))

    def _write_config(self) -> Path:
        """The settings go through a file of our own: a command line, and so a password in it, is public."""
        settings = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": json.dumps(str(self.data_dir())),
            "pidfile": json.dumps(str(self.pid_file())),
            "requirepass": self._password(),
            "databases": "64",
            "appendonly": "yes" if self.tuning.is_durable else "no",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        path = self.env.var_dir / "run" / "valkey.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in settings.items())
        return path
