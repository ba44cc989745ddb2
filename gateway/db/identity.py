"""Who one gateway worker is, as the database and the logs name it."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WorkerIdentity:
    """One process. The id is random and never used again, unlike a PID."""

    slot: int
    port: int
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
