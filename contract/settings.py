"""Every environment variable of the installation, read once, typed and checked.

The console, the gateway and the supervisor all start from `read_settings`, so a variable means the same
everywhere and a bad value stops the start with its name. This module imports nothing of Django.
"""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = "127.0.0.1"
PROJECT_DIR = Path(__file__).resolve().parent.parent


class BadSetting(Exception):
    """A variable's value can't be used. `str()` is one line that names it and says what was expected.

    `value` is None where it may be a secret: it is not shown then.
    """

    def __init__(self, name: str, value: str | None, expected: str) -> None:
        super().__init__(f"{name}: {expected}" if value is None else f"{name}={value!r}: {expected}")
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The installation's settings. Sizes in bytes, times in seconds."""

    bind_address: str
    console_port: int
    gateway_port: int
    console_url: str
    gateway_url: str
    var_dir: Path
    database_url: str | None
    redis_url: str | None
    postgres_bin: Path | None
    valkey_bin: Path | None
    secret_key: str | None
    key_encryption_keys: tuple[str, ...]
    trusted_proxies: tuple[IPNetwork, ...]
    trial_request_limit: int
    trial_max_rows: int
    trials_per_model: int | None
    max_body_bytes: int
    gateway_workers: int
    model_memory_mb: int
    gateway_lease_s: float | None
    metrics_bind: tuple[str, int] | None
    build_timeout_s: float
    confirm_timeout_s: float
    time_zone: str
    demo: bool
    demo_password: str | None
    debug: bool
    serving_engine: str

    @property
    def uses_embedded_database(self) -> bool:
        return self.database_url is None

    @property
    def uses_embedded_broker(self) -> bool:
        return self.redis_url is None

    @property
    def ledger_dir(self) -> Path:
        """Ledgers of this machine's gateway workers: a local file system, apart from the model store."""
        return self.var_dir / "ledgers"

    @property
    def model_store_dir(self) -> Path:
        """Artefacts by sha256; the one folder that every machine of an installation must see."""
        return self.var_dir / "models"

    @property
    def secrets_dir(self) -> Path:
        return self.var_dir / "secrets"

    @property
    def log_dir(self) -> Path:
        return self.var_dir / "log"


T = TypeVar("T")


class _Reader:
    """Typed access to one mapping of variables; an empty value counts as unset."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        return self._values.get(name, "").strip() or None

    def parsed(self, name: str, default: T, parse: Callable[[str], T], expected: str, *, secret: bool = False) -> T:
        value = self.text(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError:
            raise BadSetting(name, None if secret else value, f"expected {expected}") from None

    def server_url(self, name: str, schemes: frozenset[str]) -> str | None:
        """An address that may hold a password: a refusal doesn't show it."""

        def parse(value: str) -> str | None:
            if urlsplit(value).scheme not in schemes or not urlsplit(value).netloc:
                raise ValueError
            return value

        return self.parsed(name, None, parse, f"an address that begins with {min(schemes)}://", secret=True)

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        def parse(value: str) -> int:
            number = int(value)
            if not low <= number <= high:
                raise ValueError
            return number

        return self.parsed(name, default, parse, f"a whole number from {low} to {high}")

    def optional_number(self, name: str, *, low: int, high: int) -> int | None:
        return self.number(name, low, low=low, high=high) if self.text(name) else None

    def flag(self, name: str) -> bool:
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }

        def parse(value: str) -> bool:
            if value.lower() not in words:
                raise ValueError
            return words[value.lower()]

        return self.parsed(name, False, parse, "1 or 0")

    def items(self, name: str) -> tuple[str, ...]:
        return tuple(item for item in (self.text(name) or "").replace(",", " ").split() if item)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    return value.rstrip("/")


