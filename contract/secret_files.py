"""Secrets that an installation makes for itself on first use, each in a file that only its owner may read."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from contract.settings import Settings


def secret_key(env: Settings) -> str:
    """Django's secret key: SECRET_KEY, else the one kept under VAR_DIR."""
    return env.secret_key or kept_secret(env.secrets_dir / "secret_key", lambda: secrets.token_urlsafe(50))


def key_encryption_keys(env: Settings) -> tuple[str, ...]:
    """Fernet keys, the newest first: KEY_ENCRYPTION_KEYS, else those kept under VAR_DIR, one a line."""
    if env.key_encryption_keys:
        return env.key_encryption_keys
    return tuple(kept_secret(env.secrets_dir / "key_encryption_keys", _new_fernet_key).split())


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Read the secret in `path`, making it on first use. Of processes that come at once, all get the same one."""
    try:
        return _read(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, make())
        os.link(draft, path)  # fails if the name is taken: the first one wins, and no reader sees a half-written file
    except FileExistsError:
        return _read(path)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> str:
    value = path.read_text().strip()
    if not value:
        raise ValueError(f"{path} is empty: restore it from a backup, or remove it to get a new secret")
    return value


def _write(path: Path, value: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())  # keys encrypted under a secret that a power failure takes away can't be read again


def _new_fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()
