"""Where the database and the broker are: the environment's word, else what the running supervisor wrote down.

`VAR_DIR/run/embedded.json` is how the web process, the worker, the gateway and every `manage.py` command find the
embedded servers, whose ports are chosen at start. It holds their passwords, so only its owner may read it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from contract.settings import Settings


class NotRunning(Exception):
    """No address is known for a server. `str()` is one line that says what to do."""


def embedded_file(env: Settings) -> Path:
    return env.var_dir / "run" / "embedded.json"


def database_url(env: Settings) -> str:
    """The PostgreSQL URL. Raises `NotRunning` when DATABASE_URL is unset and no embedded server is known."""
    return env.database_url or _embedded_url(env, "database_url", "DATABASE_URL")


def broker_url(env: Settings) -> str:
    """The Redis URL. Raises `NotRunning` when REDIS_URL is unset and no embedded server is known."""
    return env.redis_url or _embedded_url(env, "redis_url", "REDIS_URL")


def embedded_urls(env: Settings) -> dict[str, str]:
    """What the supervisor wrote down; empty when it isn't running or the file is unreadable as JSON."""
    try:
        found = json.loads(embedded_file(env).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}
    return {str(name): str(url) for name, url in found.items()} if isinstance(found, dict) else {}


def write_embedded_urls(env: Settings, urls: dict[str, str]) -> None:
    """Replace the file in one step, so that a reader sees the old addresses or the new ones, never half of them."""
    path = embedded_file(env)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(urls, file)
    draft.rename(path)


def forget_embedded_urls(env: Settings) -> None:
    """The embedded servers are stopped: a command that looks for them now says so at once, not after a time-out."""
    embedded_file(env).unlink(missing_ok=True)


def _embedded_url(env: Settings, key: str, variable: str) -> str:
    try:
        url = embedded_urls(env).get(key)
    except PermissionError:
        raise NotRunning(f"{embedded_file(env)} belongs to another user: run this as the user of `make run`") from None
    if url is None:
        raise NotRunning(
            f"{variable} is not set and no embedded server runs in {env.var_dir}: start it with `make run`"
        )
    return url