def _existing_path(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.exists():
        raise ValueError
    return path


def _host_and_port(value: str) -> tuple[str, int]:
    host, _, port = value.rpartition(":")
    if not host or not 0 < int(port) < 65536:
        raise ValueError
    return host.strip("[]"), int(port)


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError
        return value

    return parse


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (KeyError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory name is an OSError
        raise ValueError from None


def _fernet_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    """A Fernet key is 32 bytes in URL-safe base64 (github.com/fernet/spec)."""
    for number, key in enumerate(keys, start=1):
        try:
            is_key = len(base64.urlsafe_b64decode(key)) == 32
        except ValueError:
            is_key = False
        if not is_key:
            raise BadSetting("KEY_ENCRYPTION_KEYS", None, f"key {number} is no Fernet key (32 bytes in base64)")
    return keys


def _networks(reader: _Reader, name: str) -> tuple[IPNetwork, ...]:
    networks = []
    for item in reader.items(name):
        try:
            networks.append(ipaddress.ip_network(item))
        except ValueError:
            raise BadSetting(
                name, item, "expected addresses or networks such as 10.0.0.0/8, separated by commas"
            ) from None
    return tuple(networks)


def _shown_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def variables() -> dict[str, str]:
    """The process's variables, and below them those of the file that ENV_FILE names (`.env` in the checkout)."""
    named = os.environ.get("ENV_FILE", "").strip()
    return _file_variables(Path(named).expanduser() if named else PROJECT_DIR / ".env", must_exist=bool(named)) | dict(
        os.environ
    )


def _file_variables(path: Path, *, must_exist: bool) -> dict[str, str]:
    """Lines `NAME=value`; blank lines and those that start with `#` are skipped."""
    if not path.exists():
        if must_exist:
            raise BadSetting("ENV_FILE", str(path), "there is no such file")
        return {}
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise BadSetting(f"{path.name} line {number}", None, "expected NAME=value")
        found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    """Without the quotes around it; without them, a comment ends a value, as a shell would have it."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return "" if value.startswith("#") else value.partition(" #")[0].rstrip()


def read_settings(values: Mapping[str, str] | None = None) -> Settings:
    """Read and check every variable. Raises `BadSetting`, naming the first one that can't be used."""
    read = _Reader(variables() if values is None else values)
    bind_address = read.parsed(
        "BIND_ADDRESS", LOOPBACK, lambda v: str(ipaddress.ip_address(v)), "an IP address such as 127.0.0.1"
    )
    for name in ("CONSOLE_URL", "GATEWAY_URL"):
        if not ipaddress.ip_address(bind_address).is_loopback and not read.text(name):
            raise BadSetting(name, "", f"must be set when BIND_ADDRESS is not a loopback address ({bind_address})")
    console_port = read.number("CONSOLE_PORT", 8000, low=1, high=65535)
    gateway_port = read.number("GATEWAY_PORT", 8080, low=1, high=65535)
    if console_port == gateway_port:
        raise BadSetting("GATEWAY_PORT", str(gateway_port), "must differ from CONSOLE_PORT")
    host = _shown_host(bind_address)
    web_address = "an address such as https://console.example.org"
    return Settings(
        bind_address=bind_address,
        console_port=console_port,
        gateway_port=gateway_port,
        console_url=read.parsed("CONSOLE_URL", f"http://{host}:{console_port}", _url, web_address),
        gateway_url=read.parsed("GATEWAY_URL", f"http://{host}:{gateway_port}", _url, web_address),
        var_dir=Path(read.text("VAR_DIR") or "var").expanduser().absolute(),
        database_url=read.server_url("DATABASE_URL", frozenset({"postgres", "postgresql"})),
        redis_url=read.server_url("REDIS_URL", frozenset({"redis", "rediss"})),
        postgres_bin=read.parsed("POSTGRES_BIN", None, _existing_path, "an existing postgres program, or its folder"),
        valkey_bin=read.parsed("VALKEY_BIN", None, _existing_path, "an existing valkey-server or redis-server program"),
        secret_key=read.text("SECRET_KEY"),
        key_encryption_keys=_fernet_keys(read.items("KEY_ENCRYPTION_KEYS")),
        trusted_proxies=_networks(read, "TRUSTED_PROXIES"),
        trial_request_limit=read.number("TRIAL_REQUEST_LIMIT", 100, low=1, high=1_000_000_000),
        trial_max_rows=read.number("TRIAL_MAX_ROWS", 1000, low=1, high=1_000_000_000),
        trials_per_model=read.optional_number("TRIALS_PER_MODEL", low=0, high=1_000_000),
        max_body_bytes=read.number("MAX_BODY_BYTES", 50_000_000, low=1024, high=10_000_000_000),
        gateway_workers=read.number("GATEWAY_WORKERS", min(os.cpu_count() or 1, 4), low=1, high=256),
        model_memory_mb=read.number("MODEL_MEMORY_MB", 512, low=1, high=1_000_000),
        gateway_lease_s=read.optional_number("GATEWAY_LEASE_S", low=2, high=86_400),
        metrics_bind=read.parsed("METRICS_BIND", None, _host_and_port, "host:port, such as 127.0.0.1:9090"),
        build_timeout_s=read.number("BUILD_TIMEOUT_S", 1200, low=5, high=86_400),
        confirm_timeout_s=read.number("CONFIRM_TIMEOUT_S", 30, low=1, high=3600),
        time_zone=read.parsed("TIME_ZONE", "UTC", _zone, "a time zone name such as Europe/Berlin"),
        demo=read.flag("DEMO"),
        demo_password=read.text("DEMO_PASSWORD"),
        debug=read.flag("DEBUG"),
        serving_engine=read.parsed("SERVING_ENGINE", "embedded", _one_of("embedded"), "embedded"),
    )
