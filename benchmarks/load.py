"""Load from keep-alive connections: wrk where it is installed, else a client in Python with several processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

HERE = Path(__file__).resolve().parent
PROJECT_DIR = HERE.parent


@dataclass(frozen=True)
class Target:
    """One request that is sent again and again."""

    port: int
    path: str
    body: bytes
    headers: Mapping[str, str]


class Load(msgspec.Struct):
    """What one run gave. `errors` are answers other than 2xx or 3xx, and connections that broke."""

    requests: int
    seconds: float
    errors: int
    p50_us: float
    p99_us: float
    max_us: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class LoadFailed(Exception):
    """The client could not do its work. `str()` is what it said."""


def client_name() -> str:
    """What makes the load, for the report."""
    if wrk_program() is None:
        return "a client in Python (wrk is not installed: rates are limited by the client)"
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2]) or "wrk"


def wrk_program() -> str | None:
    return shutil.which("wrk")


def run_load(target: Target, *, connections: int, seconds: float, pause_ms: int = 0) -> Load:
    """Closed loop: each connection sends its next request when it has its answer (and after a pause, if there is one).

    Raises `LoadFailed`.
    """
    load = (_wrk if wrk_program() else _python_client)(target, connections, seconds, pause_ms)
    if load.requests == 0:
        raise LoadFailed(f"no answer from 127.0.0.1:{target.port}{target.path}")
    return load


def _wrk(target: Target, connections: int, seconds: float, pause_ms: int) -> Load:
    lines = [":method\tPOST", f":path\t{target.path}", *(f"{name}\t{value}" for name, value in target.headers.items())]
    with tempfile.NamedTemporaryFile(suffix=".request") as request:
        request.write("\n".join(lines).encode() + b"\n\n" + target.body)
        request.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        command += ["-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{target.port}", "--", request.name, str(pause_ms)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    figures = next((line.split()[1:] for line in done.stdout.splitlines() if line.startswith("FIGURES")), None)
    if figures is None:
        raise LoadFailed(f"{done.stdout}\n{done.stderr}".strip())
    requests, duration_us, errors, p50, p99, longest = map(float, figures)
    return Load(int(requests), duration_us / 1e6, int(errors), p50, p99, longest)


def _python_client(target: Target, connections: int, seconds: float, pause_ms: int) -> Load:
    asked = msgspec.json.encode(
        {
            "port": target.port,
            "path": target.path,
            "headers": dict(target.headers),
            "body": target.body,
            "connections": connections,
            "seconds": seconds,
            "pause_ms": pause_ms,
        }
    )
    command = [sys.executable, "-m", "benchmarks.python_client"]
    done = subprocess.run(command, input=asked, capture_output=True, check=False, timeout=seconds + 60, cwd=PROJECT_DIR)
    if done.returncode:
        raise LoadFailed(done.stderr.decode())
    return msgspec.json.decode(done.stdout, type=Load)
