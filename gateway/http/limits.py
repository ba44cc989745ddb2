"""What one connection may take, and how many there may be. docs/hostile-clients.md says what each bound is for."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

_OTHER_FILES: Final = 512  # descriptors that are no clients': ledgers, database, models' processes, spooled bodies


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """The bounds of one worker's connections."""

    head_bytes: int = 32 * 1024
    header_fields: int = 128
    url_bytes: int = 4096
    first_byte_s: float = 5.0
    head_s: float = 10.0
    prompt_s: float = 1.0  # what an honest client needs for its headers
    keep_alive_s: float = 65.0
    body_grace_s: float = 10.0
    body_bytes_per_s: int = 1024
    drop_s: float = 5.0
    drop_bytes: int = 50_000_000
    read_grace_s: float = 30.0
    read_bytes_per_s: int = 64 * 1024
    pipelined: int = 32
    connections: int = 4096


def connection_limits(max_body_bytes: int) -> ConnectionLimits:
    """The limits for this process: no more connections than it may have files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ConnectionLimits.connections + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(soft - _OTHER_FILES, soft // 2)
    return ConnectionLimits(drop_bytes=max_body_bytes, connections=min(ConnectionLimits.connections, room))
