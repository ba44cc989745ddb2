"""PostgreSQL and Valkey for an installation that brings none: the programs out of two wheels, the data under VAR_DIR.

Only the programs are used; the wheels' Python packages are never imported (they open every parent directory, trust
everybody on the machine, and leave servers behind). The servers listen on 127.0.0.1 only, on ports chosen at start,
with random passwords. Each is a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone, which
stops them last; when the supervisor is killed, the kernel tells them to shut down cleanly, and what still runs or lies
about at the next start is put right there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from contract.connections import forget_embedded_urls, write_embedded_urls
from contract.settings import Settings
from runtime.embedded.postgres import Postgres
from runtime.embedded.server import Say, Tuning, make_private_folders
from runtime.embedded.valkey import Valkey


@dataclass
class EmbeddedServers:
    """Those of the two servers that the environment doesn't name."""

    env: Settings
    say: Say
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        self.postgres = Postgres(self.env, self.tuning, self.say) if self.env.uses_embedded_database else None
        self.valkey = Valkey(self.env, self.tuning, self.say) if self.env.uses_embedded_broker else None

    @property
    def servers(self) -> list[Postgres | Valkey]:
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def start(self) -> None:
        """Start them and write down where they are. Raises `EmbeddedError`, with nothing left running."""
        make_private_folders(self.env)
        try:
            for server in self.servers:
                server.start()
        except BaseException:
            self.stop()
            raise
        self._write_urls()

    def stop(self) -> None:
        forget_embedded_urls(self.env)
        for server in self.servers:
            server.stop()

    def restart_dead(self) -> bool:
        """Start again what ended by itself. Returns whether an address had to change. Raises `EmbeddedError`."""
        is_moved = False
        for server in self.servers:
            if not server.is_running():
                self.say(f"{server.name} stopped unexpectedly: restarting it.")
                old_port = server.port
                server.start()
                is_moved = is_moved or server.port != old_port
        if is_moved:
            self._write_urls()
        return is_moved

    def _write_urls(self) -> None:
        urls = {}
        if self.postgres:
            urls["database_url"] = self.postgres.url
        if self.valkey:
            urls["redis_url"] = self.valkey.url
        write_embedded_urls(self.env, urls)
